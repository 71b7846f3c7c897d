"""The protocol's table of statuses, as far as it can be reached; every error is `{"error": text}` and nothing else."""

import gzip
import json
from typing import Any

import pytest
import requests

from tests.rest.conftest import LIMIT
from tests.rest.raw import Answer, Raw, get, inference, post
from tests.seed.serving import Served


def ask(served: Served, data: bytes) -> Answer:
    """One request on a connection of its own."""
    with Raw(served.port) as raw:
        return raw.ask(data)


def tensor(**changes: Any) -> dict[str, Any]:
    """A request whose only input has these fields changed, or left out where they are None."""
    fields = {"name": "x", "shape": [2], "datatype": "INT8", "data": [1, 2]} | changes
    return {"inputs": [{name: value for name, value in fields.items() if value is not None}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid inference request: "),
        (b"{", "invalid inference request: "),
        (b"[]", "invalid inference request: Expected `object`, got `array`"),
        (b'"\xff"', "invalid inference request: "),
        (b"[" * 5000, "invalid inference request: "),
        ({}, "invalid inference request: Object missing required field `inputs`"),
        ({"inputs": 1}, "invalid inference request: Expected `array`, got `int` - at `$.inputs`"),
        (tensor(name=None), "invalid inference request: Object missing required field `name` - at `$.inputs[0]`"),
        (tensor(shape="2"), "invalid inference request: Expected `array`, got `str` - at `$.inputs[0].shape`"),
        (tensor(shape=[2.5]), "invalid inference request: Expected `int`, got `float` - at `$.inputs[0].shape[0]`"),
        (tensor(shape=[-2]), "expected dimensions >= 0, got [-2] - at `$.inputs[0].shape`"),
        (tensor(shape=[3]), "shape [3] needs 3 elements, the data of input 'x' has 2 - at `$.inputs[0].data`"),
        (tensor(datatype="INT9"), "expected a datatype of BF16, BOOL, BYTES, "),
        (tensor(data=[1, "2"]), "expected a value of INT8, got str '2' - at `$.inputs[0].data[1]`"),
        (tensor(data=[1, None]), "expected a value of INT8, got null - at `$.inputs[0].data[1]`"),
        (tensor(data=[1, 300]), "a number is out of range for INT8 - at `$.inputs[0].data`"),
        (tensor(datatype="BYTES"), "expected a string for BYTES, got int 1 - at `$.inputs[0].data[0]`"),
        (
            {"inputs": tensor()["inputs"] * 2},
            "invalid inference request: two inputs have the same name - at `$.inputs`",
        ),
    ],
)
def test_400_says_where_and_what_was_expected(served: Served, body: Any, message: str) -> None:
    answer = ask(served, post("/v2/models/echo/infer", body))
    assert answer.status == 400
    assert answer.error.startswith(message)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v2/models/none/infer", "model 'none' not found"),
        ("/v2/models/a%20%E4%BD%A0%0A/infer", "model 'a 你\\n' not found"),
        ("/v2/models/sum/versions/v9/infer", "model 'sum' not found in version 'v9'"),
        ("/v2/models/sum/infer?model_version=v9", "model 'sum' not found in version 'v9'"),
        ("/v2/models/..%2F..%2Fetc/infer", "model '../../etc' not found"),
        ("/v2/models/%ff%00/infer", "model '\ufffd\\x00' not found"),
    ],
)
def test_404_of_infer(served: Served, path: str, message: str) -> None:
    answer = ask(served, post(path, inference(1)))
    assert (answer.status, answer.error) == (404, message)


@pytest.mark.parametrize("path", ["/v2/models/none", "/v2/models/none/ready", "/v2/models/twice/versions/v9"])
def test_404_of_a_model(served: Served, path: str) -> None:
    answer = ask(served, get(path))
    assert answer.status == 404
    assert " not found" in answer.error


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/model", "/v2/models/sum/infer/more", "/v2/models//infer", "*", "/%C3%A9"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_404_of_a_route(served: Served, method: str, path: str) -> None:
    answer = ask(served, get(path, method=method))
    assert answer.status == 404
    assert answer.error.startswith("Not Found: ")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v2/models/sum/infer", {"POST"}),
        ("PUT", "/v2/models/sum/versions/v1/infer", {"POST"}),
        ("POST", "/v2/models/sum", {"GET", "HEAD"}),
        ("DELETE", "/v2/health/live", {"GET", "HEAD"}),
        ("POST", "/v2", {"GET", "HEAD"}),
    ],
)
def test_405_names_what_is_allowed(served: Served, method: str, path: str, allow: set[str]) -> None:
    answer = ask(served, get(path, method=method))
    assert (answer.status, answer.error) == (405, f"Method Not Allowed: {method} {path}")
    assert set(answer.headers["allow"].split(", ")) == allow


