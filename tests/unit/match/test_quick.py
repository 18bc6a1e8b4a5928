"""The quick reading of a body gives and refuses what the strict one does."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields

from gateway.domain.payment import KeyedPayment
from gateway.match.quick import QuickDecoder, unasked
from gateway.match.table import OPERATIONS

QUICK = QuickDecoder(KeyedPayment)
STRICT = msgspec.json.Decoder(KeyedPayment)
PAYMENT = {
    "idempotency_key": "k",
    "amount": 1,
    "currency": "CNY",
    "reference": "r",
    "method": {"type": "card", "token": "tok_ok"},
    "payer": {"id": "p"},
}


def told(decoder: Any, body: bytes) -> object:
    """Say what became of a body: the command as plain JSON, or the refusal in its own words."""
    try:
        return msgspec.to_builtins(decoder.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return type(error), str(error)


# Letters, all that cannot be printed, what has to be escaped, and a little of everything else.
TEXTS = st.text(st.sampled_from('ab"\\\x00\x1f\x7f\x80\u4e2d') | st.characters(codec="utf-8"))
PLACES = ("reference", "description", "payer", "metadata", "a name in metadata", "method", "nobody")


@given(text=TEXTS, place=st.sampled_from(PLACES), is_ascii=st.booleans(), is_raw=st.booleans())
def test_both_ways_tell_the_same(text: str, place: str, *, is_ascii: bool, is_raw: bool) -> None:
    value: object = {
        "payer": {"name": text},
        "metadata": {"a": text},
        "a name in metadata": {text: "a"},
        "method": {"type": "card", "token": text},
    }.get(place, text)
    field = place.rpartition(" ")[2]
    body = json.dumps(PAYMENT | {field: value}, ensure_ascii=is_ascii).encode()
    if is_raw:  # not JSON any more, where the text holds such characters
        body = body.replace(rb"\u007f", b"\x7f").replace(rb"\u0000", b"\0").replace(rb"\\", b"\\")
    assert told(QUICK, body) == told(STRICT, body)


@pytest.mark.parametrize("text", ["a\x7fb", "a\\u007fb", "a\\nb", "a\\u0000b"])
@pytest.mark.parametrize(
    "place", ['"reference":"%s"', '"payer":{"id":"%s"}', '"metadata":{"%s":""}']
)
def test_what_is_not_printable_is_refused(place: str, text: str) -> None:
    whole = {name: each for name, each in PAYMENT.items() if f'"{name}"' not in place}
    body = json.dumps(whole)[:-1] + "," + place % text + "}"
    with pytest.raises(msgspec.ValidationError):
        QUICK.decode(body.encode())


def test_a_plain_body_is_read_without_asking_each_text() -> None:
    """Else nothing would be won."""
    read = QUICK.decode(json.dumps(PAYMENT).encode())
    assert isinstance(read, KeyedPayment)
    assert type(read) is not KeyedPayment
    assert "x00" not in str(
        [field.type for field in fields(type(read)) if field.name != "return_url"]
    )
    assert read.payer is not None
    assert "x00" not in str(fields(type(read.payer)))


@pytest.mark.parametrize("command", sorted({each.command for each in OPERATIONS}, key=str))
def test_every_command_keeps_its_fields(command: type[Struct]) -> None:
    quick = unasked(command)
    assert issubclass(quick, command)
    assert (quick is command) == ("x00" not in str(fields(command)))
    assert {(f.name, f.required) for f in fields(quick)} == {
        (f.name, f.required) for f in fields(command)
    }
    assert quick.__struct_config__.forbid_unknown_fields
