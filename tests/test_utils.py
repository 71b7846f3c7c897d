"""mlserver.utils: headers, and running coroutines. Where artefacts are is in tests/repository/test_model_uri.py."""

import asyncio
from typing import Any

import pytest
import uvloop

from mlserver.types import InferenceRequest, InferenceResponse, Parameters
from mlserver.utils import AsyncManager, extract_headers, insert_headers

HEADERS = {"x-one": "1"}


@pytest.mark.parametrize("given", [None, {}, Parameters(), Parameters(headers={"old": "0"}), Parameters(more=1)])
def test_headers_in(given: Any) -> None:
    request = InferenceRequest(inputs=[])
    request.parameters = given
    assert insert_headers(request, HEADERS) is request
    assert request.parameters is not None
    assert request.parameters.headers == HEADERS
    assert request.parameters.headers is not HEADERS
    assert getattr(request.parameters, "more", 1) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (Parameters(), None),
        (Parameters(headers=HEADERS, more=1), HEADERS),
        ({"headers": HEADERS}, HEADERS),
        ({}, None),
    ],
)
def test_headers_out(given: Any, expected: dict[str, str] | None) -> None:
    response = InferenceResponse(model_name="m", outputs=[])
    response.parameters = given
    assert extract_headers(response) == expected
    assert extract_headers(response) is None


def test_coroutines_run_on_uvloop() -> None:
    async def which() -> type[asyncio.AbstractEventLoop]:
        return type(asyncio.get_running_loop())

    assert AsyncManager().run(which()) is uvloop.Loop
