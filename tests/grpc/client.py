"""Requests and calls, short enough to read."""

from typing import Any

import grpc
import numpy as np

from mlserver.grpc.dataplane_pb2 import InferParameter, ModelInferRequest, ModelInferResponse

PATIENCE_SECONDS = 60.0


def parameter(value: Any) -> InferParameter:
    """A parameter of the kind of `value`."""
    kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(value)]
    return InferParameter(**{kind: value})


def raw_request(model: str, *arrays: Any, version: str = "", id: str = "", **parameters: Any) -> ModelInferRequest:
    """A request with raw contents; without arrays of one number."""
    request = _request(model, version, id, parameters)
    for number, array in enumerate(arrays or (np.ones((1, 2)),)):
        request.inputs.add(name=f"x{number}", datatype=f"FP{array.dtype.itemsize * 8}", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


def typed_request(model: str, *numbers: float, version: str = "", id: str = "", **parameters: Any) -> ModelInferRequest:
    """A request with one row of doubles as typed contents."""
    request = _request(model, version, id, parameters)
    tensor = request.inputs.add(name="x", datatype="FP64", shape=[1, len(numbers or (1,))])
    tensor.contents.fp64_contents.extend(numbers or (1.0,))
    return request


def _request(model: str, version: str, id: str, parameters: dict[str, Any]) -> ModelInferRequest:
    request = ModelInferRequest(model_name=model, model_version=version, id=id)
    for name, value in parameters.items():
        request.parameters[name].CopyFrom(parameter(value))
    return request


def values(message: Any) -> dict[str, Any]:
    """A map of parameters as plain values."""
    return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in message.items()}


class Refused:
    """How a call ended: its code, by name, and details."""

    def __init__(self, error: grpc.RpcError) -> None:
        call: Any = error
        self.code: str = call.code().name
        self.details: str = call.details()


class Door:
    """ModelInfer, and how it is refused."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub

    def infer(self, request: ModelInferRequest, **options: Any) -> ModelInferResponse:
        """The answer."""
        answer: ModelInferResponse = self.stub.ModelInfer(request, **{"timeout": PATIENCE_SECONDS, **options})
        return answer

    def refused(self, request: ModelInferRequest, **options: Any) -> Refused:
        """The error that there must be."""
        return refusal(self.infer, request, **options)


def refusal(call: Any, *arguments: Any, **options: Any) -> Refused:
    """The error that a call must end with."""
    try:
        answer = call(*arguments, **options)
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        return Refused(error)
    raise AssertionError(f"answered: {answer}")
