"""What anyone may read: liveness, readiness, metrics, the OpenAPI document and its page."""

import html
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.domain.errors import PROBLEMS
from gateway.drivers import telemetry
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
        described = document(version, server)
        self._ready = ready
        self._shared_metrics = shared_metrics
        self._openapi = Page(200, _JSON, _encode(described))
        self._docs = Page(200, "text/html; charset=utf-8", _docs_page(described).encode())
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


_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;
color:#1b2430}
h1{margin-bottom:0}h2{margin-top:2.5rem;border-bottom:1px solid #d5dbe3;padding-bottom:.3rem}
code{font:14px/1.4 ui-monospace,monospace;background:#f2f5f8;padding:.1rem .3rem;border-radius:3px}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .6rem .35rem 0;
border-bottom:1px solid #e6ebf0;vertical-align:top}.m{font-weight:600;color:#0b5fa5}
p.lead{color:#51606f;margin-top:.2rem}
"""


def _docs_page(described: Mapping[str, Any]) -> str:
    """Write the page that a merchant reads first: calls, and every problem code with advice."""
    calls = "".join(
        f"<tr><td class=m>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation['summary'])}</td></tr>"
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )
    problems = "".join(
        f"<tr id=problem-{code}><td>{kind.status}</td><td><code>{code}</code></td>"
        f"<td>{html.escape(kind.title)}</td><td>{kind.retry}</td></tr>"
        for code, kind in sorted(PROBLEMS.items(), key=lambda item: (item[1].status, item[0]))
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>Floodgate API</title><style>{_STYLE}</style>"
        f"<h1>Floodgate API</h1><p class=lead>Version {described['info']['version']}. "
        "The whole description: <a href=/openapi.json><code>/openapi.json</code></a>.</p>"
        f"<h2>Signing</h2><p>{html.escape(described['info']['description'])}</p>"
        f"<h2>Calls</h2><table>{calls}</table>"
        "<h2>Problems</h2><p>Refusals are <code>application/problem+json</code> (RFC 9457). "
        "<code>retry</code> says how to send again: with the same idempotency key, with a new one, "
        "later, or never.</p>"
        "<table><tr><th>HTTP</th><th>code</th><th>title</th><th>retry</th></tr>"
        f"{problems}</table></html>"
    )
