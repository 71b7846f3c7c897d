"""The same requests as records, in every form that Kafka has: the answers of REST, and the same kinds of errors."""

import json
from collections.abc import Callable, Iterator

import pytest

from mlserver.grpc.dataplane_pb2 import ModelInferResponse
from tests.contract.conftest import make_folder
from tests.contract.doors import HEADER, Answer, Doors, of_json, of_message
from tests.contract.known import BAD, GOOD
from tests.contract.questions import NoFormError, Question, as_binary, as_json, as_message
from tests.kafka.client import Got, Headers, Sent, Watch, send
from tests.kafka_fixtures import Topics
from tests.seed.serving import Served, environment

_PROTOBUF: Headers = [("content-type", b"application/x-protobuf")]
# Those that Kafka tries again or waits for, and those whose kind is for whoever has statuses.
_OTHERWISE = {"busy", "away", "forbidden by status", "not found by status"}
# Nobody needs the record of a request that is too late.
_NO_LETTER = {"too late"}


def records(question: Question) -> Iterator[Sent]:
    """The question in each form that it has."""
    headers: Headers = [("mlserver-model", question.model.encode())]
    if question.version:
        headers.append(("mlserver-version", question.version.encode()))
    yield Sent(as_json(question), headers)
    for make in (_binary, _typed, _raw):
        try:
            value, more = make(question)
        except NoFormError:
            continue
        yield Sent(value, headers + more)


def _binary(question: Question) -> tuple[bytes, Headers]:
    value, length = as_binary(question)
    return value, [(HEADER, str(length).encode())]


def _typed(question: Question) -> tuple[bytes, Headers]:
    return as_message(question, raw=False).SerializeToString(), _PROTOBUF


def _raw(question: Question) -> tuple[bytes, Headers]:
    return as_message(question, raw=True).SerializeToString(), _PROTOBUF


def answer_in(record: Got) -> Answer:
    """The answer, whichever form it has."""
    assert record.status == "ok", record
    value = record.value or b""
    if record.header("content-type") == b"application/x-protobuf":
        return of_message(ModelInferResponse.FromString(value))
    length = record.header(HEADER)
    return of_json(value, length.decode() if length else None)


def test_answers_are_those_of_rest(
    doors: Doors, kafka_topics: Callable[..., Topics], tmp_path_factory: pytest.TempPathFactory
) -> None:
    topics = kafka_topics()
    bad = {name: question for name, (question, _) in BAD.items() if name not in _OTHERWISE}
    asked = [(name, record) for name, question in (GOOD | bad).items() for record in records(question)]
    settings = {
        "kafka_enabled": True,
        "kafka_servers": topics.bootstrap,
        "kafka_group_id": topics.group,
        "kafka_topic_input": topics.input,
        "kafka_topic_output": topics.output,
        "kafka_topic_dead_letter": topics.dead_letter,
    }
    folder = make_folder(tmp_path_factory.mktemp("records"), **settings)
    with Served(".", cwd=folder, env=environment()) as server, Watch(topics.bootstrap, topics.output) as answers:
        sources = send(topics, [record for _, record in asked])
        found = answers.of(sources)
        wanted = [
            source for source, (name, _) in zip(sources, asked, strict=True) if name in bad and name not in _NO_LETTER
        ]
        with Watch(topics.bootstrap, topics.dead_letter) as letters:
            kinds = {letter.source: letter.header("mlserver-dead-letter-error") for letter in letters.of(wanted)}
        server.stop()
    for (name, _), source, record in zip(asked, sources, found, strict=True):
        if name in GOOD:
            assert answer_in(record) == doors.forms["JSON"](GOOD[name]), name
        else:
            assert record.status == "error", (name, record)
            assert "Traceback" not in json.loads(record.value or b"")["error"]
            if name not in _NO_LETTER:
                assert kinds[source] == BAD[name][1].encode(), (name, record)
