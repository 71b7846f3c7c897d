"""The models that the tests of this room are served by. Copied into the server's folder."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Depends, Header, HTTPException, Response
from pydantic import BaseModel

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.context import model_name_var
from mlserver.errors import InferenceError
from mlserver.handlers import custom_handler
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput

Requests = AsyncIterator[InferenceRequest]
Responses = AsyncIterator[InferenceResponse]


def asked(payload: InferenceRequest, name: str) -> Any:
    """A parameter of the request, or None."""
    return getattr(payload.parameters, name, None)


def touch(file: str, text: str = "") -> None:
    """Make a file; it is there at once with all its text."""
    Path(file + ".part").write_text(text)
    os.replace(file + ".part", file)


class Speaker(MLModel):
    """Answers with the text, letter by letter, and with the parameters as an output."""

    def said(self, text: str) -> InferenceResponse:
        output = ResponseOutput(name="text_output", shape=[1], datatype="BYTES", data=[text])
        return InferenceResponse(model_name=self.name, outputs=[output])

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (text,) = payload.inputs[0].data
        answer = self.said(text)
        if asked(payload, "twice"):
            answer.outputs.append(ResponseOutput(name="numbers", shape=[2], datatype="INT64", data=[1, 2]))
        if asked(payload, "shapes"):
            shape = payload.inputs[0].shape
            answer.outputs.append(ResponseOutput(name="rank", shape=[1], datatype="INT64", data=[len(shape)]))
        answer.parameters = Parameters(headers={"X-Model": "speaker"})
        return answer

    async def predict_stream(self, payloads: Requests) -> Responses:
        async for payload in payloads:
            if asked(payload, "refuse"):
                raise InferenceError("not this text")
            for letter in payload.inputs[0].data[0]:
                answer = self.said(letter)
                if asked(payload, "signed"):
                    answer.parameters = Parameters(headers={"X-Letter": letter})
                yield answer
            if asked(payload, "fail"):
                raise ValueError("lost my voice")


class Stepper(MLModel):
    """Answers once, and again when there is the file that the parameter `open` names."""

    async def predict_stream(self, payloads: Requests) -> Responses:
        async for payload in payloads:
            yield InferenceResponse(model_name=self.name, outputs=[])
            while not os.path.exists(asked(payload, "open")):  # noqa: ASYNC110, ASYNC240 - another process opens it
                await asyncio.sleep(0.005)
            yield InferenceResponse(model_name=self.name, outputs=[])


class Endless(MLModel):
    """Answers for ever; says when it was closed, on the machine's monotonic clock, in the file `closed`.

    `first` is how many answers come before it only waits; -1 for no end of them.
    """

    async def predict_stream(self, payloads: Requests) -> Responses:
        async for payload in payloads:
            try:
                made = 0
                while made != asked(payload, "first"):
                    yield InferenceResponse(model_name=self.name, outputs=[])
                    made += 1
                    await asyncio.sleep(0.001)
                touch(asked(payload, "waiting"))
                await asyncio.Event().wait()
            finally:
                touch(asked(payload, "closed"), str(time.monotonic()))


class Ticker(MLModel):
    """Answers every 20 ms, `count` times, at once for the first unless `late`; says when closed as Endless does."""

    async def predict_stream(self, payloads: Requests) -> Responses:
        async for payload in payloads:
            try:
                for number in range(asked(payload, "count")):
                    if number or asked(payload, "late"):
                        await asyncio.sleep(0.02)
                    output = ResponseOutput(name="x", shape=[1], datatype="INT64", data=[number])
                    yield InferenceResponse(model_name=self.name, outputs=[output])
            finally:
                if asked(payload, "closed"):
                    touch(asked(payload, "closed"), str(time.monotonic()))


class Hose(MLModel):
    """32 answers of 1 MiB; the file `count` says how many were made."""

    async def predict_stream(self, payloads: Requests) -> Responses:
        async for payload in payloads:
            for made in range(1, 33):
                touch(asked(payload, "count"), str(made))
                output = ResponseOutput(name="x", shape=[1], datatype="BYTES", data=["x" * 2**20])
                yield InferenceResponse(model_name=self.name, outputs=[output])


class Rows(MLModel):
    """One sum per row."""

    row_wise = True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        output = ResponseOutput(name="sums", shape=[len(rows)], datatype="FP64", data=rows.sum(axis=1).tolist())
        return InferenceResponse(model_name=self.name, outputs=[output])


class Pair(BaseModel):
    """A body."""

    left: int
    right: int = 1


async def caller(user_agent: Annotated[str, Header()] = "nobody") -> str:
    """What calls."""
    return user_agent


class Waiter(MLModel):
    """Routes of its own."""

    @custom_handler("/sum")
    async def add(self, pair: Pair, by: Annotated[str, Depends(caller)]) -> dict[str, Any]:
        return {"sum": pair.left + pair.right, "by": by, "model": model_name_var.get()}

    @custom_handler("/double", "POST")
    def double(self, number: Annotated[int, Body(embed=True, ge=0)]) -> int:
        return 2 * number

    @custom_handler("/items/{item:path}", rest_method="get")
    async def item(self, item: str, limit: int = 10) -> dict[str, Any]:
        if item == "none":
            raise HTTPException(404, detail={"missing": item})
        return {"item": item, "limit": limit}

    @custom_handler("/text", "GET")
    async def text(self) -> Response:
        return Response(b"\x00\xff", 202, {"X-Own": "yes"}, media_type="application/x-own")

    @custom_handler("/fail")
    async def fail(self, how: str) -> None:
        if how == "refuse":
            raise InferenceError("not so")
        raise ZeroDivisionError("division by zero")

    @custom_handler("/v2/models/{name}/colour", "GET")
    async def colour(self, name: str) -> str:
        return f"{name} is green"

    @custom_handler("/v2", "GET")
    async def hidden(self) -> str:
        return "never seen"


class Cook(MLModel):
    """A route that a waiter has too."""

    @custom_handler("/sum")
    async def add(self) -> str:
        return "never seen"

    @custom_handler("/kitchen", "GET")
    async def kitchen(self) -> str:
        return self.name


class Sick(MLModel):
    """A route that ends its process, and one that is never answered."""

    @custom_handler("/die")
    async def die(self) -> None:
        os._exit(7)

    @custom_handler("/hang")
    async def hang(self, begun: str) -> None:
        touch(begun)
        await asyncio.Event().wait()

    @custom_handler("/where", "GET")
    async def where(self) -> int:
        return os.getpid()
