"""The command line as people run it: a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Ports that are free whatever else runs on the machine.
FREE_PORTS = {"http_port": 0, "grpc_port": 0, "metrics_port": 0, "host": "127.0.0.1"}

# Enough for a start on a busy machine; nothing waits for it to pass.
PATIENCE_SECONDS = 60


def mlserver(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `mlserver` in the working directory until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "mlserver", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def put(file: str, given: Any) -> None:
    """A file with `given` as it is where it is text, else as JSON; folders are made."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(given if isinstance(given, str) else json.dumps(given))
