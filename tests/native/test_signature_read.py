"""What reading a signed request accepts and gives, on both twins."""

import hashlib
from collections.abc import Sequence

import pytest
from signing_client import (
    COVERED,
    CREATED,
    KEY_ID,
    Request,
    balance,
    digest,
    parameters,
    payment,
    sign,
    sign_member,
)
from twins import Implementation

from native.envelope import SignatureProblem


def test_an_envelope_tells_what_the_request_says(implementation: Implementation) -> None:
    request = sign(payment(), given=parameters(expires=CREATED + 60, alg="hmac-sha256"))
    envelope = implementation.accept(request)
    assert envelope.key_id == KEY_ID
    assert envelope.algorithm == "hmac-sha256"
    assert envelope.created == CREATED
    assert envelope.expires == CREATED + 60
    assert envelope.idempotency_key == '"order-4711"'
    assert envelope.body_digest == hashlib.sha256(request.body).digest()
    assert envelope.base.decode().splitlines() == [
        '"@method": POST',
        '"@path": /v1/payments',
        f'"content-digest": sha-256=:{digest(request.body)}:',
        '"idempotency-key": "order-4711"',
        (
            '"@signature-params": ("@method" "@path" "content-digest" "idempotency-key")'
            f';created={CREATED};keyid="{KEY_ID}";expires={CREATED + 60};alg="hmac-sha256"'
        ),
    ]


def test_a_request_without_body_and_key_needs_little(implementation: Implementation) -> None:
    envelope = implementation.accept(sign(balance(), ["@method", "@path"]))
    assert envelope.idempotency_key is None
    assert envelope.algorithm is None
    assert envelope.expires is None
    assert envelope.body_digest == hashlib.sha256(b"").digest()


def test_an_envelope_shows_no_secrets(implementation: Implementation) -> None:
    envelope = implementation.signature.read(*sign(payment()))
    assert repr(envelope) == (
        f"Envelope(key_id='{KEY_ID}', algorithm=None, created={CREATED}, expires=None)"
    )
    assert {name for name, _ in envelope.__rich_repr__()}.isdisjoint({"base", "signature"})


@pytest.mark.parametrize(
    ("request_", "covered"),
    [
        (payment(), [*COVERED, "@authority", "@query", "@scheme", "@request-target"]),
        (payment(), [*COVERED, "date", "content-type", "content-length", "host", "user-agent"]),
        (payment(), ["@target-uri", "@method", "idempotency-key", "content-digest"]),
        (balance("/v1/events?after=3&limit=2"), ["@method", "@path", "@query"]),
        (balance("/v1/events?after=3&limit=2"), ["@method", "@target-uri"]),
        (balance("/v1/events?"), ["@method", "@path", "@query"]),
        (balance("/v1/a%20b/c?d=%2F?"), ["@query", "@path", "@method"]),
        (balance().having("Host", "API.Floodgate.Test"), ["@method", "@path", "@authority"]),
        (balance().having("Host", "api.floodgate.test:80"), ["@method", "@path", "@authority"]),
        (balance().having("Host", "API.floodgate.test:80"), ["@method", "@target-uri"]),
        (balance().adding("X-Empty", ""), ["@method", "@path", "x-empty"]),
        (balance().adding("X", " a\t").adding("x", "\tb c\td "), ["@method", "@path", "x"]),
        (payment(b"").without("Content-Digest"), ["@method", "@path", "idempotency-key"]),
        (payment(b""), COVERED),
    ],
)
def test_more_and_other_components_are_verified(
    implementation: Implementation, request_: Request, covered: Sequence[str]
) -> None:
    envelope = implementation.accept(sign(request_, covered))
    assert len(envelope.base.splitlines()) == len(covered) + 1


@pytest.mark.parametrize("label", ["sig", "pyhms", "*", "a-1_2.3*"])
def test_any_label_will_do(implementation: Implementation, label: str) -> None:
    implementation.accept(sign(payment(), label=label))


