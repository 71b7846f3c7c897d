"""Every page does what it says: its blocks run, its links lead somewhere."""

import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks, pages
from tests.docs.walk import Walk
from tests.kafka_fixtures import Topics
from tests.seed.serving import environment
from tests.seed.topics import settings_of

README, INDEX, REST, KAFKA = (ROOT / name for name in ("README.md", "docs/index.md", "docs/rest.md", "docs/kafka.md"))
CLI, GRPC, ROUTES, WORKERS = (ROOT / "docs" / f"{name}.md" for name in ("cli", "grpc", "custom-routes", "workers"))
CODECS, MODELS, RUNTIMES = (ROOT / "docs" / f"{name}.md" for name in ("codecs", "custom-models", "runtimes"))
# Beside these the walk-through, which has a test of its own in tests/seed, and those its tests are written on.
WALKED = {
    README, INDEX, REST, GRPC, KAFKA, CLI, ROUTES, WORKERS, CODECS, MODELS, RUNTIMES,
    ROOT / "examples" / "sklearn-kafka" / "README.md",
}  # fmt: skip
SERVE = "mlserver start .\n"

needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="the page uses curl, which is not here")


def free_port() -> int:
    """A port whose number no log tells, or that is printed."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def before_serving(page: list[Block]) -> list[Block]:
    """The blocks that make the model and its settings."""
    return page[: next(index for index, block in enumerate(page) if block.text == SERVE)]


@needs_curl
def test_readme_rest_and_grpc(tmp_path: Path) -> None:
    port = free_port()
    env = environment(grpc_port=port, metrics_port=0)
    instead = {'"http_port": 8080': '"http_port": 0', "localhost:8081": f"127.0.0.1:{port}"}
    with Walk(tmp_path, env, instead) as walk:
        walk.all(blocks(README))
        walk.all(blocks(REST))
        walk.all(blocks(GRPC))
        assert walk.served is not None
        walk.served.stop()


@needs_curl
def test_guide(tmp_path: Path) -> None:
    port = free_port()
    env = environment(http_port=0, metrics_port=port)
    with Walk(tmp_path, env, {"localhost:8082": f"127.0.0.1:{port}"}) as walk:
        walk.all(blocks(INDEX))


def test_codecs(tmp_path: Path) -> None:
    with Walk(tmp_path, environment(), {}) as walk:
        walk.all(blocks(CODECS))


@needs_curl
@pytest.mark.parametrize("page", [MODELS, RUNTIMES], ids=lambda page: page.stem)
def test_models(tmp_path: Path, page: Path) -> None:
    port = free_port()
    env = environment(http_port=0, metrics_port=port)
    with Walk(tmp_path, env, {"localhost:8082": f"127.0.0.1:{port}"}) as walk:
        walk.all(blocks(page))


def test_cli(tmp_path: Path) -> None:
    with Walk(tmp_path, environment(http_port=0, grpc_port=0, metrics_port=0), {}) as walk:
        walk.all(blocks(CLI))


@needs_curl
def test_workers(tmp_path: Path) -> None:
    with Walk(tmp_path, environment(http_port=0, grpc_port=0, metrics_port=0), {}) as walk:
        walk.all(blocks(WORKERS))


@needs_curl
def test_custom_routes(tmp_path: Path) -> None:
    with Walk(tmp_path, environment(http_port=0, metrics_port=0), {}) as walk:
        walk.all(blocks(ROUTES))


def test_kafka(tmp_path: Path, kafka_topics: Callable[..., Topics]) -> None:
    topics = kafka_topics()
    env = environment(http_port=0, metrics_port=0, **settings_of(topics))
    instead = {
        "localhost:9092": topics.bootstrap,
        "mlserver-input": topics.input,
        "mlserver-output": topics.output,
        '"mlserver-dead-letter"': f'"{topics.dead_letter}"',
    }
    with Walk(tmp_path, env, instead) as walk:
        walk.all(before_serving(blocks(README)))
        walk.all(blocks(KAFKA))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_that_nobody_runs_say_so(page: Path) -> None:
    runnable = [block.place for block in blocks(page) if block.note != "illustration" and block.language]
    assert page in WALKED or not runnable


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fence_is_understood(page: Path) -> None:
    assert len(re.findall(r"^\s*```", page.read_text(), re.MULTILINE)) == 2 * len(blocks(page))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
