"""Our small client signs what our verifier reads, byte for byte."""

import base64
import hashlib
import shlex
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import main
from gateway.idempotency.rules import key_of
from gateway.signing import Credentials, Unsigned, curl_command, sign
from native.signature import HmacKey, read
from tests.unit.nouns import NOON

SECRET = bytes(range(32))
CREDENTIALS = Credentials("key_1", base64.b64encode(SECRET).decode())
AUTHORITIES = frozenset({"127.0.0.1:8080"})
SEGMENTS = st.text("abcXYZ019-._~", min_size=1, max_size=8)
TARGETS = st.builds(
    lambda path, query: "/v1/" + "/".join(path) + query,
    st.lists(SEGMENTS, min_size=1, max_size=3),
    st.sampled_from(["", "?limit=5", "?a=%20&b=c?d", "?"]),
)
REQUESTS = st.builds(
    Unsigned,
    st.sampled_from(["GET", "POST", "DELETE"]),
    TARGETS,
    st.binary(max_size=60),
    st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
)


@given(REQUESTS)
def test_what_is_signed_is_verified(request: Unsigned) -> None:
    headers = sign(request, CREDENTIALS, NOON)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    envelope = read(request.method, request.path, raw, request.body, "http", AUTHORITIES)
    assert HmacKey(SECRET).verify(envelope.base, envelope.signature)
    assert (envelope.key_id, envelope.created) == ("key_1", int(NOON.timestamp()))
    assert envelope.body_digest == hashlib.sha256(request.body).digest()
    if request.idempotency_key is None:
        assert envelope.idempotency_key is None
    else:
        assert key_of(envelope.idempotency_key) == request.idempotency_key


@pytest.mark.parametrize("secret", ["%%%", "a", "AAAA AAAA"])
def test_a_secret_that_is_not_base64_signs_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|character"):
        sign(Unsigned("GET", "/v1/payments"), Credentials("key_1", secret), NOON)


def test_another_secret_does_not_fit() -> None:
    request = Unsigned("POST", "/v1/payments", b"{}", "k")
    raw = [(n.encode(), v.encode()) for n, v in sign(request, CREDENTIALS, NOON).items()]
    envelope = read(request.method, request.path, raw, request.body, "http", AUTHORITIES)
    assert not HmacKey(b"another").verify(envelope.base, envelope.signature)


@pytest.mark.parametrize(
    "body", [b"", b'{"a":1}', b"it's", b"$(reboot) `reboot` \\ \n", "订单".encode()]
)
def test_a_curl_command_survives_the_shell(body: bytes) -> None:
    request = Unsigned("POST", "/v1/payments?a=1&b=2", body, "k")
    headers = sign(request, CREDENTIALS, NOON)
    words = shlex.split(curl_command("http://127.0.0.1:8080/", request, headers))
    assert words[:5] == ["curl", "-sS", "-X", "POST", "http://127.0.0.1:8080/v1/payments?a=1&b=2"]
    assert [word for flag, word in pairwise(words) if flag == "-H"] == [
        f"{name}: {value}" for name, value in headers.items()
    ]
    assert (words[-1] == body.decode()) == bool(body)


def test_credentials_do_not_show_their_secret() -> None:
    assert CREDENTIALS.secret not in repr(CREDENTIALS)


def test_a_path_without_its_slash_is_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["curl", "GET", "v1/payments", "--key-id", "key_1", "--secret", CREDENTIALS.secret])
    assert "a path begins with /" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given_key", "header"),
    [("k", '"k"'), ('"k"', '"k"'), ('a"b\\c', '"a\\"b\\\\c"'), (None, '"')],
)
def test_the_key_of_a_curl_command_is_the_one_that_was_given(
    capsys: pytest.CaptureFixture[str], given_key: str | None, header: str
) -> None:
    """As a header has it: quoted or bare."""
    words = ["curl", "POST", "/v1/payments", "--key-id", "key_1", "--secret", CREDENTIALS.secret]
    words += [] if given_key is None else ["--idempotency-key", given_key]
    assert main(words) == 0
    assert f"Idempotency-Key: {header}" in " ".join(shlex.split(capsys.readouterr().out))


def test_a_curl_command_carries_no_key_that_would_be_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["curl", "POST", "/v1/payments", "--key-id", "key_1", "--secret", CREDENTIALS.secret]
    assert main([*words, "--idempotency-key", "a b"]) == 1
    assert "visible ASCII" in capsys.readouterr().err
