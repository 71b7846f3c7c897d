"""The clients of kserve: `python -m tests.clients.scripts.kserve_clients URL GRPC_ADDRESS`.

One script for both, since to import kserve takes seconds.
"""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from tests.clients.scripts.checks import Checks, raised, report
from tests.clients.scripts.tensors import ARRAYS, HALF, ODD_SHAPES, ONLY_BINARY, same


class KServe:
    """Either client, with methods that wait. REST takes its server's URL with each call."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop, url: str | None = None) -> None:
        self._client = client
        self._loop = loop
        self._first: list[Any] = [url] if url else []
        self.rest = bool(url)

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)

    def ask(self, method: str, *arguments: Any) -> Any:
        return self.wait(getattr(self._client, method)(*self._first, *arguments))

    async def sent(self, request: InferRequest, **options: Any) -> Any:
        if self.rest:
            return await self._client.infer(self._first[0], request, request.model_name, **options)
        return await self._client.infer(request, **options)

    def infer(self, model: str, tensors: list[Any], timeout: float = 60, **options: Any) -> Any:
        return self.wait(self.sent(InferRequest(model, tensors, **options), timeout=timeout))


def rows() -> Any:
    return InferInput("rows", [2, 2], "FP64", data=[1.0, 2.0, 3.0, 5.0])


def tensor(array: Any, datatype: str, name: str = "x", **how: Any) -> Any:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, **how)
    return made


def told(error: Any) -> Any:
    """Of gRPC's error code and details, of HTTP's the message up to where the address begins."""
    if hasattr(error, "details"):
        return [error.code().name, error.details()]
    return str(error).partition(" for url")[0]


CHECKS = Checks()


@CHECKS("health")
def live_and_ready(client: KServe) -> Any:
    return [client.ask("is_server_live"), client.ask("is_server_ready")]


@CHECKS("health")
def model_ready(client: KServe) -> Any:
    return client.ask("is_model_ready", "echo")


@CHECKS("health")
def unknown_model_is_not_ready(client: KServe) -> Any:
    """Over REST it says no, over gRPC it raises."""
    if client.rest:
        return client.ask("is_model_ready", "none")
    return raised(lambda: client.ask("is_model_ready", "none"), told)


def _echo(client: KServe, array: Any, datatype: str, **how: Any) -> Any:
    # Over REST, binary answers are asked for; gRPC answers as it was asked.
    parameters = {"binary_data_output": True} if client.rest and how["binary_data"] else None
    answer = client.infer("echo", [tensor(array, datatype, **how)], parameters=parameters)
    return same(array, answer.outputs[0].as_numpy())


@CHECKS("binary data")
def datatypes(client: KServe) -> Any:
    return {name: _echo(client, array, name, binary_data=True) for name, array in ARRAYS.items()}


@CHECKS("binary data")
def no_json_has_them(client: KServe) -> Any:
    """But for BYTES that are no text: the REST client cannot read its answers then."""
    arrays = {name: array for name, array in ONLY_BINARY.items() if name != "BYTES" or not client.rest}
    return {name: _echo(client, array, name, binary_data=True) for name, array in arrays.items()}


@CHECKS("binary data")
def shapes(client: KServe) -> Any:
    return {
        name: _echo(client, array, "BYTES" if array.dtype == np.object_ else "FP64", binary_data=True)
        for name, array in ODD_SHAPES.items()
    }


def json_datatypes(client: KServe) -> Any:
    """JSON over REST, the fields of `contents` over gRPC."""
    return {name: _echo(client, array, name, binary_data=False) for name, array in ARRAYS.items()}


def json_shapes(client: KServe) -> Any:
    return {
        name: _echo(client, array, "BYTES" if array.dtype == np.object_ else "FP64", binary_data=False)
        for name, array in ODD_SHAPES.items()
    }


def mixed(client: KServe) -> Any:
    """A binary and a JSON input; one output is binary."""
    numbers, texts = HALF, ARRAYS["BYTES"]
    inputs = [tensor(numbers, "FP16", "n", binary_data=True), tensor(texts, "BYTES", "t", binary_data=False)]
    asked = [RequestedOutput("n", {"binary_data": True}), RequestedOutput("t", {"binary_data": False})]
    outputs = client.infer("echo", inputs, request_outputs=asked).outputs
    return [same(numbers, outputs[0].as_numpy()), same(texts, outputs[1].as_numpy())]


REST_CHECKS = Checks()
REST_CHECKS("JSON data")(json_datatypes)
REST_CHECKS("JSON data")(json_shapes)
REST_CHECKS("JSON data")(mixed)
GRPC_CHECKS = Checks()
GRPC_CHECKS("typed contents")(json_datatypes)
GRPC_CHECKS("typed contents")(json_shapes)


@CHECKS("requested outputs")
def one_of_them(client: KServe) -> Any:
    (output,) = client.infer("sum", [rows()], request_outputs=[RequestedOutput("means")]).outputs
    return [output.name, output.as_numpy().tolist()]


@CHECKS("requested outputs")
def all_of_them(client: KServe) -> Any:
    return [output.as_numpy().tolist() for output in client.infer("sum", [rows()]).outputs]


@CHECKS("ids, versions and parameters")
def request_id(client: KServe) -> Any:
    return client.infer("sum", [rows()], request_id="one").id


@CHECKS("ids, versions and parameters")
def parameters(client: KServe) -> Any:
    own = {"text": "a", "whole": -3, "flag": True}
    found = client.infer("echo", [rows()], parameters=own).parameters
    return {name: getattr(found[name], f"{kind}_param", found[name]) for name, kind in _KINDS.items()}


_KINDS = {"text": "string", "whole": "int64", "flag": "bool"}


@CHECKS("errors")
def unknown_model(client: KServe) -> Any:
    return raised(lambda: client.infer("none", [rows()]), told)


@CHECKS("errors")
def wrong_shape(client: KServe) -> Any:
    return raised(lambda: client.infer("echo", [InferInput("x", [3, 2], "FP64", data=[1.0, 2.0])]), told)


@CHECKS("errors")
def model_failed(client: KServe) -> Any:
    return raised(lambda: client.infer("fails", [rows()], request_id="seven"), told)


@CHECKS("timeouts")
def of_the_client(client: KServe) -> Any:
    return raised(lambda: client.infer("never", [rows()], timeout=0.2), lambda error: True)


@CHECKS("asynchronous calls")
def several_at_once(client: KServe) -> Any:
    async def gathered() -> list[Any]:
        calls = [tensor(np.array([[float(number), 1.0]]), "FP64", "rows") for number in range(20)]
        return list(await asyncio.gather(*(client.sent(InferRequest("sum", [call])) for call in calls)))

    return sorted(answer.outputs[0].as_numpy().tolist()[0] for answer in client.wait(gathered()))


async def grpc_client(address: str) -> Any:
    return InferenceGRPCClient(address)


logging.disable(logging.ERROR)
url, address = sys.argv[1:]
loop = asyncio.new_event_loop()
rest = KServe(InferenceRESTClient(RESTConfig(protocol="v2")), loop, url)
rpc = KServe(loop.run_until_complete(grpc_client(address)), loop)
results = {}
for name, client, checks in (("kserve REST", rest, REST_CHECKS), ("kserve gRPC", rpc, GRPC_CHECKS)):
    results[name] = CHECKS.run(client) | checks.run(client)
report(results)
