"""Routes that models bring themselves."""

import gzip
import json

import pytest

from mlserver import MLModel, ModelSettings
from mlserver.engine.custom import CustomApp, CustomRequest
from mlserver.errors import MLServerError
from mlserver.handlers import custom_handler, custom_handlers
from tests.rest.raw import Answer, Raw, get
from tests.rest.routes.menu import Cook, Waiter
from tests.rest.routes.test_streams import ask
from tests.seed.serving import Served


def fetch(served: Served, path: str, method: str = "GET") -> Answer:
    """A request without a body on a connection of its own."""
    with Raw(served.port) as raw:
        raw.send(get(path, method=method))
        return raw.answer(bodiless=method == "HEAD")


def test_body_header_and_dependency_in_the_model_s_context(routed: Served) -> None:
    answer = ask(routed, "/sum", {"left": 2, "right": 3}, "User-Agent: me")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == {"sum": 5, "by": "me", "model": "a-waiter"}


@pytest.mark.parametrize("path", ["/sum/", "/behind/sum"])
def test_other_spellings(routed: Served, path: str) -> None:
    assert json.loads(ask(routed, path, {"left": 2}).body)["sum"] == 3


def test_a_plain_function_and_a_compressed_body(routed: Served) -> None:
    body = gzip.compress(b'{"number": 21}')
    assert ask(routed, "/double", body, "Content-Encoding: gzip").body == b"42"
    assert ask(routed, "/double", body, "Content-Encoding: br").status == 415


def test_path_and_query(routed: Served) -> None:
    answer = fetch(routed, "/items/a%20b/c?limit=3")
    assert json.loads(answer.body) == {"item": "a b/c", "limit": 3}
    assert fetch(routed, "/items/x", "HEAD").status == 200


def test_an_answer_of_its_own(routed: Served) -> None:
    answer = fetch(routed, "/text")
    assert (answer.status, answer.body) == (202, b"\x00\xff")
    assert (answer.headers["content-type"], answer.headers["x-own"]) == ("application/x-own", "yes")


def test_below_the_protocol_s_own_paths(routed: Served) -> None:
    assert fetch(routed, "/v2/models/frog/colour").body == b'"frog is green"'
    assert json.loads(fetch(routed, "/v2").body)["name"] == "tavern"


def test_several_models(routed: Served) -> None:
    assert fetch(routed, "/kitchen").body == b'"b-cook"'
    assert json.loads(ask(routed, "/sum", {"left": 1}).body)["model"] == "a-waiter"


@pytest.mark.parametrize(
    ("body", "where"), [({}, "body.left: "), (b"{", "body.1: "), ({"left": "a"}, "body.left: "), (b"", "body: ")]
)
def test_400_where_the_signature_does_not_fit(routed: Served, body: object, where: str) -> None:
    answer = ask(routed, "/sum", body)
    assert answer.status == 400
    assert answer.error.startswith(f"the request does not fit: {where}")


def test_what_a_handler_raises(routed: Served) -> None:
    answer = fetch(routed, "/items/none")
    assert (answer.status, json.loads(answer.body)) == (404, {"detail": {"missing": "none"}})
    answer = ask(routed, "/fail?how=refuse", b"")
    assert (answer.status, answer.error) == (400, "not so")
    answer = ask(routed, "/fail?how=zero", b"")
    assert (answer.status, answer.error) == (500, "ZeroDivisionError: division by zero")
    routed.wait_for("model 'a-waiter' failed on POST /fail")


def test_wrong_verb_and_unknown_path(routed: Served) -> None:
    answer = fetch(routed, "/sum")
    assert (answer.status, answer.headers["allow"], answer.error) == (405, "POST", "Method Not Allowed: GET /sum")
    answer = fetch(routed, "/text", "DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert fetch(routed, "/nothing").status == 404


def test_a_body_that_is_too_large(routed: Served) -> None:
    bomb = gzip.compress(b" " * (65 * 2**20))
    assert ask(routed, "/double", bomb, "Content-Encoding: gzip").status == 413


def test_handlers_are_listed_by_name_and_inherited() -> None:
    class Head(Waiter):
        @property
        def broken(self) -> None:
            raise AssertionError("looked at")

    model = Head(ModelSettings(name="m", implementation=Head))
    paths = [handler.rest_path for handler, _ in custom_handlers(model)]
    assert paths == ["/sum", "/v2/models/{name}/colour", "/double", "/fail", "/v2", "/items/{item:path}", "/text"]
    assert custom_handlers(MLModel(ModelSettings(name="m", implementation=MLModel))) == []


def test_what_cannot_be_marked() -> None:
    with pytest.raises(ValueError, match="begins with '/'"):
        custom_handler("explain")
    with pytest.raises(ValueError, match="an HTTP method"):
        custom_handler("/explain", "")


async def test_a_request_is_a_value_and_so_is_its_answer() -> None:
    app = CustomApp(Cook(ModelSettings(name="cook", implementation=Cook)))
    assert app.routes() == [("POST", "/sum"), ("GET", "/kitchen")]
    answer = await app.call(CustomRequest("GET", "/kitchen", b"", [], b""))
    assert (answer.status, answer.body) == (200, b'"cook"')
    assert (b"content-type", b"application/json") in answer.headers


async def test_what_a_handler_raises_leaves_as_our_error() -> None:
    app = CustomApp(Waiter(ModelSettings(name="w", implementation=Waiter)))
    with pytest.raises(MLServerError, match=r"query\.how: Field required"):
        await app.call(CustomRequest("POST", "/fail", b"", [], b""))
