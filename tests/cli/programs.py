"""Programs that others install, as far as a command of ours can tell: they record how they were called."""

import os
from pathlib import Path

# What it was called with, a line each; for docker the environment that matters, and the files that are gone afterwards.
_RECORDER = """#!/bin/sh
for one in "$@"; do printf '%s\\n' "$one"; done > "{place}/argv"
printf '%s' "$DOCKER_BUILDKIT" > "{place}/buildkit"
while [ $# -gt 1 ]; do [ "$1" = -f ] && cp "$2" "$2.dockerignore" "{place}"; shift; done
exit {status}
"""


def recorder(place: Path, name: str, status: int = 0) -> dict[str, str]:
    """An environment in which the first `name` on the path writes `argv` to the new folder `place`, and ends so."""
    place.mkdir()
    program = place / name
    program.write_text(_RECORDER.format(place=place, status=status))
    program.chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}
