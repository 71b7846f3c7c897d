"""open-inference-openapi, plain and asyncio: `python -m tests.clients.scripts.open_inference_clients URL`."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from open_inference.openapi.client import AsyncOpenInferenceClient, OpenInferenceClient
from open_inference.openapi.types import InferenceRequest, RequestInput, RequestOutput

from tests.clients.scripts.checks import Checks, raised, report

CHECKS = Checks()
VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "INT8": [-128, 127],
    "UINT16": [0, 65535],
    "FP32": [0.5, -2.0],
    "FP64": [0.1, 1e300],
    "BYTES": ["", "z\u00fcrich"],
}


class Waiting:
    """The asyncio client with methods that wait."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._loop.run_until_complete(method(*arguments, **options))


def rows(shape: list[int] | None = None) -> Any:
    return RequestInput(name="rows", shape=shape or [2, 2], datatype="FP64", data=[[1.0, 2.0], [3.0, 5.0]])


def request(**fields: Any) -> Any:
    return InferenceRequest(**{"inputs": [rows()]} | fields)


def told(error: Any) -> Any:
    return [error.status_code, error.body["error"]]


@CHECKS("health")
def live_and_ready(client: Any) -> Any:
    return [client.check_server_liveness(), client.check_server_readiness()]


@CHECKS("health")
def model_ready(client: Any) -> Any:
    return [client.check_model_readiness("echo"), client.check_model_version_readiness("versioned", "2")]


@CHECKS("health")
def unknown_model_is_not_ready(client: Any) -> Any:
    return raised(lambda: client.check_model_readiness("none"), told)


@CHECKS("metadata")
def server(client: Any) -> Any:
    metadata = client.read_server_metadata()
    return [metadata.name, "binary_tensor_data" in metadata.extensions]


@CHECKS("metadata")
def model(client: Any) -> Any:
    (tensor,) = client.read_model_metadata("sum").inputs
    return [tensor.name, tensor.datatype, tensor.shape]


@CHECKS("metadata")
def version(client: Any) -> Any:
    return client.read_model_version_metadata("versioned", "2").versions


@CHECKS("JSON data")
def json_datatypes(client: Any) -> Any:
    found = {}
    for datatype, values in VALUES.items():
        sent = RequestInput(name="x", shape=[2], datatype=datatype, data=values)
        (output,) = client.model_infer("echo", request=InferenceRequest(inputs=[sent])).outputs
        found[datatype] = (output.datatype, output.shape, output.data.__root__) == (datatype, [2], values)
    return found


@CHECKS("requested outputs")
def one_of_them(client: Any) -> Any:
    (output,) = client.model_infer("sum", request=request(outputs=[RequestOutput(name="means")])).outputs
    return [output.name, output.data.__root__]


@CHECKS("requested outputs")
def all_of_them(client: Any) -> Any:
    return [output.data.__root__ for output in client.model_infer("sum", request=request()).outputs]


@CHECKS("ids, versions and parameters")
def request_id(client: Any) -> Any:
    return client.model_infer("sum", request=request(id="one")).id


@CHECKS("ids, versions and parameters")
def version_asked_for(client: Any) -> Any:
    answer = client.model_version_infer("versioned", "2", request=request())
    return [answer.model_name, answer.model_version]


@CHECKS("ids, versions and parameters")
def parameters(client: Any) -> Any:
    own = {"text": "a", "whole": -3, "flag": True, "real": 0.5}
    found = client.model_infer("echo", request=request(parameters=own)).parameters
    return {name: found.get(name) for name in own}


@CHECKS("errors")
def unknown_model(client: Any) -> Any:
    return raised(lambda: client.model_infer("none", request=request()), told)


@CHECKS("errors")
def wrong_shape(client: Any) -> Any:
    return raised(lambda: client.model_infer("echo", request=request(inputs=[rows([3, 2])])), told)


@CHECKS("errors")
def model_failed(client: Any) -> Any:
    return raised(lambda: client.model_infer("fails", request=request(id="seven")), told)


url = sys.argv[1]
loop = asyncio.new_event_loop()
plain = OpenInferenceClient(base_url=url)
waiting = Waiting(AsyncOpenInferenceClient(base_url=url), loop)
report({"open-inference-openapi": CHECKS.run(plain), "open-inference-openapi async": CHECKS.run(waiting)})
