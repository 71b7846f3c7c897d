"""OpenAPI documents and the pages that show them."""

import json
import re
from typing import Any
from urllib.parse import urljoin

import jsonschema
import pytest
from openapi_spec_validator import validate

from mlserver import Settings
from mlserver.rest.openapi import model_document, server_document
from mlserver.types import MetadataModelResponse
from tests.rest.raw import Answer, Raw, get
from tests.rest.routes.test_described import fetch, told
from tests.rest.routes.test_generate import model
from tests.rest.routes.test_streams import ask, spoken
from tests.seed.serving import Served

DOCUMENTS = [
    "/v2/docs/dataplane.json",
    "/openapi.json",
    "/v2/models/speaker/docs/dataplane.json",
    "/v2/models/rows/docs/dataplane.json",
    "/v2/models/rows/versions/v1/docs/dataplane.json",
    "/v2/models/stepper/docs/dataplane.json",
]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_documents_are_valid(routed: Served, path: str) -> None:
    document = told(routed, path)
    validate(document)
    assert document["servers"] == [{"url": "/behind"}]


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES", "INT8", "FP16"])
def test_documents_of_any_model_are_valid(datatype: str) -> None:
    validate(model_document(Settings(), model(("x.y-z", datatype, [-1, 1000, 1000])), "v1"))
    validate(model_document(Settings(), MetadataModelResponse(name="m", platform=""), None))
    validate(server_document(Settings(), [("GET", "/items/{item:path}"), ("POST", "/items/{item:path}")]))


def test_the_server_s_document_has_every_route(routed: Served) -> None:
    paths = told(routed, "/v2/docs/dataplane.json")["paths"]
    for path in ("/v2", "/v2/models/{model_name}/infer", "/v2/repository/index", "/v2/models/stats"):
        assert path in paths
    assert paths["/items/{item}"]["get"]["tags"] == ["custom"]


def resolved(document: Any, schema: Any) -> Any:
    """A schema that can be used alone."""
    return {**schema, "components": document["components"]}


def test_a_model_s_document_is_about_that_model(routed: Served) -> None:
    document = told(routed, "/v2/models/speaker/docs/dataplane.json")
    assert all(path.startswith("/v2/models/speaker") and "{" not in path for path in document["paths"])
    assert not any("/versions/" in path for path in document["paths"])
    content = document["paths"]["/v2/models/speaker/infer"]["post"]["requestBody"]["content"]
    schema = resolved(document, content["application/json"]["schema"])
    jsonschema.validate(spoken("abc"), schema)
    for wrong in ({"name": "other"}, {"datatype": "FP32"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"inputs": [spoken("abc")["inputs"][0] | wrong]}, schema)
    example = document["components"]["schemas"]["InferenceRequest"]["example"]
    jsonschema.validate(example, schema)
    assert [tensor["name"] for tensor in example["inputs"]] == ["text_input", "temperature"]


def test_its_example_can_be_sent_and_its_answer_is_as_described(routed: Served) -> None:
    document = told(routed, "/v2/models/rows/versions/v1/docs/dataplane.json")
    assert all("/versions/v1" in path for path in document["paths"])
    path = "/v2/models/rows/versions/v1/infer"
    answer = ask(routed, path, document["components"]["schemas"]["InferenceRequest"]["example"])
    assert answer.status == 200
    responses = document["paths"][path]["post"]["responses"]
    schema = responses["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(answer.body), resolved(document, schema))


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models", "/v2/models/rows", "/v2/models/rows/config", "/v2/models/rows/stats", "/v2/logging"]
)
def test_answers_are_as_described(routed: Served, path: str) -> None:
    document = told(routed, "/v2/docs/dataplane.json")
    schema = document["paths"][path.replace("rows", "{model_name}")]["get"]["responses"]["200"]["content"]
    jsonschema.validate(told(routed, path), resolved(document, schema["application/json"]["schema"]))


@pytest.mark.parametrize(
    "path", ["/v2/docs", "/v2/docs/", "/v2/models/rows/docs", "/v2/models/rows/versions/v1/docs", "/behind/v2/docs"]
)
def test_a_page_and_all_that_it_needs_come_from_here(routed: Served, path: str) -> None:
    page = fetch(routed, path)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = page.body.decode()
    assert "<title>MLServer API Docs" in text
    assert "//" not in re.sub(r"<!DOCTYPE html>", "", text)
    links = re.findall(r'(?:href|src|data-url)="([^"]+)"', text)
    assert len(links) == 5
    for link in links:
        assert link.startswith("/behind/v2/")
        assert fetch(routed, urljoin(path, link)).status == 200


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("favicon.png", "image/png"),
        ("start.js", "text/javascript; charset=utf-8"),
    ],
)
def test_assets(routed: Served, name: str, kind: str) -> None:
    answer = fetch(routed, f"/v2/docs/assets/{name}")
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.body


@pytest.mark.parametrize("name", ["none.js", "..%2F__init__.py", "redoc.standalone.js", "%00"])
def test_no_other_file_is_an_asset(routed: Served, name: str) -> None:
    assert fetch(routed, f"/v2/docs/assets/{name}").status == 404


def test_head_of_a_page(routed: Served) -> None:
    with Raw(routed.port) as raw:
        raw.send(get("/v2/docs", method="HEAD"))
        head: Answer = raw.answer(bodiless=True)
    assert (head.status, head.headers["content-type"]) == (200, "text/html; charset=utf-8")
