"""What tritonclient infers."""

from typing import Any

import ml_dtypes
import numpy as np

from tests.clients.scripts.checks import Checks, raised
from tests.clients.scripts.tensors import ARRAYS, HALF, ODD_SHAPES, ONLY_BINARY, same
from tests.clients.scripts.triton_kinds import Triton, told

CHECKS = Checks()


def _echo(triton: Triton, array: Any, datatype: str, outputs: Any = None, **how: Any) -> Any:
    result = triton.client.infer("echo", [triton.tensor(array, datatype, **how)], outputs=outputs)
    return same(array, result.as_numpy("x"))


def _datatype_of(array: Any) -> str:
    return "BYTES" if array.dtype == np.object_ else "FP64"


@CHECKS("binary data")
def datatypes(triton: Triton) -> Any:
    return {datatype: _echo(triton, array, datatype) for datatype, array in ARRAYS.items()}


@CHECKS("binary data")
def no_json_has_them(triton: Triton) -> Any:
    return {datatype: _echo(triton, array, datatype) for datatype, array in ONLY_BINARY.items()}


@CHECKS("binary data")
def bf16(triton: Triton) -> Any:
    sent = np.array([[1.0, -2.5, 3.0e38]], ml_dtypes.bfloat16)
    got = triton.client.infer("echo", [triton.tensor(sent, "BF16")]).as_numpy("x")
    return same(sent.astype(np.float32), got.astype(np.float32))


@CHECKS("binary data")
def shapes(triton: Triton) -> Any:
    return {name: _echo(triton, array, _datatype_of(array)) for name, array in ODD_SHAPES.items()}


@CHECKS("binary data")
def large(triton: Triton) -> Any:
    """10 MB, beyond gRPC's own bound of 4 MiB."""
    return _echo(triton, np.arange(1_250_000.0).reshape(-1, 10), "FP64")


def json_datatypes(triton: Triton) -> Any:
    outputs = [triton.output("x", binary_data=False)]
    return {name: _echo(triton, array, name, outputs, binary_data=False) for name, array in ARRAYS.items()}


def json_shapes(triton: Triton) -> Any:
    outputs = [triton.output("x", binary_data=False)]
    return {
        name: _echo(triton, array, _datatype_of(array), outputs, binary_data=False)
        for name, array in ODD_SHAPES.items()
    }


def json_half(triton: Triton) -> Any:
    return _echo(triton, HALF, "FP16", [triton.output("x", binary_data=True)], binary_data=False)


def mixed(triton: Triton) -> Any:
    """A binary and a JSON input; of the outputs the other one is binary."""
    numbers, texts = ARRAYS["INT64"], ARRAYS["BYTES"]
    inputs = [triton.tensor(numbers, "INT64", "n", binary_data=True)]
    inputs.append(triton.tensor(texts, "BYTES", "t", binary_data=False))
    outputs = [triton.output("n", binary_data=False), triton.output("t", binary_data=True)]
    result = triton.client.infer("echo", inputs, outputs=outputs)
    return [same(numbers, result.as_numpy("n")), same(texts, result.as_numpy("t"))]


HTTP_CHECKS = Checks()
HTTP_CHECKS("JSON data")(json_datatypes)
HTTP_CHECKS("JSON data")(json_shapes)
HTTP_CHECKS("JSON data")(json_half)
HTTP_CHECKS("JSON data")(mixed)


@CHECKS("requested outputs")
def all_of_them(triton: Triton) -> Any:
    result = triton.client.infer("sum", [triton.rows()])
    return [result.as_numpy("sums").tolist(), result.as_numpy("means").tolist()]


@CHECKS("requested outputs")
def one_of_them(triton: Triton) -> Any:
    result = triton.client.infer("sum", [triton.rows()], outputs=[triton.output("means")])
    return [result.as_numpy("means").tolist(), result.as_numpy("sums") is None]


@CHECKS("ids, versions and parameters")
def request_id(triton: Triton) -> Any:
    return triton.answer(triton.client.infer("sum", [triton.rows()], request_id="one"))["id"]


@CHECKS("ids, versions and parameters")
def version_asked_for(triton: Triton) -> Any:
    answer = triton.answer(triton.client.infer("versioned", [triton.rows()], "2"))
    return [answer["model_name"], answer["model_version"]]


@CHECKS("ids, versions and parameters")
def parameters(triton: Triton) -> Any:
    own = {"text": "a", "whole": -3, "flag": True, "real": 0.5}
    result = triton.client.infer("echo", [triton.rows()], priority=2, timeout=60_000_000, parameters=own)
    found = triton.answer(result)["parameters"]
    return {name: found.get(name) for name in [*own, "priority", "timeout"]}


@CHECKS("ids, versions and parameters")
def headers(triton: Triton) -> Any:
    return triton.answer(triton.client.infer("sum", [triton.rows()], headers={"x-own": "1"}))["model_name"]


@CHECKS("classes")
def best_of_each_row(triton: Triton) -> Any:
    scores = triton.tensor(np.array([[0.1, 0.7, 0.2]], np.float32), "FP32", "scores")
    result = triton.client.infer("scores", [scores], outputs=[triton.output("scores", class_count=2)])
    return [[item.decode() for item in row] for row in result.as_numpy("scores").tolist()]


@CHECKS("compression")
def both_ways(triton: Triton) -> Any:
    return {name: _compressed(triton, name) for name in ("gzip", "deflate")}


def _compressed(triton: Triton, name: str) -> Any:
    sent = np.arange(1000.0)
    how = {"compression_algorithm": name}
    if triton.http:
        how = {"request_compression_algorithm": name, "response_compression_algorithm": name}
    result = triton.client.infer("echo", [triton.tensor(sent, "FP64")], **how)
    return same(sent, result.as_numpy("x"))


@CHECKS("errors")
def unknown_model(triton: Triton) -> Any:
    return raised(lambda: triton.client.infer("none", [triton.rows()]), told)


@CHECKS("errors")
def unknown_version(triton: Triton) -> Any:
    return raised(lambda: triton.client.get_model_metadata("versioned", "7"), told)


@CHECKS("errors")
def wrong_shape(triton: Triton) -> Any:
    tensor = triton.rows()
    tensor.set_shape([3, 2])
    return raised(lambda: triton.client.infer("echo", [tensor]), told)


@CHECKS("errors")
def refused_by_the_model(triton: Triton) -> Any:
    return raised(lambda: triton.client.infer("sum", [triton.tensor(np.ones((1, 3)), "FP64")]), told)


@CHECKS("errors")
def model_failed(triton: Triton) -> Any:
    return raised(lambda: triton.client.infer("fails", [triton.rows()], request_id="seven"), told)


@CHECKS("timeouts")
def of_the_request(triton: Triton) -> Any:
    return raised(lambda: triton.client.infer("never", [triton.rows()], timeout=200_000), told)


@CHECKS("timeouts")
def of_the_client(triton: Triton) -> Any:
    if not triton.http:
        return raised(lambda: triton.client.infer("never", [triton.rows()], client_timeout=0.2), lambda error: True)
    impatient = triton.another(**{"conn_timeout" if triton.aio else "network_timeout": 0.2})
    try:
        return raised(lambda: impatient.client.infer("never", [impatient.rows()]), lambda error: True)
    finally:
        impatient.close()
