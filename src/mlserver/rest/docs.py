"""Pages that show what is served, and the OpenAPI documents they are made from. No page needs the internet."""

import html
import importlib.util
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mlserver.rest.answers import json_answer, model_of
from mlserver.rest.asgi import App
from mlserver.rest.backing import Backing
from mlserver.rest.openapi import model_document, server_document

# Swagger UI's distribution, as this package carries it.
_PACKAGE = "fastapi_offline"
_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="{assets}/swagger-ui.css">
<link rel="icon" href="{assets}/favicon.png">
</head>
<body>
<div id="swagger-ui" data-url="{document}"></div>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script src="{assets}/start.js"></script>
</body>
</html>
"""

_START = """\
const place = document.getElementById("swagger-ui");
SwaggerUIBundle({ domNode: place, url: place.dataset.url, deepLinking: true, validatorUrl: null });
"""

# Scripts come from here or not at all; Swagger UI sets styles of its own, and has its pictures in data URLs.
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


class Docs:
    """Handlers of the pages and documents."""

    def __init__(self, backing: Backing) -> None:
        self._settings = backing.settings
        self._dataplane = backing.dataplane
        self._root = backing.root_path

    async def server_page(self, request: Request) -> App:
        """The page of the whole door."""
        return self._page("MLServer API Docs", "/v2/docs")

    async def server_document(self, request: Request) -> App:
        """The OpenAPI document of the whole door."""
        routes = [(method, path) for _, method, path in self._dataplane.custom_routes()]
        return json_answer(server_document(self._settings, routes))

    async def model_page(self, request: Request) -> App:
        """The page of one model. Raises ModelNotFound, ModelNotReady."""
        name, version = model_of(request)
        self._dataplane.model_metadata(name, version)
        versioned = f"/versions/{version}" if "model_version" in request.path_params else ""
        return self._page(f"MLServer API Docs: {name}", f"/v2/models/{name}{versioned}/docs")

    async def model_document(self, request: Request) -> App:
        """The OpenAPI document of one model. Raises ModelNotFound, ModelNotReady."""
        metadata = self._dataplane.model_metadata(*model_of(request))
        return json_answer(model_document(self._settings, metadata, request.path_params.get("model_version")))

    async def asset(self, request: Request) -> App:
        """A script, style or picture of the pages."""
        name = request.path_params["asset"]
        if name == "start.js":
            return Response(_START, media_type="text/javascript")
        if name not in _ASSETS:
            raise HTTPException(404)
        kept = {"cache-control": "max-age=3600"}
        return Response(_asset(name), media_type=_ASSETS[name], headers=kept)

    def _page(self, title: str, path: str) -> Response:
        words = {
            "title": title,
            "assets": f"{self._root}/v2/docs/assets",
            "document": f"{self._root}{path}/dataplane.json",
        }
        page = _PAGE.format(**{name: html.escape(word) for name, word in words.items()})
        return Response(page, media_type="text/html", headers={"content-security-policy": _POLICY})


@cache
def _asset(name: str) -> bytes:
    """A file of the package, which is found without importing it: that would import FastAPI."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise HTTPException(404)
    return Path(spec.origin).with_name("static").joinpath(name).read_bytes()
