"""Requests made up from our own OpenAPI documents: nothing is answered that is not in them."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
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
