"""What reading a signed request refuses, and with which code, on both twins."""

from collections.abc import Sequence

import pytest
from signing_client import (
    COVERED,
    Request,
    balance,
    digest,
    parameters,
    payment,
    sign,
)
from twins import Implementation


@pytest.mark.parametrize("missing", ["Signature", "Signature-Input"])
def test_a_request_without_signature_is_refused(
    implementation: Implementation, missing: str
) -> None:
    assert implementation.refusal(sign(payment()).without(missing)) == "signature_missing"


@pytest.mark.parametrize("left_out", COVERED)
def test_the_least_coverage_is_required(implementation: Implementation, left_out: str) -> None:
    covered = [name for name in COVERED if name != left_out]
    assert implementation.refusal(sign(payment(), covered)) == "signature_incomplete"


@pytest.mark.parametrize("target", ["/v1/events?after=3", "/v1/events?"])
def test_a_query_must_be_covered(implementation: Implementation, target: str) -> None:
    request = balance(target)
    assert implementation.refusal(sign(request, ["@method", "@path"])) == "signature_incomplete"
    assert implementation.refusal(sign(request, ["@method", "@query"])) == "signature_incomplete"


def test_a_digest_of_nothing_must_be_covered_and_true(implementation: Implementation) -> None:
    request = payment(b"").having("Content-Digest", f"sha-256=:{digest(b'x')}:")
    assert implementation.refusal(sign(request)) == "digest_mismatch"
    bare = ["@method", "@path", "idempotency-key"]
    assert implementation.refusal(sign(payment(b""), bare)) == "signature_incomplete"


def test_an_empty_value_of_another_field_covers_nothing(implementation: Implementation) -> None:
    request = payment().having("Idempotency-Key", "").adding("X-Empty", "")
    covered = ["@method", "@path", "content-digest", "x-empty"]
    assert implementation.refusal(sign(request, covered)) == "signature_incomplete"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=",
        "sha-256=::",
        "sha-256=:{good}",
        "sha-256=:{good}:,",
        "sha-256=:{good}: sha-512=:{long}:",
        "sha-256=:{good}:, sha-256=:{good}:",
        "sha-256=:{good}:;a",
        "sha-256=:{unpadded}:",
        "sha-512=:{long}:",
        "md5=:AAAA:, sha-256=:{good}:",
        "SHA-256=:{good}:",
        "sha-256=:{wrong}:",
        "sha-256=:AAAA:",
    ],
)
def test_a_content_digest_that_does_not_fit_is_refused(
    implementation: Implementation, value: str
) -> None:
    request = payment()
    good = digest(request.body)
    text = value.format(
        good=good, unpadded=good[:-1], wrong=digest(b""), long=digest(request.body, "sha512")
    )
    request = sign(request.having("Content-Digest", text))
    assert implementation.refusal(request) == "digest_mismatch"


def test_a_changed_body_is_refused(implementation: Implementation) -> None:
    request = sign(payment())._replace(body=b'{"amount": 1, "currency": "EUR"}')
    assert implementation.refusal(request) == "digest_mismatch"


@pytest.mark.parametrize(
    "member",
    [
        "",
        "sig1",
        "sig1=",
        "sig1=?1",
        '=("@method" "@path"){given}',
        '1=("@method" "@path"){given}',
        'Sig=("@method" "@path"){given}',
        'sig1 =("@method" "@path"){given}',
        'sig1= ("@method" "@path"){given}',
        'sig1=( "@method" "@path"){given}',
        'sig1=("@method" "@path" ){given}',
        'sig1=("@method"  "@path"){given}',
        'sig1=("@method"\t"@path"){given}',
        'sig1=("@method""@path"){given}',
        'sig1=("@method" "@path"{given}',
        'sig1=(@method "@path"){given}',
        'sig1=("@method" "@path" "@path"){given}',
        'sig1=("@method" "@path" "host" "host"){given}',
        'sig1=("@method" "@path" "Host"){given}',
        'sig1=("@method" "@path" ""){given}',
        'sig1=("@method" "@path" "@"){given}',
        'sig1=("@method" "@path" "@status"){given}',
        'sig1=("@method" "@path" "@query-param"){given}',
        'sig1=("@method" "@path" "@query-param";name="a"){given}',
        'sig1=("@method" "@path" "@signature-params"){given}',
        'sig1=("@method" "@path" "absent"){given}',
        'sig1=("@method" "@path" "set-cookie"){given}',
        'sig1=("@method" "@path";req){given}',
        'sig1=("@method" "@path" "host";sf){given}',
        'sig1=("@method" "@path" "host";bs){given}',
        'sig1=("@method" "@path" "host";tr){given}',
        'sig1=("@method" "@path" "host";key="a"){given}',
        'sig1=("@method" "@path"){given}, sig2=("@method" "@path"){given}',
        'sig1=("@method" "@path"){given},',
        'sig1=("@method" "@path") {given}',
        'sig1=("@method" "@path"){given};',
        'sig1=("@method" "@path"){given};created=1',
        'sig1=("@method" "@path"){given};keyid="a"',
        'sig1=("@method" "@path"){given};context="a"',
        'sig1=("@method" "@path"){given};tag=token',
        'sig1=("@method" "@path"){given};tag="\\a"',
        'sig1=("@method" "@path"){given};tag="a',
        'sig1=("@method" "@path"){given};tag="a\\',
        'sig1=("@method" "@path"){given};tag="\t"',
        'sig1=("@method" "@path"){given};tag="é"',
        'sig1=("@method" "@path"){given}; tag="a"',
        'sig1=("@method" "@path"){given};expires=-1',
        'sig1=("@method" "@path"){given};expires=01',
        'sig1=("@method" "@path"){given};expires=1.0',
        'sig1=("@method" "@path"){given};expires="1"',
        'sig1=("@method" "@path"){given};expires=100000000000',
        'sig1=("@method" "@path"){given};expires',
        'sig1=("@method" "@path"){given};expires=',
        'sig1=("@method" "@path"){given};nonce="' + 65 * "n" + '"',
        'sig1=("@method" "@path");created=1700000000',
        'sig1=("@method" "@path");keyid="a"',
        'sig1=("@method" "@path")',
    ],
)
def test_a_signature_input_that_is_not_plain_is_refused(
    implementation: Implementation, member: str
) -> None:
    request = balance().adding("Set-Cookie", "a=b")
    text = member.replace("{given}", parameters())
    request = request.having("Signature", "sig1=:AAAA:").having("Signature-Input", text)
    assert implementation.refusal(request) == "signature_malformed"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sig1",
        "sig1=",
        "sig1=::",
        "sig2=:{good}:",
        "sig1=:{good}",
        "sig1={good}",
        "sig1=: {good}:",
        "sig1=:{good}: ;a",
        "sig1=:{good}:;a=1",
        "sig1=:{good}:, sig2=:{good}:",
        "sig1=:{unpadded}:",
        "sig1=:{good}=:",
        "sig1=:={good}:",
        "sig1=:====:",
        "sig1=:AAA=AAAA:",
        "sig1=:AAB=:",
        "sig1=:AB==:",
        "sig1=:A-_A:",
        "sig1=:AA\nA:",
        "sig1=:AAAé:",
    ],
)
def test_a_signature_that_is_not_strict_base64_is_refused(
    implementation: Implementation, value: str
) -> None:
    request = sign(payment())
    good = request.value("signature").split(":")[1]
    text = value.format(good=good, unpadded=good.rstrip("="))
    request = request.having("Signature", text)
    assert implementation.refusal(request) == "signature_malformed"


