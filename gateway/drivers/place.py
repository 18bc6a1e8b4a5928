"""Where a call of the courier goes: a base URL taken apart, once for all calls that go there."""

import functools
from typing import Final

from msgspec import Struct
from yarl import URL

_PORTS: Final = {"http": 80, "https": 443}


class Place(Struct, frozen=True):
    """A base URL taken apart: where to connect, and what each request begins with."""

    host: str
    port: int
    is_tls: bool
    authority: str
    path: str


@functools.lru_cache(maxsize=256)
def place_of(base_url: str) -> Place:
    """Take a base URL apart; ValueError when it leads nowhere."""
    url = URL(base_url)
    host, port = url.raw_host, url.port
    if url.scheme not in _PORTS or not host or port is None or url.raw_user is not None:
        raise ValueError("it leads nowhere")
    name = f"[{host}]" if ":" in host else host
    authority = name if port == _PORTS[url.scheme] else f"{name}:{port}"
    path = base_url.partition("://")[2].partition("/")[2]
    return Place(host, port, url.scheme == "https", authority, f"/{path}" if path else "")
