"""The same through a worker process, as servers run by default: what passes between processes, and what ends there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from mlserver.grpc.dataplane_pb2 import ModelInferRequest
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.grpc.client import Door, raw_request, refusal, typed_request, values
from tests.grpc.conftest import make_folder, no_surprise, port_of, serve
from tests.waiting import wait_until

_NAMES = ("sum", "echo", "raiser", "gate", "count", "headers")


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """On a server with one worker."""
    models = {name: {"implementation": f"kitchen.{name.capitalize()}"} for name in _NAMES}
    folder = make_folder(tmp_path_factory.mktemp("workers") / "models", models, parallel_workers=1)
    with serve(folder) as served:
        with grpc.insecure_channel(f"127.0.0.1:{port_of(served)}") as channel:
            yield GRPCInferenceServiceStub(channel)
        served.stop()
        no_surprise(served)


def test_both_contents_and_parameters(stub: Any) -> None:
    assert stub.ModelInfer(typed_request("sum", 1, 2)).outputs[0].contents.fp64_contents == [3.0]
    answer = stub.ModelInfer(raw_request("echo", np.ones((2, 2), np.float32), one=1, two="2", half=0.5, yes=True))
    assert answer.raw_output_contents[0] == np.ones((2, 2), np.float32).tobytes()
    assert values(answer.parameters) == {"one": 1, "two": "2", "half": 0.5, "yes": True}


def test_bf16_and_bytes(stub: Any) -> None:
    request = ModelInferRequest(model_name="echo", raw_input_contents=[b"\x80\x3f", b"\2\0\0\0\xff\0"])
    request.inputs.add(name="half", datatype="BF16", shape=[1])
    request.inputs.add(name="bytes", datatype="BYTES", shape=[1])
    assert list(stub.ModelInfer(request).raw_output_contents) == list(request.raw_input_contents)


def test_metadata(stub: Any) -> None:
    answer, call = stub.ModelInfer.with_call(typed_request("headers", back=True), metadata=[("x-one", "1")])
    assert b'"x-one": "1"' in answer.outputs[0].contents.bytes_contents[0]
    assert ("x-one", "1") in [(one.key, one.value) for one in call.trailing_metadata()]


def test_failures(stub: Any) -> None:
    refused = Door(stub).refused(typed_request("raiser", id="r1", how="zero"))
    assert (refused.code, refused.details) == ("INTERNAL", "ZeroDivisionError: division by zero (request r1)")
    assert Door(stub).refused(typed_request("raiser", how="refuse")).code == "INVALID_ARGUMENT"


def test_what_is_given_up_ends_in_the_worker(stub: Any, tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("begun", "open", "ended")}
    call = stub.ModelInfer.future(typed_request("gate", **files))
    wait_until(Path(files["begun"]).exists)
    call.cancel()
    wait_until(Path(files["ended"]).exists)


def test_streams(stub: Any, tmp_path: Path) -> None:
    answers = list(stub.ModelStreamInfer(iter([typed_request("count", 2), typed_request("count", 1)])))
    assert [answer.outputs[0].contents.int64_contents[0] for answer in answers] == [0, 1, 0]
    refused = refusal(stub.ModelStreamInfer, iter([typed_request("count", 5, id="one", fail_at=2)]))
    assert (refused.code, refused.details) == ("INTERNAL", "ValueError: no further (request one)")
    ended = tmp_path / "ended"
    endless = stub.ModelStreamInfer(iter([typed_request("count", 10**6, ended=str(ended))]))
    next(endless)
    endless.cancel()
    wait_until(ended.exists)
