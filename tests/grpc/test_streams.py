"""ModelStreamInfer, in both of its forms."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from mlserver.grpc.dataplane_pb2 import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.grpc.client import PATIENCE_SECONDS, Refused, raw_request, refusal, typed_request, values
from tests.grpc.conftest import make_folder, no_surprise, port_of, serve
from tests.seed.serving import Served
from tests.waiting import wait_until

MODELS = {name: {"implementation": f"kitchen.{name.capitalize()}"} for name in ("count", "gate", "sum")}


def counted(number: int, **options: Any) -> ModelInferRequest:
    """A raw request to count so far."""
    return raw_request("count", np.array([[float(number)]]), **options)


@pytest.fixture
def triton(channel: grpc.Channel) -> Any:
    """A call that reads Triton's messages."""
    return channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=ModelInferRequest.SerializeToString,
        response_deserializer=ModelStreamInferResponse.FromString,
    )


def numbers(responses: list[ModelInferResponse]) -> list[int]:
    """What a count has answered, in whichever form."""
    return [
        int(np.frombuffer(one.raw_output_contents[0], np.int64)[0])
        if one.raw_output_contents
        else one.outputs[0].contents.int64_contents[0]
        for one in responses
    ]


def test_typed_requests_are_one_conversation(stub: Any) -> None:
    call = stub.ModelStreamInfer(iter([typed_request("count", 2, id="one"), typed_request("count", 3)]))
    answers = list(call)
    assert numbers(answers) == [0, 1, 0, 1, 2]
    assert {(one.model_name, one.id) for one in answers} == {("count", "one")}
    trailing = {one.key: one.value for one in call.trailing_metadata()}
    assert (trailing["x-last"], trailing["ce-id"]) == ("2", "one")


def test_a_model_without_streams_of_its_own_answers_the_first(stub: Any) -> None:
    (answer,) = stub.ModelStreamInfer(iter([typed_request("sum", 1, 2, id="one"), typed_request("sum", 3)]))
    assert (answer.id, answer.outputs[0].contents.fp64_contents) == ("one", [3.0])


def test_no_requests_are_no_answers(stub: Any, triton: Any) -> None:
    assert list(stub.ModelStreamInfer(iter([]))) == []
    assert list(triton(iter([]))) == []


def test_a_failure_ends_a_conversation_after_what_was_answered(stub: Any) -> None:
    call = stub.ModelStreamInfer(iter([typed_request("count", 5, id="one", fail_at=2)]))
    answers: list[Any] = []
    with pytest.raises(grpc.RpcError) as caught:
        answers.extend(call)
    refused = Refused(caught.value)
    assert (refused.code, refused.details) == ("INTERNAL", "ValueError: no further (request one)")


def test_a_bad_request_ends_a_conversation(stub: Any) -> None:
    bad = typed_request("count", 1)
    bad.inputs[0].shape[0] = 7
    assert refusal(stub.ModelStreamInfer, iter([typed_request("count", 1), bad])).code == "INVALID_ARGUMENT"


def test_raw_requests_are_answered_one_by_one(triton: Any) -> None:
    sent = [counted(2, id="a"), raw_request("sum", np.ones((1, 4)), id="b"), counted(1, id="c")]
    answers = [one.infer_response for one in triton(iter(sent))]
    assert [one.id for one in answers] == ["a", "a", "b", "c"]
    assert numbers([answers[0], answers[1], answers[3]]) == [0, 1, 0]
    assert np.frombuffer(answers[2].raw_output_contents[0]).tolist() == [4.0]


def test_an_error_is_a_message_and_the_stream_goes_on(triton: Any) -> None:
    bad = counted(1, id="bad")
    bad.inputs[0].shape[0] = 7
    sent = [counted(3, id="a", fail_at=1), raw_request("none", id="b"), bad, counted(1, id="c")]
    answers = [(one.infer_response.id, one.error_message) for one in triton(iter(sent))]
    assert [answers[0], answers[1], answers[4]] == [("a", ""), ("a", "ValueError: no further (request a)"), ("c", "")]
    assert answers[2] == ("b", "model 'none' not found")
    assert answers[3][0] == "bad"
    assert "bytes, got" in answers[3][1]


def test_an_empty_last_response_where_it_is_asked_for(triton: Any) -> None:
    sent = [counted(2, id="a", triton_enable_empty_final_response=True), counted(1, id="b")]
    answers = [one.infer_response for one in triton(iter(sent))]
    told = [(one.id, len(one.outputs), values(one.parameters)) for one in answers]
    going_on, final = {"triton_final_response": False}, {"triton_final_response": True}
    assert told == [("a", 1, going_on), ("a", 1, going_on), ("a", 0, final), ("b", 1, {})]


def test_each_request_is_answered_before_the_next_is_sent(triton: Any) -> None:
    waiting: queue.Queue[ModelInferRequest | None] = queue.Queue()
    call = triton(iter(waiting.get, None), timeout=PATIENCE_SECONDS)
    for number in range(3):
        waiting.put(raw_request("sum", np.full((1, 1), float(number))))
        answer = next(call).infer_response
        assert np.frombuffer(answer.raw_output_contents[0]).tolist() == [number]
    waiting.put(None)
    assert list(call) == []


