"""Writes docs/clients.md from what the last run of tests/clients found: `python -m tests.clients.page`."""

import json
import re
from typing import Any

from tests.clients.environments import CACHE
from tests.clients.expected import OWN, REFUSED, expected
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "clients.md"
RESULTS = CACHE / "results.json"

_HEAD = """\
# Clients

<!-- Written by tests/clients/page.py. -->

Clients that others wrote work with this server as they are. These are run against it by its tests, each in the version
below and unchanged:

{versions}

| |{clients}
|---|{rule}
{rows}

**yes**: it works. **refused**: the server says no, with an error of the client that tells why. **-**: this client has
no such call. What stands behind each cell is in `tests/clients/scripts`.

- Over gRPC, tritonclient sends tensors raw, and kserve raw or typed.
- The REST client of kserve reads BYTES as text, and fails on its own at bytes that are none.
- open-inference-openapi sends booleans and integers as floats, which the server takes where nothing is lost. Its own
  exceptions are for the statuses that the protocol's document lists, `ApiError` is for others; all carry the message.
- pydantic-open-inference needs the outputs that it asked for and no others: that is what a request with `outputs` is
  answered with.
- requests knows nothing of the protocol: it stands for HTTP done by hand.

perf_analyzer 2.60 is not among them: its program needs the GNU C library 2.38, which is newer than that of Debian 12.
"""

_GROUPS = {
    "triton": ("tritonclient",),
    "kserve": ("kserve",),
    "open-inference": ("open-inference-openapi", "pydantic-open-inference", "requests"),
}


def page(results: dict[str, Any]) -> str:
    """The page that these results make."""
    capabilities = dict.fromkeys(capability for found in results.values() for capability in found)
    rows = [
        f"| {capability} | " + " | ".join(_cell(results, client, capability) for client in OWN) + " |"
        for capability in capabilities
    ]
    return _HEAD.format(
        versions="\n".join(f"- {name} {version}" for name, version in versions()),
        clients="".join(f" {client} |" for client in OWN),
        rule="---|" * len(OWN),
        rows="\n".join(rows),
    )


def versions() -> list[tuple[str, str]]:
    """Name and version of each distribution that has a client, as locked."""
    found = []
    for group, names in _GROUPS.items():
        lock = (ROOT / "requirements" / f"clients-{group}.txt").read_text()
        for name in names:
            match = re.search(rf"^{name}==(\S+)", lock, re.MULTILINE)
            assert match is not None, f"no {name} in clients-{group}.txt"
            found.append((name, match[1]))
    return found


def _cell(results: dict[str, Any], client: str, capability: str) -> str:
    checks = results[client].get(capability)
    if checks is None:
        return "-"
    if any(expected(client, capability, check) != found for check, found in checks.items()):
        return "no"
    return "refused" if capability in REFUSED else "yes"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
