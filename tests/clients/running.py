"""The scripts of the clients, run one after the other."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.clients.environments import python_of
from tests.docs.pages import ROOT

PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Addresses:
    """Where the server answers, as host and port."""

    rest: str
    grpc: str


@dataclass(frozen=True)
class Script:
    """A module of `scripts` and its arguments, in which `{rest}` and `{grpc}` are the server's addresses."""

    environment: str
    arguments: tuple[str, ...]


SCRIPTS = (
    Script("triton", ("triton", "http", "{rest}")),
    Script("triton", ("triton", "http.aio", "{rest}")),
    Script("triton", ("triton", "grpc", "{grpc}")),
    Script("triton", ("triton", "grpc.aio", "{grpc}")),
    Script("kserve", ("kserve_clients", "http://{rest}", "{grpc}")),
    Script("open-inference", ("open_inference_clients", "http://{rest}")),
    Script("open-inference", ("pydantic_clients", "http://{rest}")),
    Script("open-inference", ("requests_client", "http://{rest}")),
)


def run(script: Script, addresses: Addresses) -> dict[str, Any]:
    """What the script reports: client -> capability -> check -> result."""
    name, *arguments = (word.format(rest=addresses.rest, grpc=addresses.grpc) for word in script.arguments)
    done = subprocess.run(
        [python_of(script.environment), "-m", f"tests.clients.scripts.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reported: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return reported
