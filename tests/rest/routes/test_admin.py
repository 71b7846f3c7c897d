"""Loading and unloading for real, and who may."""

import json

import pytest

from tests.rest.raw import Answer, Raw, get, post
from tests.rest.routes.test_custom import fetch
from tests.rest.routes.test_streams import ask
from tests.seed.serving import Served

LOAD, UNLOAD = "/v2/repository/models/b-cook/load", "/v2/repository/models/b-cook/unload"


def do(served: Served, path: str, *headers: str, method: str = "POST") -> Answer:
    """A request under a name of this machine, as a client on it sends."""
    given = [f"Host: localhost:{served.port}", *headers]
    with Raw(served.port) as raw:
        return raw.ask(get(path, *given, method=method).replace(b"Host: x\r\n", b"", 1))


def states(served: Served) -> dict[str, str]:
    """The index."""
    answer = ask(served, "/v2/repository/index", b"")
    assert answer.status == 200
    return {item["name"]: item["state"] for item in json.loads(answer.body)}


def test_a_model_s_route_comes_and_goes_with_it(worked: Served) -> None:
    assert fetch(worked, "/kitchen").status == 200
    answer = do(worked, UNLOAD)
    assert (answer.status, answer.body) == (200, b"")
    assert (fetch(worked, "/kitchen").status, states(worked)["b-cook"]) == (404, "UNAVAILABLE")
    assert do(worked, LOAD).status == 200
    assert (fetch(worked, "/kitchen").status, states(worked)["b-cook"]) == (200, "READY")


def test_what_is_not_there(worked: Served) -> None:
    for verb in ("load", "unload"):
        answer = do(worked, f"/v2/repository/models/none/{verb}")
        assert (answer.status, answer.error) == (404, "model 'none' not found")


@pytest.mark.parametrize(
    "header",
    [
        "Origin: https://page.example",
        "Origin: null",
        "X-Forwarded-For: 10.0.0.1",
        "Forwarded: for=10.0.0.1",
    ],
)
@pytest.mark.parametrize("path", [LOAD, UNLOAD, "/v2/repository/any/models/b-cook/unload", "/v2/repository/models"])
def test_foreign_callers_are_refused_whatever_the_verb(worked: Served, path: str, header: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = do(worked, path, header, method=method)
        assert answer.status == 403
        assert answer.error


def test_a_name_that_leads_here_from_elsewhere(worked: Served) -> None:
    with Raw(worked.port) as raw:
        answer = raw.ask(post(UNLOAD, b"").replace(b"Host: x", b"Host: rebound.example"))
    assert answer.status == 403
    assert states(worked)["b-cook"] == "READY"
