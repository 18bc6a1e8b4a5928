"""What leaves the door: status, headers and body, for aiohttp or as the bytes it would make."""

import functools
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import web
from msgspec import Struct

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
SERVER: Final = "Floodgate"  # aiohttp would tell its own version and Python's

_LINES: Final = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}


class Reply(Struct, frozen=True):
    """An answer in HTTP's words.

    `more` are headers beside those that every answer has: of its content, server and request, and
    of length, date and connection.
    """

    status: int
    content_type: str
    request_id: str
    body: bytes
    more: tuple[tuple[str, str], ...] = ()

    def as_response(self) -> web.Response:
        """Give it to aiohttp."""
        headers = {"Content-Type": self.content_type, "Server": SERVER}
        headers |= {"Request-Id": self.request_id, **dict(self.more)}
        return web.Response(body=self.body, status=self.status, headers=headers)

    def on_the_wire(self, *, closes: bool) -> bytes:
        """Write it whole; `closes` says that the connection ends with it."""
        opening, date = _opening(self.status, self.content_type), _date_of(int(time.time()))
        more = "".join([f"{name}: {value}\r\n" for name, value in self.more]) if self.more else ""
        end = "Connection: close\r\n\r\n" if closes else "\r\n"
        size = len(self.body)
        head = (
            f"{opening}{self.request_id}\r\n{more}Content-Length: {size}\r\nDate: {date}\r\n{end}"
        )
        return head.encode() + self.body


@functools.lru_cache(maxsize=64)
def _opening(status: int, content_type: str) -> str:
    """Write what stands before the request's id; the pairs are few, and none is a stranger's."""
    return f"{_LINES[status]}Content-Type: {content_type}\r\nServer: {SERVER}\r\nRequest-Id: "


@functools.lru_cache(maxsize=4)
def _date_of(second: int) -> str:
    """Write a time of Unix as HTTP does."""
    return formatdate(second, usegmt=True)
