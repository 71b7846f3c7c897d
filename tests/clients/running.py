"""The scripts of the clients, run one after the other."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.environments import python_of

FOLDER = Path(__file__).with_name("scripts")
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Addresses:
    """Where the server answers, as host and port."""

    rest: str
    grpc: str


@dataclass(frozen=True)
class Script:
    """A file of `scripts` and its arguments, in which `{rest}` and `{grpc}` are the server's addresses."""

    environment: str
    arguments: tuple[str, ...]


SCRIPTS = (
    Script("triton", ("triton.py", "http", "{rest}")),
    Script("triton", ("triton.py", "http.aio", "{rest}")),
    Script("triton", ("triton.py", "grpc", "{grpc}")),
    Script("triton", ("triton.py", "grpc.aio", "{grpc}")),
    Script("kserve", ("kserve_clients.py", "http://{rest}", "{grpc}")),
    Script("open-inference", ("open_inference_clients.py", "http://{rest}")),
    Script("open-inference", ("pydantic_clients.py", "http://{rest}")),
    Script("open-inference", ("requests_client.py", "http://{rest}")),
)


def run(script: Script, addresses: Addresses) -> dict[str, Any]:
    """What the script reports: client -> capability -> check -> result."""
    name, *arguments = (word.format(rest=addresses.rest, grpc=addresses.grpc) for word in script.arguments)
    done = subprocess.run(
        [python_of(script.environment), FOLDER / name, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reported: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return reported
