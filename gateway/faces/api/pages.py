"""What anyone may read: liveness, readiness, metrics, the OpenAPI document and its page."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
    """The public pages by path; `ready` gives the parts that are missing, none when all is well.

    `troubles` tells by name what operators have to mend: that is shown to whoever asks for
    `/readyz?verbose=1`, and takes no part in the answer's status.
    """

    def __init__(
        self,
        *,
        version: str,
        server: str,
        shared_metrics: Path | None,
        ready: Callable[[], Awaitable[Mapping[str, str]]],
        troubles: Mapping[str, Callable[[], Sequence[Struct]]],
    ) -> None:
        self._ready = ready
        self._troubles = troubles
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

    def find(self, path: str, query: str = "") -> Callable[[], Awaitable[Page]] | None:
        """Look up a public page."""
        if (path, query) == ("/readyz", "verbose=1"):
            return self._readiness_in_full
        return self._pages.get(path)

    async def _alive(self) -> Page:
        return Page(200, _JSON, b'{"status":"alive"}')

    async def _readiness(self) -> Page:
        return _readiness_of(await self._ready())

    async def _readiness_in_full(self) -> Page:
        told = {name: tell() for name, tell in self._troubles.items()}
        return _readiness_of(await self._ready(), told)

    async def _metrics(self) -> Page:
        body = telemetry.exposition(self._shared_metrics)
        return Page(200, telemetry.CONTENT_TYPE, body)

    async def _describe(self) -> Page:
        return self._openapi

    async def _explain(self) -> Page:
        return self._docs


def _readiness_of(
    missing: Mapping[str, str], more: Mapping[str, Sequence[Struct]] | None = None
) -> Page:
    told = {"status": "ready" if not missing else "not_ready", **missing, **(more or {})}
    return Page(200 if not missing else 503, _JSON, _encode(told))