@pytest.mark.parametrize(
    "given",
    [
        parameters(nonce="n" * 64, tag="app", alg="hmac-sha256", expires=99_999_999_999),
        f';tag="";keyid="{KEY_ID}";nonce="";created=0',
        f';keyid="{KEY_ID}";created={CREATED};tag="a (b); \\"c\\" \\\\"',
    ],
)
def test_parameters_come_in_any_order(implementation: Implementation, given: str) -> None:
    implementation.accept(sign(payment(), given=given))


def test_an_escaped_key_id_is_unescaped(implementation: Implementation) -> None:
    assert implementation.accept(sign(payment(), given=parameters(keyid='a\\"\\\\b'))).key_id == (
        'a"\\b'
    )


def test_a_second_digest_is_verified_too(implementation: Implementation) -> None:
    request = payment()
    both = f"sha-512=:{digest(request.body, 'sha512')}: ,\tsha-256=:{digest(request.body)}:"
    implementation.accept(sign(request.having("Content-Digest", both)))
    wrong = f"sha-512=:{digest(b'', 'sha512')}:, sha-256=:{digest(request.body)}:"
    assert implementation.refusal(sign(request.having("Content-Digest", wrong))) == (
        "digest_mismatch"
    )


def test_a_value_that_is_not_covered_is_nobody_s_business(implementation: Implementation) -> None:
    implementation.accept(sign(payment().having("User-Agent", "Müller/1.0")))


def test_a_host_that_is_not_covered_may_be_any(implementation: Implementation) -> None:
    implementation.accept(sign(balance().having("Host", "evil.test"), ["@method", "@path"]))


def test_the_port_of_the_scheme_is_left_out(implementation: Implementation) -> None:
    request = balance().having("Host", "api.floodgate.test:443")._replace(scheme="https")
    envelope = implementation.accept(sign(request, ["@method", "@path", "@authority"]))
    assert b'"@authority": api.floodgate.test\n' in envelope.base


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "CONNECTED"])
def test_the_method_is_signed(implementation: Implementation, method: str) -> None:
    implementation.accept(sign(balance()._replace(method=method), ["@method", "@path"]))


def test_too_many_fields_are_refused(implementation: Implementation) -> None:
    request = sign(balance(), ["@method", "@path"])
    while len(request.headers) < 48:
        request = request.adding("X-More", "")
    implementation.accept(request)
    assert implementation.refusal(request.adding("X-More", "")) == "signature_malformed"


def test_each_of_48_fields_can_be_covered(implementation: Implementation) -> None:
    request = balance()
    names = [f"x-{i}" for i in range(45)]
    for name in names:
        request = request.adding(name.upper(), name)
    request = sign(request, ["@method", "@path", *names])
    assert len(request.headers) == 48
    implementation.accept(request)
    twice = request.having(
        "Signature-Input", f'sig1=("@method" "@path" "x-44" "x-44"){parameters()}'
    )
    assert implementation.refusal(sign_member(twice)) == "signature_malformed"


def test_headers_may_be_a_list(implementation: Implementation) -> None:
    request = sign(payment())
    envelope = implementation.signature.read(*request[:2], list(request.headers), *request[3:])
    assert envelope == implementation.accept(request)


def test_the_base_alone_is_what_a_client_signs(implementation: Implementation) -> None:
    request = payment().having("Signature-Input", f'sig1=("date" "@method"){parameters()}')
    base = implementation.signature.signature_base(*request[:3], *request[4:])
    assert base.decode() == (
        '"date": Tue, 14 Nov 2023 22:13:20 GMT\n"@method": POST\n'
        f'"@signature-params": ("date" "@method"){parameters()}'
    )
    with pytest.raises(SignatureProblem, match="signature_missing"):
        implementation.signature.signature_base("GET", "/", (), "http", frozenset())