@pytest.mark.parametrize("make", [typed_request, lambda model, number, **options: counted(number, **options)])
def test_cancelling_ends_the_models_generator(stub: Any, tmp_path: Path, make: Any) -> None:
    ended = tmp_path / "ended"
    call = stub.ModelStreamInfer(iter([make("count", 10**6, ended=str(ended))]))
    next(call)
    call.cancel()
    wait_until(ended.exists)


def test_a_deadline_ends_a_stream(stub: Any, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    request = typed_request("count", 10**6, ended=str(ended))
    assert refusal(stub.ModelStreamInfer, iter([request]), timeout=1).code == "DEADLINE_EXCEEDED"
    wait_until(ended.exists)


def test_a_timeout_ends_the_answers_to_a_request_and_the_stream_goes_on(triton: Any, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    sent = [counted(10**6, id="a", timeout=300_000, ended=str(ended)), counted(1, id="b")]
    *answers, failed, last = triton(iter(sent), timeout=PATIENCE_SECONDS)
    assert numbers([one.infer_response for one in answers]) == list(range(len(answers)))
    late = "the deadline of the request for model 'count' passed before its last answer"
    assert (failed.error_message, failed.infer_response.id) == (late, "a")
    assert last.infer_response.id == "b"
    wait_until(ended.exists)


def test_a_timeout_ends_a_conversation_whose_model_says_nothing(stub: Any, tmp_path: Path) -> None:
    asked = {"begun": str(tmp_path / "begun"), "open": str(tmp_path / "open"), "ended": str(tmp_path / "ended")}
    request = typed_request("gate", 1, timeout=300_000, **asked)
    refused = refusal(stub.ModelStreamInfer, iter([request]), timeout=PATIENCE_SECONDS)
    assert refused.code == "DEADLINE_EXCEEDED"
    assert refused.details.startswith("the deadline of the request for model 'gate' passed")
    wait_until((tmp_path / "ended").exists)


def test_requests_that_bring_no_deadline_get_the_server_s(tmp_path: Path) -> None:
    """A caller who says nothing for longer is not meant."""
    waiting: queue.Queue[ModelInferRequest | None] = queue.Queue()
    with _running(tmp_path, default_timeout_seconds=1) as (served, channel):
        call = GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(waiting.get, None))
        waiting.put(typed_request("count", 1))
        assert numbers([next(call)]) == [0]
        other = {"begun": str(tmp_path / "begun"), "open": str(tmp_path / "open"), "ended": str(tmp_path / "ended")}
        late = refusal(GRPCInferenceServiceStub(channel).ModelStreamInfer, iter([typed_request("gate", 1, **other)]))
        assert late.code == "DEADLINE_EXCEEDED"
        waiting.put(typed_request("count", 1))
        assert numbers([next(call)]) == [0]
        waiting.put(None)
        assert list(call) == []
        served.stop()


@pytest.mark.parametrize("form", ["mlserver", "triton"])
def test_the_form_may_be_set(tmp_path: Path, form: str) -> None:
    wanted: Any = ModelInferResponse if form == "mlserver" else ModelStreamInferResponse
    with _running(tmp_path, grpc_stream_format=form) as (served, channel):
        call = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=wanted.FromString,
        )
        for request in (counted(1, id="a"), typed_request("count", 1, id="a")):
            (answer,) = call(iter([request]))
            response = answer if form == "mlserver" else answer.infer_response
            assert (response.id, numbers([response])) == ("a", [0])
        served.stop()


def test_a_server_that_stops_ends_streams_that_wait_and_finishes_those_that_do_not(tmp_path: Path) -> None:
    with _running(tmp_path) as (served, channel):
        stub: Any = GRPCInferenceServiceStub(channel)
        release = threading.Event()
        idle = stub.ModelStreamInfer(_then_wait(counted(1), release), timeout=PATIENCE_SECONDS)
        next(idle)
        busy = stub.ModelStreamInfer(iter([typed_request("count", 300)]), timeout=PATIENCE_SECONDS)
        first = next(busy)
        stopper = threading.Thread(target=served.stop)
        stopper.start()
        assert len(numbers([first, *busy])) == 300
        assert refusal(lambda: list(idle)).code == "UNAVAILABLE"
        release.set()
        stopper.join()
        no_surprise(served)


def test_a_server_that_stops_answers_the_calls_that_are_under_way(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("begun", "open")}
    with _running(tmp_path) as (served, channel):
        stub: Any = GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer.future(typed_request("gate", id="one", **files))
        wait_until(Path(files["begun"]).exists)
        stopper = threading.Thread(target=served.stop)
        stopper.start()
        served.wait_for("stopping on SIGTERM")
        Path(files["open"]).touch()
        assert call.result(PATIENCE_SECONDS).id == "one"
        stopper.join()
        no_surprise(served)


def _then_wait(request: ModelInferRequest, release: threading.Event) -> Iterator[ModelInferRequest]:
    yield request
    release.wait(PATIENCE_SECONDS)


class _running:  # noqa: N801 - used as a function
    """A server of its own, and a channel to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._server: Served = serve(make_folder(folder / "models", MODELS, **settings))

    def __enter__(self) -> tuple[Served, grpc.Channel]:
        self._server.__enter__()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port_of(self._server)}")
        return self._server, self._channel

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._server.__exit__()
