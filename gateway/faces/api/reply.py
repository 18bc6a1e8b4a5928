"""What leaves the door: status, headers and body, for aiohttp or as the bytes it would make."""

import functools
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import web
from msgspec import Struct

_LINES: Final = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}


class Reply(Struct, frozen=True):
    """An answer in HTTP's words; `headers` lack those that speak of length, date and connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def as_response(self) -> web.Response:
        """Give it to aiohttp."""
        return web.Response(body=self.body, status=self.status, headers=self.headers)

    def on_the_wire(self, *, closes: bool) -> bytes:
        """Write it whole; `closes` says that the connection ends with it."""
        lines = [f"{name}: {value}\r\n" for name, value in self.headers.items()]
        size, date = len(self.body), _date_of(int(time.time()))
        end = "\r\nConnection: close\r\n\r\n" if closes else "\r\n\r\n"
        head = f"{_LINES[self.status]}{''.join(lines)}Content-Length: {size}\r\nDate: {date}{end}"
        return head.encode() + self.body


@functools.lru_cache(maxsize=4)
def _date_of(second: int) -> str:
    """Write a time of Unix as HTTP does."""
    return formatdate(second, usegmt=True)
