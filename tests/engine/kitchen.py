"""Models that behave, and models that do not, for workers to import."""

import asyncio
import ctypes
import importlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

import mlserver
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError, MLServerError
from mlserver.handlers import custom_handler
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput
from mlserver.utils import get_model_uri

BAD = -1.0


class Model(MLModel):
    """Answers with one tensor; `extra` of its settings says the rest."""

    @property
    def extra(self) -> dict[str, Any]:
        parameters = self.settings.parameters
        return (parameters.extra if parameters else None) or {}

    def answer(self, payload: InferenceRequest, values: Any, name: str = "out") -> InferenceResponse:
        output = NumpyCodec.encode_output(name, np.asarray(values))
        output.shape = list(np.asarray(values).shape)
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])


class RowSum(Model):
    """Row-wise: sums of rows times the parameter `scale`, under the names asked for; raises over a stack with BAD."""

    row_wise = True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self.summed(payload)

    def summed(self, payload: InferenceRequest) -> InferenceResponse:
        data = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        if (data == BAD).any():
            raise ValueError("bad row")
        scale = getattr(payload.parameters, "scale", 1) if payload.parameters else 1
        sums = data.reshape(len(data), -1).sum(axis=1) * scale
        names = [output.name for output in payload.outputs] if payload.outputs else ["sum"]
        outputs = [
            ResponseOutput(name=name, shape=[len(sums)], datatype="FP64", data=sums.astype("f8").tolist())
            for name in names
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


class PlainRowSum(RowSum):
    """The same as a plain function."""

    row_wise = True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]
        return self.summed(payload)


class Echo(Model):
    """Every input back as it came, with the request's parameters and headers."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = [
            ResponseOutput(name=one.name, shape=one.shape, datatype=one.datatype, data=one.data)
            for one in payload.inputs
        ]
        return InferenceResponse(model_name=self.name, parameters=payload.parameters, outputs=outputs)


class Greets(Model):
    """Answers the header `x-one` with the header `x-two`."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        answer = self.answer(payload, [1])
        headers = (payload.parameters.headers if payload.parameters else None) or {}
        answer.parameters = Parameters(headers={"x-two": headers["x-one"]})
        return answer


class Where(Model):
    """The process, the thread and the order of its calls: [pid, 1 for the main thread, calls so far]."""

    calls = 0

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self.told(payload)

    def told(self, payload: InferenceRequest) -> InferenceResponse:
        self.calls += 1
        main = threading.current_thread() is threading.main_thread()
        return self.answer(payload, [os.getpid(), int(main), self.calls])


class Prefix(Model):
    """The Python that it runs in, and what a module of its environment says."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        said = importlib.import_module("tests_of_theirs").WHERE
        output = ResponseOutput(name="out", shape=[2], datatype="BYTES", data=[sys.prefix, said])
        return InferenceResponse(model_name=self.name, outputs=[output])


class PlainWhere(Where):
    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]
        return self.told(payload)


class Sleeps(Model):
    """A plain predict that sleeps for as many seconds as its input says."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]
        seconds = float(payload.inputs[0].data[0])
        time.sleep(seconds)
        return self.answer(payload, [seconds])


class Blocks(Model):
    """An `async def predict` that holds the event loop for as many seconds of CPU as its input says."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        seconds = float(payload.inputs[0].data[0])
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return self.answer(payload, [seconds])


class Awaits(Model):
    """Awaits for as many seconds as its input says; writes to `extra.trace` when it begins, ends and is cancelled."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        seconds = float(payload.inputs[0].data[0])
        self.trace("begin")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.trace("cancelled")
            raise
        self.trace("end")
        return self.answer(payload, [seconds])

    def trace(self, word: str) -> None:
        if file := self.extra.get("trace"):
            with Path(file).open("a") as out:
                out.write(f"{word}\n")


class Records(Model):
    """Records its inputs, its loads and its unloads in metrics of its own."""

    async def load(self) -> bool:
        mlserver.register("kitchen_inputs", "Inputs", buckets=[1, 10])
        mlserver.log(kitchen_loads=1)
        return await super().load()

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        for value in payload.inputs[0].data:
            mlserver.log(kitchen_inputs=value)
        return self.answer(payload, [0])

    async def unload(self) -> bool:
        mlserver.log(kitchen_unloads=1)
        return await super().unload()


class PlainRecords(Records):
    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]
        mlserver.log(kitchen_inputs=payload.inputs[0].data[0])
        return self.answer(payload, [0])


class Counts(Model):
    """A stream of as many numbers as its first request says, `extra.pause` seconds apart; traces its end."""

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        try:
            async for payload in payloads:
                for number in range(int(payload.inputs[0].data[0])):
                    await asyncio.sleep(self.extra.get("pause", 0))
                    if number == self.extra.get("fails_at"):
                        raise InferenceError("no more numbers")
                    yield self.answer(payload, [number])
        finally:
            if file := self.extra.get("trace"):
                _write(file)


class BlocksStream(Model):
    """Answers each request of a stream after so many seconds, in which it holds its loop."""

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            time.sleep(payload.inputs[0].data[0])  # noqa: ASYNC251 - that is the point
            yield self.answer(payload, [1])


class BlocksRoute(Model):
    """Has a route that holds its loop for as many seconds as it is asked."""

    @custom_handler("/hold/{seconds}", "GET")
    async def hold(self, seconds: float) -> str:
        time.sleep(seconds)  # noqa: ASYNC251 - that is the point
        return "held"


def _hang(trace: str) -> None:
    Path(trace).write_text("loading")
    time.sleep(3600)


def _write(file: str) -> None:
    Path(file).write_text("closed")


class Dies(Model):
    """Ends its process in the way that its input names."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        how = str(payload.inputs[0].data[0])
        if how == "segfault":
            ctypes.string_at(0)
        elif how == "_exit":
            os._exit(3)
        elif how == "exit":
            sys.exit(4)
        elif how == "recursion":
            return await self.predict(payload)
        elif how == "memory":
            return self.answer(payload, np.ones(1 << 45))
        elif how == "status":
            raise MLServerError("short and stout", status_code=418)
        elif how == "hold":
            re.match("(a+)+$", "a" * 40 + "b")  # minutes in C, with the GIL held
        return self.answer(payload, [1])


class FailsToLoad(Model):
    async def load(self) -> bool:
        how = self.extra.get("how", "raise")
        if how == "segfault":
            ctypes.string_at(0)
        if how == "false":
            return False
        if how == "hang":
            _hang(self.extra["trace"])
        raise OSError("no weights")


class Constant(Model):
    """Answers the number in the file at its `uri`, which was a number when it loaded."""

    async def load(self) -> bool:
        self.value = int(json.loads(_read(await get_model_uri(self.settings))))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self.answer(payload, [self.value])


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


class Garbage(Model):
    """Writes bytes of its own to the server's socket: what a worker that was taken over would do."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        kind = str(payload.inputs[0].data[0])
        descriptor = int(sys.argv[1])
        evil = {
            "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
            "length": b"MLF1\xff\xff\xff\xff",
            "words": b"MLF1"
            + (4 + 8).to_bytes(4, "little")
            + (8).to_bytes(4, "little")
            + b"\x91\x92\xa3bad\x01\x00\x00",
        }[kind]
        os.write(descriptor, evil)
        await asyncio.sleep(3600)
        return self.answer(payload, [1])
