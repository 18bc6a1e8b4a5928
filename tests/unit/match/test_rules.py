"""What is asked: strict bodies and queries, and refusals that name a field but never its value."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.payment import CreatePayment, CreatePayments, KeyedPayment, Status
from gateway.match.rules import (
    decode_batch,
    decode_body,
    decode_item,
    decode_query,
    refuse_unfit,
    without_key,
)
from gateway.match.table import ListPayments, Nothing, Redeliver
from tests.unit.nouns import COMMAND, NOON

DECODER = msgspec.json.Decoder(CreatePayment)
MEMBERS = {
    "amount": "1",
    "currency": '"CNY"',
    "reference": '"r"',
    "method": '{"type":"card","token":"tok_ok"}',
}
CANARY = "s3cret"


def written(members: Mapping[str, str]) -> str:
    """Write the members of an object, their values as JSON text."""
    return ",".join(f'"{name}":{value}' for name, value in members.items())


WHOLE = written(MEMBERS)


def refused(body: str | bytes) -> Problem:
    """Give the refusal of a body; it must not repeat what the canary stands for."""
    raw = body if isinstance(body, bytes) else body.encode(errors="surrogatepass")
    with pytest.raises(Problem) as caught:
        decode_body(raw, DECODER)
    problem = caught.value
    assert CANARY not in f"{problem.detail} {problem.param} {problem}"
    assert problem.kind.status == 400
    return problem


def test_a_whole_body() -> None:
    assert decode_body(f" {{{WHOLE}}}\n".encode(), DECODER) == msgspec.structs.replace(
        COMMAND, amount=1, reference="r"
    )


@pytest.mark.parametrize(
    "body",
    [
        "",
        CANARY,
        "{",
        f"{{{WHOLE}",
        f"{{{WHOLE},}}",
        f"{{{WHOLE}}}{{}}",
        f"{{{WHOLE}}}{CANARY}",
        f"{{{WHOLE}}}\x00",
        f"\ufeff{{{WHOLE}}}",
        f"{{'amount':1,{WHOLE}}}",
        f"{{{WHOLE}}} // {CANARY}",
        f'{{{WHOLE},"description":"a\nb"}}',
        f'{{{WHOLE},"description":"\\x"}}',
        f'{{{WHOLE},"description":"\\ud800{CANARY}"}}',
        f'{{{WHOLE},"description":"\\udc00\\ud800"}}',
        f'{{{WHOLE},"description":"\ud800{CANARY}"}}',
        f'{{{WHOLE},"metadata":{{"\\ud800":""}}}}',
        f'{{{WHOLE},"description":"{CANARY}'.encode() + b'\xff"}',
        f'{{{WHOLE},"description":"{CANARY}'.encode() + b'\xc0\xaf"}',
        f"{{{WHOLE}}}".encode("utf-16"),
        f"{{{WHOLE}}}".replace("1", "NaN").encode(),
        f"{{{WHOLE}}}".replace("1", "Infinity"),
        f"{{{WHOLE}}}".replace("1", "-Infinity"),
        f"{{{WHOLE}}}".replace("1", "01"),
        f"{{{WHOLE}}}".replace("1", "+1"),
        f"{{{WHOLE}}}".replace("1", "1_0"),
    ],
    ids=repr,
)
def test_what_is_not_one_json_object_in_utf_8(body: str | bytes) -> None:
    problem = refused(body)
    assert problem.code == "json_malformed"
    assert problem.param in {"body", "amount"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('{"amount":NaN}', "amount"),
        ('{"amount":1,"currency" : nope}', "currency"),
        ('{"amount":-Infinity,"currency":"CNY"}', "amount"),
        ('{"amount":01}', "amount"),
        ('{"amount":+1}', "amount"),
        ('{"amount":1_0}', "amount"),
        ('{"method":{"type":NaN}}', "body"),
        ('{"amount":1 "currency":"CNY"}', "amount"),
        ('{"amount":', "body"),
    ],
)
def test_a_value_that_cannot_be_read_is_named(body: str, param: str) -> None:
    problem = refused(body)
    assert (problem.code, problem.param) == ("json_malformed", param)


@pytest.mark.parametrize("body", ["[]", "null", "true", "1", f'"{CANARY}"', f"[{{{WHOLE}}}]"])
def test_json_that_is_no_object(body: str) -> None:
    problem = refused(body)
    assert (problem.code, problem.param) == ("field_invalid", "body")


@pytest.mark.parametrize(
    ("member", "param"),
    [
        (f'"x":"{CANARY}"', "x"),
        ('"Amount":1', "Amount"),
        (f'"payer":{{"ssn":"{CANARY}"}}', "payer.ssn"),
        (f'"{CANARY} as a name":1', "body"),
        ('"":1', "body"),
        ('"a\\"b":1', "body"),
        (f'"x":{"[" * 50_000}{"]" * 50_000}', "x"),
        (f'"x":{"[{{}}," * 5_000}1{"]" * 5_000}'.replace("{{}}", '{"y":{}}'), "x"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_unknown_field(member: str, param: str | None) -> None:
    problem = refused(f"{{{member},{WHOLE}}}")
    assert (problem.code, problem.param) == ("field_unknown", param)


@pytest.mark.parametrize(
    ("member", "param"),
    [
        ('"amount":2', "amount"),
        ('"amount":1', "amount"),
        ('"\\u0061mount":2', "amount"),
        ('"reference":"other"', "reference"),
        ('"method":{"type":"qr"}', "method"),
        ('"metadata":{"a":"1","a":"2"}', "metadata.a"),
        ('"metadata":{"a":"1","b":"","\\u0061":"2"}', "metadata.a"),
        (f'"metadata":{{"{CANARY} !":"1","{CANARY} !":"2"}}', "body"),
        ('"payer":{"id":"1","id":"1"}', "payer.id"),
        ('"payer":{"\\u0069d":"1","id":"1"}', "payer.id"),
    ],
)
def test_a_field_that_is_given_twice(member: str, param: str | None) -> None:
    problem = refused(f"{{{member},{WHOLE}}}")
    assert (problem.code, problem.param) == ("field_invalid", param)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_field_that_is_missing(name: str) -> None:
    problem = refused(f"{{{written({k: v for k, v in MEMBERS.items() if k != name})}}}")
    assert (problem.code, problem.param) == ("field_missing", name)


@pytest.mark.parametrize(
    ("method", "param"), [("{}", "method.type"), ('{"type":"card"}', "method.token")]
)
def test_a_field_within_a_field_that_is_missing(method: str, param: str) -> None:
    problem = refused(f"{{{written(MEMBERS | {'method': method})}}}")
    assert (problem.code, problem.param) == ("field_missing", param)


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("amount", "1.0", "amount"),
        ("amount", "1.5", "amount"),
        ("amount", "1e2", "amount"),
        ("amount", '"1"', "amount"),
        ("amount", "true", "amount"),
        ("amount", "null", "amount"),
        ("amount", "0", "amount"),
        ("amount", "-1", "amount"),
        ("amount", "1" + "0" * 5_000, "amount"),
        ("amount", f'"{CANARY}"', "amount"),
        ("amount", f'{{"a":"{CANARY}"}}', "amount"),
        ("currency", f'"{CANARY}"', "currency"),
        ("currency", '["CNY"]', "currency"),
        ("reference", "1", "reference"),
        ("reference", f'"{CANARY}\\u0000"', "reference"),
        ("method", '"card"', "method"),
        ("method", f'{{"type":"{CANARY}"}}', "method.type"),
        ("method", f'{{"type":"card","token":"{CANARY}"}}', "method.token"),
        ("method", '{"type":"card","token":"4111111111111111"}', "method.token"),
        ("capture", f'"{CANARY}"', "capture"),
        ("metadata", f'{{"{CANARY}":1}}', "metadata[...]"),
        ("metadata", "[" * 50_000, "metadata"),
        ("metadata", '{"":"x"}', "metadata"),
        ("metadata", f'{{"{CANARY}{"k" * 40}":"x"}}', "metadata"),
        ("expires_at", f'"{CANARY}"', "expires_at"),
        ("expires_at", "1e400", "expires_at"),
        ("return_url", f'"{CANARY}"', "return_url"),
        ("payer", f'{{"name":["{CANARY}"]}}', "payer.name"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_of_the_wrong_kind(name: str, value: str, param: str) -> None:
    problem = refused(f"{{{written(MEMBERS | {name: value})}}}")
    assert (problem.code, problem.param) == ("field_invalid", param)


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
def test_whatever_comes_is_a_command_or_a_problem(body: bytes) -> None:
    with pytest.raises(Problem) as refusal:
        decode_body(body, DECODER)
    assert refusal.value.kind.status == 400


def test_a_call_without_a_body_is_an_empty_object() -> None:
    assert decode_body(b"{}", msgspec.json.Decoder(Nothing)) == Nothing()
    with pytest.raises(Problem, match="field_unknown"):
        decode_body(b'{"a":1}', msgspec.json.Decoder(Nothing))


@pytest.mark.parametrize(
    ("query", "command"),
    [
        ("", ListPayments()),
        ("limit=5", ListPayments(limit=5)),
        ("limit=%35", ListPayments(limit=5)),
        ("reference=%E8%AE%A2+1", ListPayments(reference="订 1")),
        ("status=succeeded&limit=100", ListPayments(status=Status.SUCCEEDED, limit=100)),
    ],
)
def test_a_query_that_is_taken(query: str, command: ListPayments) -> None:
    assert decode_query(query, ListPayments) == command


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("limit=x", "field_invalid", "limit"),
        ("limit=", "field_invalid", "limit"),
        ("limit=0", "field_invalid", "limit"),
        ("limit=101", "field_invalid", "limit"),
        ("limit=05", "field_invalid", "limit"),
        ("limit=٥", "field_invalid", "limit"),  # noqa: RUF001 - a digit, but an Arabic one
        ("limit=5;reference=x", "field_invalid", "limit"),
        ("limit=5&limit=5", "field_invalid", "limit"),
        ("limit=5&%6Cimit=6", "field_invalid", "limit"),
        ("status=" + CANARY, "field_invalid", "status"),
        ("reference=", "field_invalid", "reference"),
        ("reference=a%00" + CANARY, "field_invalid", "reference"),
        ("a=" + CANARY, "field_unknown", "a"),
        ("=5", "field_unknown", "query"),
        ("reference=%FF" + CANARY, "request_malformed", None),
        (CANARY, "request_malformed", None),
        ("limit=5&", "request_malformed", None),
        ("&", "request_malformed", None),
    ],
)
def test_a_query_that_is_refused(query: str, code: str, param: str | None) -> None:
    with pytest.raises(Problem) as refusal:
        decode_query(query, ListPayments)
    assert (refusal.value.code, refusal.value.param) == (code, param)
    assert CANARY not in str(refusal.value)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_whatever_is_queried_is_a_command_or_a_problem(query: str) -> None:
    read: msgspec.Struct | Problem
    try:
        read = decode_query(query, ListPayments)
    except Problem as problem:
        read = problem
    assert isinstance(read, ListPayments) or read.kind.status == 400


SECOND = timedelta(seconds=1)
LATEST = NOON + timedelta(seconds=limits.EXPIRY_SECONDS_MAX)


@pytest.mark.parametrize(
    "command",
    [
        COMMAND,
        msgspec.structs.replace(COMMAND, currency="KWD"),
        msgspec.structs.replace(COMMAND, expires_at=NOON + SECOND),
        msgspec.structs.replace(COMMAND, expires_at=NOON - SECOND),  # it may be an old one
        msgspec.structs.replace(COMMAND, expires_at=LATEST),
        Nothing(),
    ],
)
def test_a_command_that_can_be_meant(command: msgspec.Struct) -> None:
    refuse_unfit(command, NOON)


@pytest.mark.parametrize(
    ("command", "param"),
    [
        (msgspec.structs.replace(COMMAND, currency="XXX"), "currency"),
        (msgspec.structs.replace(COMMAND, currency="XAU"), "currency"),
        (msgspec.structs.replace(COMMAND, expires_at=LATEST + SECOND), "expires_at"),
    ],
)
def test_a_command_that_cannot_be_meant(command: CreatePayment, param: str) -> None:
    with pytest.raises(Problem) as refusal:
        refuse_unfit(command, NOON)
    assert (refusal.value.code, refusal.value.param) == ("field_invalid", param)


NOWHERE = [
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=23, minutes=59))),
]


@pytest.mark.parametrize("instant", NOWHERE)
def test_a_time_without_a_date_in_utc_is_refused(instant: datetime) -> None:
    commands = {
        "expires_at": msgspec.structs.replace(COMMAND, expires_at=instant),
        "created_after": Redeliver(created_after=instant),
        "created_before": Redeliver(created_after=NOON, created_before=instant),
    }
    for param, command in commands.items():
        with pytest.raises(Problem) as caught:
            refuse_unfit(command, NOON)
        assert (caught.value.code, caught.value.param) == ("field_invalid", param)


@pytest.mark.parametrize(
    "item",
    [
        f'{{"idempotency_key":"k",{WHOLE}}}',
        f'{{ "idempotency_key" : "k" ,\n {WHOLE}}}',
        f'{{{WHOLE},"idempotency_key":"k"}}',
        f'{{{WHOLE} , "idempotency_key" : "k" }}',
        f'{{"idempotency_key":"a\\"b\\\\",{WHOLE}}}',
    ],
)
def test_an_item_has_the_body_of_the_same_request_alone(item: str) -> None:
    command, body = decode_item(item.encode(), msgspec.json.Decoder(KeyedPayment))
    assert body == f"{{{WHOLE}}}".encode()
    assert command.idempotency_key in {"k", 'a"b\\'}
    assert command.reference == "r"


@pytest.mark.parametrize(
    "item",
    [
        f'{{"amount":1,"idempotency_key":"k",{WHOLE}}}',
        f'{{{WHOLE},"metadata":{{"a":"b","idempotency_key":"k"}}}}',
        f'{{{WHOLE},"description":"{{\\"idempotency_key\\":\\"k\\",}}"}}',
        f'{{{WHOLE},"description":"idempotency_key"}}',
        f'{{{WHOLE},"description":"\\",\\"idempotency_key\\":\\"k\\"}}"}}',
    ],
)
def test_only_the_first_or_last_member_is_cut_out(item: str) -> None:
    assert without_key(item.encode()) == item.encode()


@pytest.mark.parametrize("key", ["", '"idempotency_key":7,', '"idempotency_key":"",'])
def test_an_item_needs_a_key(key: str) -> None:
    with pytest.raises(Problem) as caught:
        decode_item(f"{{{key}{WHOLE}}}".encode(), msgspec.json.Decoder(KeyedPayment))
    assert caught.value.param == "idempotency_key"


def test_a_batch_leaves_its_items_unread() -> None:
    items = b'[7,{"a":1,"a":2},"\xff",{"n":%s}]' % (b"9" * 5000)
    command = decode_batch(b'{"payments":%s}' % items, msgspec.json.Decoder(CreatePayments))
    assert isinstance(command, CreatePayments)
    assert [bytes(raw) for raw in command.payments][:3] == [b"7", b'{"a":1,"a":2}', b'"\xff"']


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"payments":[1],"payments":[2]}', "field_invalid"),
        ('{"payments":[1],"p\\u0061yments":[2]}', "field_invalid"),
        ('{"payments":[]}', "field_invalid"),
        ('{"payments":[1],"more":1}', "field_unknown"),
        ("{}", "field_missing"),
        ('{"payments":[NaN]}', "json_malformed"),
        (f'{{"payments":[{"[" * 900}{"]" * 900}]}}', None),
        (f'{{"payments":[{"[" * 200_000}{"]" * 200_000}]}}', "json_malformed"),
    ],
)
def test_what_stands_around_a_batch_is_read_strictly(body: str, code: str | None) -> None:
    decoder = msgspec.json.Decoder(CreatePayments)
    if code is None:
        assert decode_batch(body.encode(), decoder)
        return
    with pytest.raises(Problem) as caught:
        decode_batch(body.encode(), decoder)
    assert caught.value.code == code
