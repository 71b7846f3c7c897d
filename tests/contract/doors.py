"""The doors, each in every form that it has. All answers look alike here."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import requests

from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.contract.questions import Question, as_binary, as_json, as_message, numbers, rounded, typed, values_of

PATIENCE_SECONDS = 60.0
HEADER = "Inference-Header-Content-Length"

# The table of statuses that the protocol has for all doors.
TABLE = {
    "invalid": (400, "INVALID_ARGUMENT"),
    "not_found": (404, "NOT_FOUND"),
    "too_large": (413, "RESOURCE_EXHAUSTED"),
    "overloaded": (429, "RESOURCE_EXHAUSTED"),
    "forbidden": (403, "PERMISSION_DENIED"),
    "unavailable": (503, "UNAVAILABLE"),
    "not_implemented": (501, "UNIMPLEMENTED"),
    "timeout": (504, "DEADLINE_EXCEEDED"),
    "model": (500, "INTERNAL"),
}


@dataclass(frozen=True)
class Answer:
    """`outputs` are name -> (datatype, shape, elements)."""

    model: str
    version: str
    id: str
    parameters: dict[str, Any]
    outputs: dict[str, tuple[str, list[int], list[Any]]]


@dataclass(frozen=True)
class Refusal:
    """A status of HTTP, or the name of a code of gRPC."""

    status: int | str
    message: str


Told = Answer | Refusal


class Doors:
    """REST and gRPC of one server."""

    def __init__(self, url: str, channel: grpc.Channel) -> None:
        self._url = url
        self._session = requests.Session()
        self._stub: Any = GRPCInferenceServiceStub(channel)
        self.forms: dict[str, Callable[[Question], Told]] = {
            "JSON": lambda question: self._rest(question, as_json(question), {}),
            "binary": self._binary,
            "typed": lambda question: self._grpc(question, raw=False),
            "raw": lambda question: self._grpc(question, raw=True),
        }

    def close(self) -> None:
        """Let go of the connection of REST."""
        self._session.close()

    def _binary(self, question: Question) -> Told:
        body, length = as_binary(question)
        return self._rest(question, body, {HEADER: str(length)})

    def _rest(self, question: Question, body: bytes, headers: dict[str, str]) -> Told:
        version = f"/versions/{question.version}" if question.version else ""
        address = f"{self._url}/v2/models/{question.model}{version}/infer"
        answer = self._session.post(address, data=body, headers=headers, timeout=PATIENCE_SECONDS)
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/json"
            return Refusal(answer.status_code, answer.json()["error"])
        return of_json(answer.content, answer.headers.get(HEADER))

    def _grpc(self, question: Question, *, raw: bool) -> Told:
        try:
            answer = self._stub.ModelInfer(as_message(question, raw=raw), timeout=PATIENCE_SECONDS)
        except grpc.RpcError as error:
            call: Any = error
            return Refusal(call.code().name, call.details())
        return of_message(answer)


def of_json(body: bytes, json_length: str | None) -> Answer:
    """The answer in a body of JSON, and of the buffers that may follow it."""
    length = int(json_length) if json_length else len(body)
    head, rest = json.loads(body[:length]), body[length:]
    outputs = {}
    for output in head["outputs"]:
        if "data" in output:
            data = rounded(output["datatype"], output["data"])
        else:
            size = output["parameters"]["binary_data_size"]
            data, rest = numbers(output["datatype"], rest[:size]), rest[size:]
        outputs[output["name"]] = (output["datatype"], output["shape"], data)
    assert rest == b""
    return Answer(
        head["model_name"], head.get("model_version") or "", head["id"], head.get("parameters") or {}, outputs
    )


def of_message(answer: Any) -> Answer:
    """The answer in a message, whichever contents it has."""
    outputs = {}
    for index, output in enumerate(answer.outputs):
        if answer.raw_output_contents:
            data = numbers(output.datatype, answer.raw_output_contents[index])
        else:
            data = typed(output.datatype, output.contents)
        outputs[output.name] = (output.datatype, list(output.shape), data)
    return Answer(answer.model_name, answer.model_version, answer.id, values_of(answer.parameters), outputs)
