"""The twins read alike: the same value, or the same kind of error with the same code."""

import hashlib
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from request_mutator import Mutator
from signing_client import CREATED, Request, balance, parameters, payment, sign

from native import _signature_c, _signature_py
from native.envelope import SignatureProblem

Outcome = tuple[str, Any]


class Text(str):
    __slots__ = ()


class Octets(bytes):
    __slots__ = ()


def outcome(function: Any, *arguments: Any) -> Outcome:
    try:
        return "value", function(*arguments)
    except SignatureProblem as problem:
        return "refused", problem.code
    except (TypeError, ValueError) as error:
        return "error", type(error)


def assert_alike(request: Any) -> Outcome:
    ours = outcome(_signature_c.read, *request)
    assert ours == outcome(_signature_py.read, *request)
    without_body = (*request[:3], *request[4:])
    assert outcome(_signature_c.signature_base, *without_body) == outcome(
        _signature_py.signature_base, *without_body
    )
    return ours


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_for_mutated_requests(seed: int) -> None:
    mutator = Mutator(seed, CREATED)
    for _ in range(10):
        assert_alike(mutator.request())


pieces = st.sampled_from(
    [
        *("sig1=", "sig2=", "(", ")", '"', '"@method"', '"@path"', '"host"', '"@authority"'),
        *(" ", "\t", ",", ";", ":", "=", "\\", "0", "1", "created=", ";created=1", ";expires=01"),
        *(';keyid="k"', ';keyid="', ';nonce="n"', ';alg="a\\""', ';tag="\\\\"', ";x=1", ":AAA=:"),
        *(":QQ==:", ":QR==:", "sha-256=", "sha-512=", "a", "Z", "\x7f", "é", "\n"),
    ]
)
texts = st.lists(pieces, max_size=12).map("".join)


@settings(max_examples=500)
@given(signature_input=texts, signature=texts, digest=texts)
@example('sig1=("@method" "@path");created=1;keyid="k"', "sig1=:QQ==:", "")
def test_for_texts_made_of_the_grammar_s_pieces(
    signature_input: str, signature: str, digest: str
) -> None:
    request = sign(balance(), ["@method", "@path"])
    assert_alike(request.having("Signature-Input", signature_input))
    assert_alike(request.having("Signature", signature))
    assert_alike(request.having("Signature-Input", signature_input).having("Signature", signature))
    covered = ["@method", "@path", "content-digest"]
    assert_alike(sign(balance().having("Content-Digest", digest), covered))
    tail = signature_input.replace("=", ";", 1)
    assert_alike(sign(balance(), ["@method", "@path"], parameters() + tail))


letters = st.text(st.characters(codec=None), max_size=20) | st.text("/?%aF0#\ud800", max_size=8)


@settings(max_examples=300)
@given(method=letters, target=letters | letters.map("/".__add__), scheme=letters)
@example("GET", "/\ud800", "http")
@example("G\ud800T", "/", "https")
@example("GET", "/%2F?%2f??", "https")
def test_for_any_line(method: str, target: str, scheme: str) -> None:
    request = sign(balance(), ["@method", "@path", "@scheme", "@query"])
    assert_alike(request._replace(method=method))
    assert_alike(request._replace(target=target))
    assert_alike(request._replace(method=method, target=target, scheme=scheme))


headers = st.lists(
    st.tuples(
        st.sampled_from([b"Signature", b"Host", b"Date", b"X", b"x", b"Idempotency-Key"])
        | st.binary(max_size=4),
        st.binary(max_size=6) | st.sampled_from([b" 127.0.0.1:8080", b"\t", b"a \t"]),
    ),
    max_size=6,
)


@settings(max_examples=300)
@given(headers=headers, names=st.lists(st.sampled_from(["host", "date", "x", "@authority"])))
def test_for_any_fields(headers: list[tuple[bytes, bytes]], names: list[str]) -> None:
    quoted = " ".join(f'"{name}"' for name in ["@method", "@path", *names])
    member = f"sig1=({quoted}){parameters()}".encode()
    request = Request(headers=(*headers, (b"signature-input", member), (b"signature", b"sig1=")))
    assert_alike(request)


anything = st.one_of(
    st.none(),
    st.integers(),
    st.binary(max_size=3),
    st.text(max_size=3),
    st.just(bytearray(b"a")),
    st.just(Text("GET")),
    st.just(Octets(b"a")),
    st.just(set()),
    st.just(("a", "b")),
    st.lists(
        st.one_of(
            st.none(),
            st.just([b"a", b"b"]),
            st.just((b"a",)),
            st.just((b"a", b"b", b"c")),
            st.just((b"a", "b")),
            st.just((b"a", Octets(b"b"))),
            st.just((None, b"b")),
        ),
        max_size=50,
    ),
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(Request._fields), anything, min_size=1))
def test_for_wrong_types(changes: dict[str, Any]) -> None:
    assert_alike(sign(payment())._replace(**changes))


@settings(max_examples=50)
@given(st.binary(max_size=5000))
@example(b"x" * 100_000)
def test_for_any_body(body: bytes) -> None:
    kind, envelope = assert_alike(sign(payment(body)))
    assert kind == "value"
    assert envelope.body_digest == hashlib.sha256(body).digest()


def test_for_authorities_of_any_kind() -> None:
    request = sign(balance(), ["@method", "@path", "@authority"])
    for authorities in (frozenset(), frozenset({None, 1}), frozenset({"127.0.0.1:8080"})):
        assert_alike(request._replace(authorities=authorities))
