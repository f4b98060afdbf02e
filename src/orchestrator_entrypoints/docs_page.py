"""The schema, and the page that shows it: everything comes from the package itself."""

import hashlib
from functools import cached_property
from importlib.resources import files
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orchestrator_entrypoints.openapi import build_openapi

_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "docs.js": "text/javascript",
}
_PAGE_HEADERS = {
    # Nothing may come from anywhere else. The page styles itself in place.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class DocsPage:
    """`/openapi.json` and `/docs`."""

    async def schema(self, _: Request) -> Response:
        """Answer the OpenAPI document."""
        return JSONResponse(self._document)

    async def page(self, _: Request) -> Response:
        """Answer the page."""
        return Response(_read("docs.html"), media_type="text/html", headers=_PAGE_HEADERS)

    async def file(self, request: Request) -> Response:
        """Answer a file of the page; kept by browsers until it changes."""
        name = request.path_params["file"]
        if name not in _MEDIA_TYPES:
            raise HTTPException(404)
        content = _read(name)
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {
            "ETag": tag,
            "Cache-Control": "max-age=86400",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_MEDIA_TYPES[name], headers=headers)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return build_openapi()


def _read(name: str) -> bytes:
    return files("orchestrator_entrypoints").joinpath("static", name).read_bytes()
