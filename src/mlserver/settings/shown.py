"""How paths and values are shown in messages."""

import json
import os
from pathlib import Path
from typing import Any

# Long enough to recognise a value by, short enough for one line of a terminal.
SHOWN_CHARACTERS = 60


def shown_path(path: str | Path) -> str:
    """`path` relative to the working directory where it is below that, else absolute."""
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute)
    return absolute if relative.startswith("..") else relative


def shown_value(value: Any) -> str:
    """`value` on one line and without control characters: text in quotes, the rest as JSON, long ones cut."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
