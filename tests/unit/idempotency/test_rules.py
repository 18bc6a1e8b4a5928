"""Idempotency keys: one key in two spellings, and what makes two requests the same."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.stages import Verified
from gateway.idempotency.rules import fingerprint_of, key_of, refuse_reuse
from tests.unit.nouns import RECEIVED, VERIFIED

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
KEYS = st.text(VISIBLE, min_size=1, max_size=limits.IDEMPOTENCY_KEY_CHARS_MAX)


def quoted(key: str) -> str:
    """Write a key as a Structured-Field string (RFC 8941 section 4.1.6)."""
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("k", "k"),
        ('"k"', "k"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        (r'"a\"b\\c"', 'a"b\\c'),
        ("a\\b", "a\\b"),
        ('half"', 'half"'),
        ('"half', '"half'),
        ("!~", "!~"),
        ("k" * 255, "k" * 255),
        ('"' + "k" * 255 + '"', "k" * 255),
    ],
    ids=lambda text: text[:40],
)
def test_a_key_that_is_taken(header: str, key: str) -> None:
    assert key_of(header) == key


@given(KEYS)
def test_quoted_and_escaped_is_the_same_key(key: str) -> None:
    assert key_of(quoted(key)) == key


@given(KEYS.filter(lambda key: key[0] != '"'))
def test_bare_is_the_same_key(key: str) -> None:
    assert key_of(key) == key == key_of(quoted(key))


def test_a_missing_key() -> None:
    with pytest.raises(Problem) as refusal:
        key_of(None)
    assert refusal.value.code == "idempotency_key_missing"


@pytest.mark.parametrize(
    "header",
    [
        "",
        '""',
        " ",
        "a b",
        '"a b"',
        "a\tb",
        "a\n",
        "a\x00b",
        '"a\x7fb"',
        "schlüssel",
        "ключ",
        "\ud800",
        "k" * 256,
        '"' + "k" * 256 + '"',
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_a_key_that_is_refused(header: str) -> None:
    with pytest.raises(Problem) as refusal:
        key_of(header)
    assert refusal.value.code == "idempotency_key_invalid"
    assert header.strip('"') in {"", " "} or header not in refusal.value.detail


REQUESTS = st.tuples(
    st.sampled_from(["POST", "DELETE"]),
    st.text("/ab", min_size=1, max_size=6),
    st.text("a=&?", max_size=6),
    st.binary(max_size=4),
)


def verified(method: str, path: str, query: str, body: bytes) -> Verified:
    target = f"{path}?{query}" if query else path
    received = msgspec.structs.replace(RECEIVED, method=method, target=target, body=body)
    digest = hashlib.sha256(body).digest()
    return msgspec.structs.replace(VERIFIED, received=received, body_digest=digest)


@given(REQUESTS, REQUESTS)
def test_the_same_request_is_method_path_query_and_body(
    one: tuple[str, str, str, bytes], other: tuple[str, str, str, bytes]
) -> None:
    prints = [fingerprint_of(verified(*request)) for request in (one, other)]
    assert (one == other) == (prints[0] == prints[1])
    assert len(prints[0]) == 32


def test_a_fresh_signature_is_no_other_request() -> None:
    again = msgspec.structs.replace(
        VERIFIED,
        key_id="key_other",
        received=msgspec.structs.replace(
            RECEIVED, headers=((b"signature", b"sig2=:AAAA:"),), request_id="req_2"
        ),
    )
    assert fingerprint_of(again) == fingerprint_of(VERIFIED)


def test_a_key_serves_one_request_only() -> None:
    refuse_reuse(b"one", b"one")
    with pytest.raises(Problem) as refusal:
        refuse_reuse(b"one", b"other")
    assert (refusal.value.code, refusal.value.kind.retry) == ("idempotency_key_reused", "new_key")
