"""Triton's own client, plain and asyncio, in this very process: beside our messages, which have the same names."""

import queue
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from mlserver.grpc import dataplane_pb2
from tests.grpc.client import PATIENCE_SECONDS
from tests.grpc.conftest import port_of
from tests.seed.serving import Served


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    """Triton's client on the server."""
    with triton.InferenceServerClient(f"127.0.0.1:{port_of(served)}") as client:
        yield client


def tensor(array: Any, datatype: str, name: str = "x") -> Any:
    """An input as Triton's client makes it: raw."""
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


@pytest.mark.parametrize(
    ("array", "datatype"),
    [
        (np.array([[True, False]]), "BOOL"),
        (np.array([[1, 255]], np.uint8), "UINT8"),
        (np.array([[-(2**63), 2**63 - 1]]), "INT64"),
        (np.array([[0.5, np.inf]], np.float16), "FP16"),
        (np.array([[0.1, np.nan]], np.float32), "FP32"),
        (np.array([[b"one", "z\u00fcrich".encode()]], object), "BYTES"),
        (np.zeros((0, 2)), "FP64"),
    ],
)
def test_tensors_come_back(client: Any, array: Any, datatype: str) -> None:
    back = client.infer("echo", [tensor(array, datatype)]).as_numpy("x")
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_bf16_comes_back_as_it_was_sent(client: Any) -> None:
    sent = np.array([[1.0, -2.5, 3.0e38]], ml_dtypes.bfloat16)
    back = client.infer("echo", [tensor(sent, "BF16")]).as_numpy("x")
    assert back.astype(np.float32).tolist() == sent.astype(np.float32).tolist()


def test_what_its_client_asks_beside_inference(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("twice", "v1")
    assert client.get_server_metadata(as_json=True)["name"] == "mlserver"
    assert client.get_model_metadata("sum", as_json=True)["inputs"][0]["shape"] == ["-1", "2"]
    assert client.get_model_config("sum", as_json=True)["config"]["name"] == "sum"
    assert client.get_inference_statistics("sum", as_json=True)["model_stats"][0]["name"] == "sum"
    assert client.get_log_settings(as_json=True)["settings"]["log_info"]["bool_param"]
    assert client.get_trace_settings("sum", as_json=True)["settings"]["trace_level"]["value"] == ["OFF"]
    states = {model["name"]: model["state"] for model in client.get_model_repository_index(as_json=True)["models"]}
    assert states["sum"] == "READY"


def test_errors_have_its_form(client: Any) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("none", [tensor(np.ones((1, 2)), "FP64")])
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert caught.value.message() == "model 'none' not found"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_and_parameters(client: Any, algorithm: str) -> None:
    options: dict[str, Any] = {"priority": 2, "timeout": 10_000_000, "parameters": {"own": 0.5}}
    answer = client.infer(
        "echo", [tensor(np.ones((1, 1000)), "FP64")], request_id="one", compression_algorithm=algorithm, **options
    )
    response = answer.get_response()
    assert (response.id, response.parameters["own"].double_param) == ("one", 0.5)
    assert set(response.parameters) == {"own"}  # what the protocol has words for is the server's


def test_a_stream_of_requests(client: Any) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    three = [tensor(np.array([[3.0]]), "FP64")]
    client.async_stream_infer("count", three, request_id="a", enable_empty_final_response=True)
    client.async_stream_infer("none", three, request_id="b")
    client.async_stream_infer("sum", three, request_id="c")
    told = []
    for _ in range(6):
        result, error = answers.get(timeout=PATIENCE_SECONDS)
        told.append(str(error) if error else result.get_response().id)
    client.stop_stream()
    assert told == ["a", "a", "a", "a", "model 'none' not found", "c"]


async def test_asyncio(served: Served) -> None:
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{port_of(served)}") as client:
        made = triton_aio.InferInput("x", [1, 2], "FP64")
        made.set_data_from_numpy(np.array([[1.0, 2.0]]))
        answer = await client.infer("sum", [made])
        assert answer.as_numpy("sums").tolist() == [3.0]
        with pytest.raises(InferenceServerException):
            await client.get_model_metadata("none")


@pytest.mark.parametrize("order", ["ours, theirs", "theirs, ours"])
def test_both_are_imported_in_any_order(order: str) -> None:
    imports = {"ours": "import mlserver.grpc.dataplane_pb2", "theirs": "import tritonclient.grpc"}
    program = "\n".join(imports[name] for name in order.split(", "))
    program += "\nfrom mlserver.grpc.dataplane_pb2 import ModelInferRequest as ours"
    program += "\nfrom tritonclient.grpc.service_pb2 import ModelInferRequest as theirs"
    program += "\nassert theirs.FromString(ours(id='one').SerializeToString()).id == 'one'"
    subprocess.run([sys.executable, "-c", program], check=True)


# What the incumbent's protocol has besides Triton's.
_MORE = {"inference.ModelMetadataResponse.parameters", "inference.ModelMetadataResponse.TensorMetadata.parameters"}


def test_fields_have_tritons_numbers_and_types() -> None:
    theirs = service_pb2.DESCRIPTOR
    ours = dataplane_pb2.DESCRIPTOR
    assert set(ours.message_types_by_name) == set(theirs.message_types_by_name)
    for name, message in ours.message_types_by_name.items():
        compare(message, theirs.message_types_by_name[name], set())
    service, other = (file.services_by_name["GRPCInferenceService"] for file in (ours, theirs))
    assert set(service.methods_by_name) == set(other.methods_by_name)


def compare(ours: Descriptor, theirs: Descriptor | None, seen: set[str]) -> None:
    """Each field is there and the same; of a model's configuration there may be fewer."""
    if ours.full_name in seen or ours.full_name in _MORE:
        return
    seen.add(ours.full_name)
    assert theirs is not None
    assert ours.full_name == theirs.full_name
    fields = {field.name: field for field in ours.fields if field.full_name not in _MORE}
    if ours.file.name.endswith("dataplane.proto"):
        assert set(fields) == set(theirs.fields_by_name), ours.full_name
    for name, field in fields.items():
        other = theirs.fields_by_name[name]
        assert wire_of(field) == wire_of(other), field.full_name
        if field.message_type is not None:
            compare(field.message_type, other.message_type, seen)


def wire_of(field: FieldDescriptor) -> tuple[Any, ...]:
    """What of a field is on the wire."""
    kind = field.enum_type.full_name if field.enum_type is not None else ""
    return field.number, field.type, field.is_repeated, kind
