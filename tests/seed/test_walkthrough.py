"""The page examples/sklearn-kafka/README.md, walked through word for word."""

import socket
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.walk import Walk
from tests.seed.serving import environment

EXAMPLE = ROOT / "examples" / "sklearn-kafka"
SCRIPT = str(ROOT / "scripts" / "kafka")


def free_port() -> int:
    """A port for a broker; 0 would do, but the walk has to know it."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.usefixtures("kafka_tools")
def test_every_block_in_order(tmp_path: Path) -> None:
    broker = f"127.0.0.1:{free_port()}"
    instead = {
        "../../scripts/kafka start": f"{SCRIPT} start --port {broker.partition(':')[2]}",
        "../../scripts/kafka": SCRIPT,
        "localhost:9092": broker,
    }
    env = environment(http_port=0, metrics_port=0, kafka_servers=broker, kafka_state=tmp_path / "kafka")
    page = blocks(EXAMPLE / "README.md")
    with Walk(tmp_path, env, instead) as walk:
        try:
            walk.all(page[:-1])
            assert walk.served is not None
            walk.served.stop()
        finally:
            walk.step(page[-1])
    assert page[-1].text == "../../scripts/kafka stop\n"
    assert not (tmp_path / "kafka" / "broker").exists()


def test_the_files_beside_the_page_are_those_on_it() -> None:
    page = blocks(EXAMPLE / "README.md")
    shown = {block.file: block.text for block in page if block.file}
    assert shown == {name: (EXAMPLE / name).read_text() for name in ("settings.json", "model-settings.json")}
    training = next(block.text for block in page if block.language == "python")
    assert (EXAMPLE / "train.py").read_text().partition("\n\n")[2] == training
