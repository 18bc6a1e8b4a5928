"""What anyone may read: liveness, readiness, metrics, the OpenAPI document and its page."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.drivers import telemetry
from gateway.faces.api.docs import docs_page
from gateway.faces.api.openapi import document

_encode: Final = msgspec.json.Encoder().encode
_JSON: Final = "application/json"


class Page(Struct, frozen=True):
    """An answer that needs no signature."""

    status: int
    content_type: str
    body: bytes


class Pages:
    """The public pages by path; `ready` gives the parts that are missing, none when all is well."""

    def __init__(
        self,
        *,
        version: str,
        server: str,
        shared_metrics: Path | None,
        ready: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._ready = ready
        self._shared_metrics = shared_metrics
        self._openapi = Page(200, _JSON, _encode(document(version, server)))
        page = docs_page(version, server)
        self._docs = Page(200, "text/html; charset=utf-8", page.encode())
        self._pages: Mapping[str, Callable[[], Awaitable[Page]]] = {
            "/healthz": self._alive,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/openapi.json": self._describe,
            "/docs": self._explain,
        }

    def find(self, path: str) -> Callable[[], Awaitable[Page]] | None:
        """Look up a public page."""
        return self._pages.get(path)

    async def _alive(self) -> Page:
        return Page(200, _JSON, b'{"status":"alive"}')

    async def _readiness(self) -> Page:
        missing = await self._ready()
        status = "ready" if not missing else "not_ready"
        return Page(200 if not missing else 503, _JSON, _encode({"status": status} | dict(missing)))

    async def _metrics(self) -> Page:
        body = telemetry.exposition(self._shared_metrics)
        return Page(200, telemetry.CONTENT_TYPE, body)

    async def _describe(self) -> Page:
        return self._openapi

    async def _explain(self) -> Page:
        return self._docs
