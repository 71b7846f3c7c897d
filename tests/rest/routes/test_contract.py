"""Requests made up from our own OpenAPI documents: nothing is answered that is not in them."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mlserver import Settings
from mlserver.rest.openapi import model_document, server_document
from mlserver.types import MetadataModelResponse, MetadataTensor
from tests.rest.raw import Raw, post
from tests.seed.serving import Served

CONFORMANCE = [content_type_conformance, response_schema_conformance, status_code_conformance, unsupported_method]
SPEAKER = MetadataModelResponse(
    name="speaker",
    platform="",
    inputs=[MetadataTensor(name="text_input", datatype="BYTES", shape=[1])],
    outputs=[MetadataTensor(name="text_output", datatype="BYTES", shape=[1])],
)
few = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)


def documented(document: dict[str, Any]) -> Any:
    """A document that requests are made up from, right ones and wrong ones."""
    # With a version in the path the same is answered, by the same code; and little can be made up for a GET.
    schema = schemathesis.openapi.from_dict(document).include(method="POST")
    schema = schema.exclude(path_regex="/versions/|/repository/{repository}/")
    schema.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
    return schema


server, model = documented(server_document(Settings())), documented(model_document(Settings(), SPEAKER, None))


@server.parametrize()  # type: ignore[untyped-decorator]
@few
def test_of_the_server_and_no_500_either(case: "schemathesis.Case[Any]", routed: Served) -> None:
    response = case.call(base_url=routed.url)
    case.validate_response(response, checks=[*CONFORMANCE, not_a_server_error])


@model.parametrize()  # type: ignore[untyped-decorator]
@few
def test_of_a_model(case: "schemathesis.Case[Any]", routed: Served) -> None:
    # What it was made up from is a wish of the caller that a model may fail on: its 500 is in the document.
    case.validate_response(case.call(base_url=routed.url), checks=CONFORMANCE)


WORDS = st.sampled_from([
    "v2", "models", "speaker", "rows", "none", "versions", "v1", "infer", "infer_stream", "generate", "ready", "config",
    "stats", "docs", "dataplane.json", "assets", "start.js", "repository", "index", "load", "unload", "trace",
    "setting", "logging", "health", "live", "systemsharedmemory", "status", "sum", "items", "behind",
    ".", "..", "%2e%2e", "%00", "%ff", "%0d%0a", "%25", "x;y", "a?b=c", "#", "x" * 5000,
])  # fmt: skip
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
BODIES = st.sampled_from(
    [b"", b"{}", b"[]", b"null", b"{", b'{"inputs": []}', b'{"text_input": "a"}', b"\xff", b"[" * 900]
)
ANSWERS = {200, 202, 400, 403, 404, 405, 413, 415, 501}


@given(st.lists(st.tuples(METHODS, st.lists(WORDS, min_size=1, max_size=8), BODIES), min_size=20, max_size=20))
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_any_path_with_any_verb_and_any_body(routed: Served, asked: list[tuple[str, list[str], bytes]]) -> None:
    for method, words, body in asked:
        path = f"/{'/'.join(words)}".partition("#")[0]
        with Raw(routed.port) as raw:
            raw.send(post(path, body).replace(b"POST", method.encode(), 1))
            answer = raw.answer(bodiless=method == "HEAD")
        assert answer.status in ANSWERS
        if answer.status >= 400 and method != "HEAD" and "items" not in path:
            assert answer.error