@pytest.mark.parametrize(
    "name", ["Signature", "Signature-Input", "Content-Digest", "Idempotency-Key"]
)
def test_the_fields_of_the_signature_stand_once(implementation: Implementation, name: str) -> None:
    request = sign(payment())
    request = request.adding(name.swapcase(), request.value(name.lower()))
    assert implementation.refusal(request) == "signature_malformed"


@pytest.mark.parametrize("value", ["é", "a\x00b", "a\nb", "a\rb", "a\x7f", "\x1b[0m", "a\u0085"])
@pytest.mark.parametrize("name", ["Idempotency-Key", "Date"])
def test_a_covered_value_is_plain_ascii(
    implementation: Implementation, name: str, value: str
) -> None:
    request = sign(payment().having(name, value), [*COVERED, "date"])
    assert implementation.refusal(request) == "signature_malformed"


@pytest.mark.parametrize("covered", ["@authority", "@target-uri"])
@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.test"],
        ["127.0.0.1"],
        ["127.0.0.1:8080:80:80"],
        ["127.0.0.1:8081"],
        ["127.0.0.1:08080"],
        ["user@127.0.0.1:8080"],
        ["api.floodgate.test:443"],
        ["api.floodgate.test:"],
        ["127.0.0.1:8080", "127.0.0.1:8080"],
        ["127.0.0.1:8080", "evil.test", "127.0.0.1:8080"],
        ["apí.floodgate.test"],
    ],
)
def test_a_foreign_authority_is_refused(
    implementation: Implementation, hosts: list[str], covered: Sequence[str]
) -> None:
    request = Request("GET", "/v1/events").adding("X-Forwarded-Host", "127.0.0.1:8080")
    for host in hosts:
        request = request.adding("Host", host)
    names = ["@method", "@path", covered]
    if hosts:
        request = sign(request, names)
    else:
        quoted = " ".join(f'"{name}"' for name in names)
        request = request.having("Signature-Input", f"sig1=({quoted}){parameters()}")
        request = request.having("Signature", "sig1=:AAAA:")
    assert implementation.refusal(request) == "signature_malformed"


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "v1/payments",
        "http://127.0.0.1:8080/v1/payments",
        "127.0.0.1:8080",
        "/v1/payments#top",
        "/v1/payments?a=b#top",
        "/v1/pay ments",
        '/v1/"',
        "/v1/\\",
        "/v1/[a]",
        "/v1/{a}",
        "/v1/%",
        "/v1/%2",
        "/v1/%2g?",
        "/v1?%G0",
        "/v1?%4",
        "/v1/\n",
        "/v1/é",
        "/v1/\ud800",
    ],
)
def test_only_plain_targets_are_read(implementation: Implementation, target: str) -> None:
    request = sign(balance(), ["@method", "@path"])._replace(target=target)
    assert implementation.refusal(request) == "signature_malformed"


@pytest.mark.parametrize("method", ["", "get", "GeT", "GET ", "GET\n", "CONNECT", "GÉT", "\ud800"])
def test_only_plain_methods_are_read(implementation: Implementation, method: str) -> None:
    request = sign(balance(), ["@method", "@path"])._replace(method=method)
    assert implementation.refusal(request) == "signature_malformed"
