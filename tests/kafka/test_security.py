"""A broker behind TLS, client certificates and SASL/SCRAM: who has what it asks for is served; no secret is told."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlserver.testing.kafka import Broker, create_topics
from mlserver.testing.kafka_secure import MECHANISM, Secure
from tests.kafka.client import Sent, Watch, all_committed, fresh, model, request, send
from tests.kafka.serving import SUM, Server, make_folder

PASSWORD = "not-for-logs"


def openssl(*arguments: object) -> None:
    """Run it."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def certificate(folder: Path, name: str) -> Path:
    """A PEM file with a key and a certificate that the authority in `folder` has signed."""
    key, asked, signed, both = (folder / f"{name}.{kind}" for kind in ("key", "csr", "crt", "pem"))
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", asked, "-subj", f"/CN={name}")
    names = folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1")
    authority = ("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial", "-extfile", names)
    openssl("x509", "-req", "-in", asked, *authority, "-days", "1", "-out", signed)
    both.write_text(key.read_text() + signed.read_text())
    return both


@pytest.fixture(scope="module")
def secured(kafka_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, dict[str, Any]]]:
    """A broker, and the options of a client that it lets in."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = folder / "ca.crt"
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "ca.key", "-out", authority, "-days", "1",
        "-subj", "/CN=authority",
    )  # fmt: skip
    client = certificate(folder, "client")
    secure = Secure(certificate(folder, "broker"), authority, "me", PASSWORD)
    with Broker(beside=secure) as broker:
        yield (
            broker,
            {
                "bootstrap.servers": broker.bootstrap_beside, "security.protocol": "SASL_SSL",
                "sasl.mechanism": MECHANISM, "sasl.username": "me", "sasl.password": PASSWORD,
                "ssl.ca.location": str(authority), "ssl.certificate.location": str(client),
                "ssl.key.location": str(client),
            },
        )  # fmt: skip


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_answers_and_dead_letters(delivery: str, secured: tuple[Broker, dict[str, Any]], tmp_path: Path) -> None:
    broker, config = secured
    topics = fresh(broker.bootstrap)
    folder = make_folder(
        tmp_path / "served", topics, SUM, kafka_servers="127.0.0.1:1", kafka_config=config, kafka_delivery=delivery
    )
    with (
        Server(folder) as server,
        Watch(broker.bootstrap, topics.output) as answers,
        Watch(broker.bootstrap, topics.dead_letter) as letters,
    ):
        sources = send(topics, [Sent(request(1.0), model("sum")), Sent(b"?", model("sum"))])
        assert [answer.status for answer in answers.of(sources)] == ["ok", "error"]
        letters.of(sources[1:])
        all_committed(topics)
        server.stop()
        assert PASSWORD not in server.log


@pytest.mark.parametrize(
    "changed", [{"sasl.password": "wrong-and-secret"}, {"ssl.ca.location": None}], ids=["password", "authority"]
)
def test_who_is_not_let_in_says_so_and_serves_rest(
    changed: dict[str, Any], secured: tuple[Broker, dict[str, Any]], tmp_path: Path
) -> None:
    broker, config = secured
    topics = fresh(broker.bootstrap, create=False)
    create_topics(broker.bootstrap, topics.input)
    with Server(make_folder(tmp_path / "served", topics, SUM, kafka_config={**config, **changed})) as server:
        server.wait_for("SASL authentication error" if "sasl.password" in changed else "SSL handshake failed")
        assert server.ready()
        server.stop()
        assert PASSWORD not in server.log
        assert "wrong-and-secret" not in server.log