def test_405_of_what_would_end_http(served: Served) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + get("/v2"))
        assert (answer.status, answer.error) == (405, "Method Not Allowed: CONNECT")
        assert raw.closed()


def test_413_by_length_before_the_body_is_there(served: Served) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(f"POST /v2/models/sum/infer HTTP/1.1\r\nContent-Length: {LIMIT + 1}\r\n\r\n".encode())
        assert (answer.status, answer.error) == (413, f"the body is larger than max_body_bytes = {LIMIT}")
        assert answer.headers["connection"] == "close"
        assert raw.closed()


def test_413_reaches_a_client_that_sends_first_and_reads_then(served: Served) -> None:
    answer = requests.post(f"{served.url}/v2/models/sum/infer", data=b" " * 20_000_000, timeout=20)
    assert answer.status_code == 413


def test_413_in_chunks(served: Served) -> None:
    with Raw(served.port) as raw:
        raw.send(b"POST /v2/models/sum/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(LIMIT // 1000):
            raw.send(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        answer = raw.ask(b"1\r\n \r\n")
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert raw.closed()


@pytest.mark.parametrize("members", [1, 100])
def test_413_after_inflation(served: Served, members: int) -> None:
    bomb = gzip.compress(b" " * (10_000_000 // members)) * members
    answer = ask(served, post("/v2/models/sum/infer", bomb, "Content-Encoding: gzip"))
    assert (answer.status, answer.error) == (413, f"the body is larger than max_body_bytes = {LIMIT}")


def test_a_body_as_large_as_allowed(served: Served) -> None:
    body = json.dumps(inference(1)).encode()
    assert ask(served, post("/v2/models/sum/infer", body + b" " * (LIMIT - len(body)))).status == 200


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip, deflate", "chunked", "\xff" * 100])
def test_415(served: Served, encoding: str) -> None:
    data = post("/v2/models/sum/infer", inference(1)).replace(
        b"Host: x", f"Content-Encoding: {encoding}".encode("latin-1")
    )
    answer = ask(served, data)
    assert answer.status == 415
    assert answer.error.endswith("is not supported; expected one of: gzip, deflate, identity")


def test_415_where_the_encoding_comes_in_two_headers(served: Served) -> None:
    twice = post("/v2/models/sum/infer", inference(1), "Content-Encoding: gzip", "Content-Encoding: gzip")
    assert ask(served, twice).status == 415


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "nonsense"])
def test_the_content_type_is_never_judged(served: Served, content_type: str) -> None:
    assert ask(served, post("/v2/models/sum/infer", inference(1), f"Content-Type: {content_type}")).status == 200


def test_431(served: Served) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(get("/v2", "X: " + "x" * 65536))
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert answer.error == "the request's line and headers are larger than max_header_bytes = 65536"
        assert raw.closed()


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("zero", 500, "ZeroDivisionError: division by zero"),
        ("exit", 500, "SystemExit: 3"),
        ("nothing", 500, "predict of model 'raiser' returned NoneType, expected InferenceResponse"),
        ("bytes", 500, "output 'bytes' holds bytes that are not UTF-8, which JSON cannot carry"),
        ("refuse", 400, "not this input"),
        ("teapot", 418, "short and stout"),
        ("no-error", 400, "not an error's status"),
    ],
)
def test_what_a_model_raises(served: Served, how: str, status: int, message: str) -> None:
    answer = ask(served, post("/v2/models/raiser/infer", inference(1, id="my-id", parameters={"how": how})))
    told = f"{message} (request my-id)" if status == 500 else message
    assert (answer.status, answer.error) == (status, told)


def test_a_traceback_is_in_the_log_and_nowhere_else(served: Served) -> None:
    body = inference(1, id="the-one-i-ask-for", parameters={"how": "zero"})
    answer = ask(served, post("/v2/models/raiser/infer", body))
    assert b"Traceback" not in answer.body
    assert b"kitchen.py" not in answer.body
    served.wait_for("model 'raiser' failed on request the-one-i-ask-for")
    served.wait_for("  ZeroDivisionError: division by zero")


def test_501(served: Served) -> None:
    answer = ask(served, post("/v2/models/unimplemented/infer", inference(1)))
    assert (answer.status, answer.error) == (501, "model 'unimplemented' does not implement predict")


@pytest.mark.parametrize(("model", "status"), [("unready", 503), ("unloadable", 404), ("sum", 200)])
def test_503_while_not_ready(ailing: Served, model: str, status: int) -> None:
    answer = ask(ailing, post(f"/v2/models/{model}/infer", inference(1)))
    assert answer.status == status
    assert status != 503 or answer.error == "model 'unready' is not ready yet"
