"""The walk-through of this folder from start to end, in a temporary folder: `make demo`.

Trains the model, starts a broker and the server, asks over REST and over Kafka, prints the answers, stops everything.
Exit code 0 where every answer was right, else 1 with one line that says what was not.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from sklearn import datasets

from mlserver.testing.kafka import Broker, BrokerError, MockBroker, create_topics, missing_tools

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0
BROKER_PORT = 9092
# Setting -> the port it has where that is free.
PORTS = {"http_port": 8080, "grpc_port": 8081, "metrics_port": 8082}
TOPICS = ("mlserver-input", "mlserver-output")
HEADERS = [("mlserver-model", b"mnist-svm"), ("mlserver-version", b"v0.1.0")]
EXPECTED_DIGIT = 8


class DemoError(Exception):
    """A step that did not do what the walk-through promises; the message says which."""


def main() -> None:
    """Run every step; what was started is stopped in any case."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlserver-demo-")))
        say("training a classifier of handwritten digits")
        train(folder)
        bootstrap, client = stack.enter_context(broker())
        url = stack.enter_context(server(folder, bootstrap))
        first = datasets.load_digits().images.reshape((1797, -1))[898:899]
        request = {
            "inputs": [{"name": "predict", "shape": first.shape, "datatype": "FP32", "data": first.tolist()}],
        }
        ask_over_rest(url, request)
        ask_over_kafka(client, request)
        say("stopping")
    say("done: every answer was right")


def train(folder: Path) -> None:
    """Fill `folder` with what `mlserver start` serves: the model and the two settings files."""
    for name in ("settings.json", "model-settings.json"):
        shutil.copy(HERE / name, folder)
    run = subprocess.run(
        [sys.executable, HERE / "train.py"], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    if run.returncode:
        raise DemoError(f"training failed:\n{run.stderr}")


@contextmanager
def broker() -> Iterator[tuple[str, dict[str, Any]]]:
    """Address of a broker and how kafka-python is to reach it: Apache Kafka where it can run here, else a stand-in."""
    if missing := missing_tools():
        say("Kafka: an in-memory stand-in, since a real broker cannot run here", missing)
        with MockBroker() as mock:
            # It does not answer kafka-python's question which protocol versions it speaks.
            client = {"bootstrap_servers": mock.bootstrap, "api_version": (2, 1)}
            with KafkaProducer(**client) as asking:
                for topic in (*TOPICS, "mlserver-dead-letter"):
                    asking.partitions_for(topic)  # a topic comes into being when it is asked for
            yield mock.bootstrap, client
        return
    say("Kafka: starting Apache Kafka (Java and Maven are here; the first time Maven fetches it)")
    with Broker(BROKER_PORT if is_free(BROKER_PORT) else 0) as real:
        create_topics(real.bootstrap, *TOPICS)
        yield real.bootstrap, {"bootstrap_servers": real.bootstrap}


@contextmanager
def server(folder: Path, bootstrap: str) -> Iterator[str]:
    """Run `mlserver start .` in `folder`; its REST address, once it is ready."""
    ports = {name: port if is_free(port) else free_port() for name, port in PORTS.items()}
    settings = {f"MLSERVER_{name.upper()}": str(port) for name, port in ports.items()}
    log = folder / "server.log"
    say(f"mlserver start . (REST on {ports['http_port']}, metrics on {ports['metrics_port']}, Kafka at {bootstrap})")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlserver", "start", "."],
            cwd=folder,
            env=os.environ | settings | {"MLSERVER_KAFKA_SERVERS": bootstrap},
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://localhost:{ports['http_port']}"
        wait_until_ready(process, url)
        yield url
        process.send_signal(signal.SIGTERM)
        if code := process.wait(PATIENCE_SECONDS):
            raise DemoError(f"the server ended with exit code {code}")
    except DemoError as error:
        raise DemoError(f"{error}\nIts log:\n{log.read_text()}") from error
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Return when the server is ready to answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"the server ended with exit code {process.returncode}")
        try:
            if requests.get(f"{url}/v2/health/ready", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise DemoError(f"the server was not ready after {PATIENCE_SECONDS:.0f} s")


def ask_over_rest(url: str, request: dict[str, Any]) -> None:
    """Both addresses of the model: with its version, and without."""
    for model in ("mnist-svm/versions/v0.1.0", "mnist-svm"):
        response = requests.post(f"{url}/v2/models/{model}/infer", json=request, timeout=PATIENCE_SECONDS)
        say(f"POST /v2/models/{model}/infer", f"{response.status_code} {response.text}")
        check(response.json())


def ask_over_kafka(client: dict[str, Any], request: dict[str, Any]) -> None:
    """One record in, its answer out."""
    with KafkaProducer(**client) as producer:
        producer.send("mlserver-input", json.dumps(request).encode(), headers=HEADERS)
        producer.flush(timeout=PATIENCE_SECONDS)
    say("sent a record to mlserver-input")
    consumer = KafkaConsumer(
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=int(PATIENCE_SECONDS * 1000),
        **client,
    )
    with consumer:
        # By number: the stand-in now and then leaves a consumer that subscribes without a partition.
        numbers = consumer.partitions_for_topic("mlserver-output") or ()
        consumer.assign([TopicPartition("mlserver-output", number) for number in numbers])
        record = next(consumer, None)
    if record is None:
        raise DemoError(f"no answer on mlserver-output within {PATIENCE_SECONDS:.0f} s")
    say("read a record from mlserver-output", f"key: {record.key}", f"value: {record.value}")
    check(json.loads(record.value))


def check(response: dict[str, Any]) -> None:
    """The picture is one of an 8, and the answer has to say so."""
    if "outputs" not in response or response["outputs"][0]["data"] != [EXPECTED_DIGIT]:
        raise DemoError(f"expected the digit {EXPECTED_DIGIT}, got {response}")


def is_free(port: int) -> bool:
    """Whether a server could listen on `port`."""
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def say(step: str, *details: str) -> None:
    """Print a step, and what it gave indented below."""
    print(f"- {step}", *details, sep="\n    ", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (DemoError, BrokerError, requests.RequestException, subprocess.TimeoutExpired) as error:
        sys.exit(f"demo failed: {error}")
    except KeyboardInterrupt:
        sys.exit("demo interrupted")
