"""Makes signed requests that are right or slightly wrong, for the native room's fuzz tests."""

import random
from collections.abc import Callable

from signing_client import COVERED, Request, balance, parameters, payment, sign, sign_member

_NAMES = (
    *("@method", "@path", "@query", "@authority", "@target-uri", "@scheme", "@request-target"),
    *("content-digest", "idempotency-key", "host", "date", "content-type", "x-none", "@status"),
)
_TARGETS = ("/v1/payments", "/v1/events?after=3", "/v1/events?", "/a%20b/c?d=e?f", "/", "//a")
_HOSTS = ("127.0.0.1:8080", "API.floodgate.test", "api.floodgate.test:80", "evil.test", "")
_PIECES = (
    *(" ", "\t", ",", ";", "=", ":", '"', "(", ")", "\\", "?1", "a", "A", "0", "-", "%", "\x00"),
    *("é", "sig1=", ', sig2=("@method")', '"@method"', '"date"', ";created=1", ";sf", ";req"),
    *(';tag="a"', ';nonce="\\""', ";expires=99999999999", ";x", "AAAA", "==", "sha-256=:", "0.5"),
)


class Mutator:
    """The same seed gives the same requests; `created` is seconds since 1970."""

    def __init__(self, seed: int, created: int) -> None:
        self._random = random.Random(seed)
        self._created = created

    def request(self) -> Request:
        """A signed request to which one or two accidents happened, or none."""
        request = self._fresh()
        for _ in range(self._random.choice((0, 1, 1, 2))):
            request = self._random.choice(self._accidents)(self, request)
        return request

    def _fresh(self) -> Request:
        choose = self._random.choice
        request = choose((payment(), payment(b""), balance(choose(_TARGETS))))
        if self._random.random() < 0.3:
            request = request.having("Host", choose(_HOSTS))
        covered = ["@method", "@path", *(["@query"] if "?" in request.target else [])]
        covered = list(COVERED) if request.method == "POST" else covered
        if self._random.random() < 0.7:
            covered += self._random.sample(_NAMES, self._random.randrange(5))
        elif self._random.random() < 0.5:
            covered = self._random.sample(_NAMES, self._random.randrange(1, 8))
        if self._random.random() < 0.9:
            present = {name.lower().decode() for name, _ in request.headers}
            known = [name for name in covered if name[0] == "@" or name in present]
            covered = list(dict.fromkeys(name for name in known if name != "@status"))
        return self._signed(request, covered)

    def _signed(self, request: Request, covered: list[str]) -> Request:
        changes = {"created": self._created + self._random.choice((0, 0, 0, -200, 200, -400, 400))}
        more = {
            "alg": "hmac-sha256",
            "nonce": "b64/+=",
            "tag": 'a \\"b\\"',
            "expires": self._created + self._random.choice((60, 60, -400)),
        }
        changes |= {name: more[name] for name in more if self._random.random() < 0.2}
        try:
            return sign(request, covered, parameters(**changes))
        except LookupError:
            return sign(request, ["@method", "@path"], parameters(**changes))

    def _edited(self, text: str) -> str:
        at = self._random.randrange(len(text) + 1)
        cut = self._random.choice((0, 0, 1, 1, 2))
        put = self._random.choice((*_PIECES, "", ""))
        return text[:at] + put + text[at + cut :]

    def _edit_field(self, request: Request) -> Request:
        """Change a field after it was signed."""
        at = self._random.randrange(len(request.headers))
        name, value = request.headers[at]
        edited = (name, self._edited(value.decode("latin-1")).encode("latin-1"))
        return request._replace(headers=(*request.headers[:at], edited, *request.headers[at + 1 :]))

    def _edit_and_sign(self, request: Request) -> Request:
        """Change a field, and sign the request as it then stands."""
        name = self._random.choice(
            ("Signature-Input", "Signature-Input", "Content-Digest", "Date", "Host")
        )
        try:
            edited = request.having(name, self._edited(request.value(name.lower())))
            return sign_member(edited)
        except LookupError:
            return request

    def _edit_line(self, request: Request) -> Request:
        """Change the method, the target or the body, and sign it as it then stands."""
        change = self._random.choice(
            (
                {"target": self._edited(request.target)},
                {"target": self._edited(request.target)},
                {"method": self._random.choice(("get", "PUT", "CONNECT", "OPTIONS", "A B"))},
                {"body": request.body + b"!"},
            )
        )
        try:
            return sign_member(request._replace(**change))
        except LookupError:
            return request

    def _repeat_field(self, request: Request) -> Request:
        """Send a field twice, in the same or another place."""
        headers = list(request.headers)
        name, value = self._random.choice(headers)
        headers.insert(
            self._random.randrange(len(headers) + 1),
            (name.swapcase(), self._random.choice((value, b"", b"x"))),
        )
        return request._replace(headers=tuple(headers))

    def _drop_field(self, request: Request) -> Request:
        name, _ = self._random.choice(request.headers)
        return request.without(name.decode())

    _accidents: tuple[Callable[["Mutator", Request], Request], ...] = (
        _edit_field,
        _edit_and_sign,
        _edit_and_sign,
        _edit_line,
        _repeat_field,
        _drop_field,
    )
