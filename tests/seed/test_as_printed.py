"""tests/seed/as_printed.txt on a real server and a real broker, and the same asked in other ways."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from mlserver.settings import Settings
from mlserver.types import InferenceRequest, RequestInput
from tests.docs.pages import Block, blocks
from tests.docs.walk import Walk
from tests.kafka_fixtures import Topics
from tests.seed.serving import Served, environment
from tests.seed.topics import fresh, records, settings_of

PAGE = Path(__file__).with_name("as_printed.txt")
FIELDS = ["model_name", "model_version", "id", "parameters", "outputs"]
OUTPUT = {"name": "predict", "shape": [1], "datatype": "INT64", "parameters": None, "data": [8]}


@dataclass
class Printed:
    """The server that the page started, and what its Python session has left behind."""

    walk: Walk
    served: Served
    topics: Topics
    request: dict[str, Any]


@pytest.fixture(scope="module")
def page() -> list[Block]:
    return blocks(PAGE)


@pytest.fixture(scope="module")
def printed(
    page: list[Block], trained: Path, tmp_path_factory: pytest.TempPathFactory, kafka_bootstrap: str
) -> Iterator[Printed]:
    """The whole page, walked through on a server that stays up for the tests."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("printed") / "model")
    topics = fresh(kafka_bootstrap)
    env = environment(http_port=0, metrics_port=0, **settings_of(topics))
    instead = {
        "localhost:9092": topics.bootstrap,
        "mlserver-input": topics.input,
        "mlserver-output": topics.output,
    }
    with Walk(folder, env, instead) as walk:
        walk.python((folder / "train.py").read_text())
        walk.all(page)
        assert walk.served is not None
        yield Printed(walk, walk.served, topics, json.loads(walk.python("print(json.dumps(inference_request))")))


def check(response: requests.Response) -> None:
    """Every field, in the printed order, and nothing else."""
    assert response.status_code == 200
    answer = response.json()
    assert list(answer) == FIELDS
    assert list(answer["outputs"][0]) == list(OUTPUT)
    assert answer == {
        "model_name": "mnist-svm",
        "model_version": "v0.1.0",
        "id": answer["id"],
        "parameters": None,
        "outputs": [OUTPUT],
    }
    assert isinstance(answer["id"], str)
    assert answer["id"]


@pytest.mark.parametrize("model", ["mnist-svm/versions/v0.1.0", "mnist-svm"])
def test_both_addresses(printed: Printed, model: str) -> None:
    url = f"{printed.served.url}/v2/models/{model}/infer"
    check(requests.post(url, json=printed.request, timeout=30))


@pytest.mark.parametrize("as_json", [True, False])
def test_a_request_made_with_the_types(printed: Printed, as_json: bool) -> None:
    given = printed.request["inputs"][0]
    request = InferenceRequest(
        inputs=[RequestInput(name="predict", shape=tuple(given["shape"]), datatype="FP32", data=given["data"])]
    )
    url = f"{printed.served.url}/v2/models/mnist-svm/versions/v0.1.0/infer"
    if as_json:
        check(requests.post(url, data=request.model_dump_json(), timeout=30))
    else:
        check(requests.post(url, json=request.model_dump(), timeout=30))


def test_the_answer_on_kafka_is_compact_and_in_the_printed_order(printed: Printed) -> None:
    (record,) = records(printed.topics, 1)
    answer = json.loads(record.value)
    assert record.key is None
    assert record.value == json.dumps(answer, separators=(",", ":")).encode()
    assert list(answer) == FIELDS
    assert list(answer["outputs"][0].items()) == list(OUTPUT.items())


def test_settings_given_as_text_are_honoured(printed: Printed) -> None:
    requests.get(f"{printed.served.url}/v2", timeout=30)
    assert printed.served.wait_for("GET /v2")  # the access log of "debug": "true"
    assert printed.served.wait_for(f"assigned {printed.topics.input}/0")  # "kafka_enable": "true"


def test_ports_topics_and_broker_are_the_defaults(page: list[Block], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    settings = Settings.model_validate(json.loads(next(block.text for block in page if block.file == "settings.json")))
    assert settings.debug is True
    assert settings.kafka_enabled is True
    assert (settings.http_port, settings.kafka_servers) == (8080, "localhost:9092")
    assert (settings.kafka_topic_input, settings.kafka_topic_output) == ("mlserver-input", "mlserver-output")
