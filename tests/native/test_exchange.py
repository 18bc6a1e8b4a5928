"""An exchange with an acquirer: the compiled twin reads and writes as its specification does.

What either of them reads is held beside llhttp as well, which reads all that they leave.
"""

from types import MappingProxyType
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import _exchange_c, _exchange_py

BOTH = pytest.mark.parametrize("twin", [_exchange_c, _exchange_py], ids=["compiled", "pure"])
OK = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nok"
ASK = b"POST /a?b=%c3 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 2\r\n\r\nok"
NAMES = ("Content-Length", "content-length", "Connection", "Transfer-Encoding", "Upgrade", "X-a")
VALUES = ("2", "02", "3", "+2", "", "2 ", "close", "Keep-Alive", "keep-alive, x", "chunked", "a\tb")

FIRST = ("HTTP/1.1 200 OK", "HTTP/1.1 404", "HTTP/1.1 204 ", "HTTP/1.0 200 OK", "")
ASKING = ("POST /a?b HTTP/1.1", "GET /%41 HTTP/1.1", "GET  /", "HEAD /a HTTP/1.1", "GET / HTTP/1.0")

lines = st.tuples(
    st.sampled_from(FIRST + ASKING),
    st.lists(
        st.tuples(
            st.sampled_from(NAMES) | st.text("aZ-_ :\x00é", max_size=3),
            st.sampled_from(VALUES) | st.text("a \t\r\n\x00é", max_size=3),
            st.sampled_from([": ", ":", ":  ", " :", ":\t"]),
        ),
        max_size=4,
    ),
    st.sampled_from([b"ok", b"", b"\r\n", b"o\x00", b"ok!"]),
    st.sampled_from(["\r\n", "\n"]),
)


def written(answer: tuple[str, list[tuple[str, str, str]], bytes, str]) -> bytes:
    first, fields, body, end = answer
    head = [first, *(name + colon + value for name, value, colon in fields), "", ""]
    return end.join(head).encode() + body


class Whole:
    """What llhttp reads, in the words of the twins."""

    def __init__(self, data: bytes, kind: Any = httptools.HttpResponseParser) -> None:
        self.target = b""
        self.fields: dict[str, str] = {}
        self.body = b""
        self.ends, self.stays = 0, False
        self.parser = kind(self)
        self.parser.feed_data(data)

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.decode().lower()] = value.decode()

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.ends += 1
        self.stays = self.parser.should_keep_alive()

    @property
    def told(self) -> tuple[int, dict[str, str], bytes]:
        return self.parser.get_status_code(), self.fields, self.body


def agreed(data: bytes) -> Any:
    """Read an answer, or what could be a request, by everybody who may read it."""
    asked = _exchange_c.read_request(data)
    assert asked == _exchange_py.read_request(data)
    if asked is not None:
        whole = Whole(data, httptools.HttpRequestParser)
        method, target = whole.parser.get_method().decode(), whole.target.decode()
        assert (method, target, whole.fields, whole.body) == asked
        assert (whole.ends, whole.stays) == (1, True)
    told = _exchange_c.read(data)
    assert told == _exchange_py.read(data)
    if told is not None:
        whole = Whole(data)
        assert (whole.told, whole.ends, whole.stays) == (told, 1, True)
    return told or asked


@given(lines)
def test_whatever_comes_is_read_alike(answer: Any) -> None:
    agreed(written(answer))


@given(
    st.sampled_from([OK, ASK]), st.integers(0, len(OK)), st.binary(max_size=2), st.integers(0, 3)
)
def test_what_was_hurt_is_read_alike(whole: bytes, at: int, other: bytes, lost: int) -> None:
    agreed(whole[:at] + other + whole[at + lost :])


def test_a_plain_answer_is_read() -> None:
    assert agreed(OK) == (200, {"content-type": "a/b", "content-length": "2"}, b"ok")
    many = b"HTTP/1.1 599\r\nA:1\r\nA: 2\t3\r\nConnection: Keep-alive\r\ncontent-LENGTH:\t0\r\n\r\n"
    fields = {"a": "2\t3", "connection": "Keep-alive", "content-length": "0"}
    assert agreed(many) == (599, fields, b"")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 199 OK\r\nContent-Length: 2",
        b"HTTP/1.1 204 OK\r\nContent-Length: 2",
        b"HTTP/1.1 304 OK\r\nContent-Length: 2",
        b"HTTP/1.1 600 OK\r\nContent-Length: 2",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2",
        b"HTTP/1.1 200 \xc3\xa4\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nUpgrade: x",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0000000002",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: \xff",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n c",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"a" * 65 + b": b",
    ],
)
def test_what_is_not_plain_is_left_to_a_whole_reader(head: bytes) -> None:
    assert agreed(head + b"\r\n\r\nok") is None


@BOTH
def test_names_that_are_nearly_alike_stay_apart(twin: Any) -> None:
    names = ("x-ab-y", "x-cd-y", "X-ab-Y", "x-a")
    for name in names * 2:
        head = f"HTTP/1.1 200 OK\r\n{name}: 1\r\nContent-Length: 2\r\n\r\nok".encode()
        assert twin.read(head) == (200, {name.lower(): "1", "content-length": "2"}, b"ok")


def test_a_plain_request_is_read() -> None:
    fields = {"host": "h:1", "content-length": "2"}
    assert agreed(ASK) == ("POST", "/a?b=%c3", fields, b"ok")
    assert agreed(b"GET /a HTTP/1.1\r\n\r\n") == ("GET", "/a", {}, b"")


@pytest.mark.parametrize(
    "request_",
    [
        ASK * 2,
        ASK[:-1],
        ASK.replace(b"POST", b"HEAD"),
        ASK.replace(b"POST", b"post"),
        ASK.replace(b"/a?", b"a?"),
        ASK.replace(b"?", b" "),
        ASK.replace(b"?", b"\xc3"),
        ASK.replace(b"1.1", b"1.0"),
        ASK.replace(b"Host", b"Expect"),
        ASK.replace(b"Host", b"Connection"),
        ASK.replace(b"Host", b"Transfer-Encoding"),
    ],
)
def test_what_is_no_plain_request_is_left_to_a_whole_reader(request_: bytes) -> None:
    assert agreed(request_) is None


words = st.text("aB/?= :\r\n\x00é\ud800", max_size=5)


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]) | words,
    words,
    words,
    st.dictionaries(words, words, max_size=3),
    st.binary(max_size=3),
)
def test_every_request_is_written_alike(
    method: str, target: str, host: str, fields: dict[str, str], body: bytes
) -> None:
    wire = _exchange_c.write(method, target, host=host, fields=fields, body=body)
    assert wire == _exchange_py.write(
        method, target, host=host, fields=MappingProxyType(fields), body=body
    )
    if wire is not None:
        has_length = bool(body) or method in {"POST", "PUT", "PATCH"}
        assert wire.count(b"\r\n") - body.count(b"\r\n") == 3 + len(fields) + has_length


@BOTH
def test_a_request_is_written_byte_for_byte(twin: Any) -> None:
    fields = {"X-Signature": "ä", "a": ""}
    assert (
        twin.write("POST", "/a%2Fb?q=1", host="h:1", fields=MappingProxyType(fields), body=b"{}")
        == (
            "POST /a%2Fb?q=1 HTTP/1.1\r\nHost: h:1\r\nX-Signature: ä\r\na: \r\n"
            "Content-Length: 2\r\n\r\n{}"
        ).encode()
    )
    assert (
        twin.write("GET", "/", host="h", fields={}, body=b"")
        == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert twin.write("GET", "/a b", host="h", fields={}, body=b"") is None
    assert twin.write("GET", "/", host="h", fields={"a": "\ud800"}, body=b"") is None
