"""How bodies and queries become commands; every refusal names the parameter and never its value."""

import functools
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, get_args, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.money import EXPONENTS
from gateway.domain.payment import CreatePayment, KeyedPayment, WechatMethod
from native.names import once

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EXPIRY_MAX: Final = timedelta(seconds=limits.EXPIRY_SECONDS_MAX)
_PLACE: Final = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`")
_FIELD: Final = re.compile(r"field `([^`]*)`")
# Python's names of types in msgspec's sentences, and JSON's for the same.
_TYPE: Final = re.compile(r"\b(?:str|int|bool)\b")
_JSON_TYPES: Final = {"str": "string", "int": "integer", "bool": "boolean"}
_DIGITS: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY: Final = b'"idempotency_key"'
_MEMBER: Final = re.compile(rb'[ \t\n\r]*:[ \t\n\r]*"(?:[^"\\]|\\.)*"[ \t\n\r]*([,}])')
_BROKEN_AT: Final = re.compile(r"\(byte ([0-9]+)\)")
# A member of the outermost object whose value has begun.
_BEGUN: Final = re.compile(rb'[^{}]*\{[^{}]*"([A-Za-z0-9_]+)"[ \t\n\r]*:[^{}\[\]",:]*')
_SHOWN: Final = re.compile(r"(?!.*[0-9]{6})[A-Za-z0-9_.\[\]]{1,64}")


class Decoder(Protocol):
    """Reads one command out of JSON; raises what msgspec raises."""

    def decode(self, body: bytes, /) -> Any:
        """Read it."""
        ...


def decode_body(body: bytes, decoder: Decoder) -> Struct:
    """Decode one JSON object strictly: no unknown, duplicate or mistyped field, no tail."""
    try:
        command: Struct = decoder.decode(body)
    except _UNREADABLE as error:
        raise _refusal(error, body) from None
    if not once(body):
        _refuse_twice_within(_PAIRS.decode(body.decode()))
    return command


def decode_batch(body: bytes, decoder: Decoder) -> Struct:
    """Decode the JSON object around the items of a batch; what they say is not looked at yet."""
    try:
        command: Struct = decoder.decode(body)
    except _UNREADABLE as error:
        raise _refusal(error, body) from None
    if once(body):
        return command
    try:
        _refuse_twice(_PAIRS.decode(body.decode(errors="replace")))
    except RecursionError as error:
        raise _malformed(error, body) from None
    return command


def decode_item(item: bytes, decoder: Decoder) -> tuple[KeyedPayment, bytes]:
    """Decode one item of a batch; gives the body, too, that it would have as a request alone."""
    if len(item) > limits.BODY_BYTES_MAX:
        raise Problem("body_too_large", f"At most {limits.BODY_BYTES_MAX} bytes for one payment.")
    command = decode_body(item, decoder)
    assert isinstance(command, KeyedPayment)
    return command, without_key(item)


def without_key(item: bytes) -> bytes:
    """Cut the first or the last member, the key, out of a well-formed item's bytes.

    What is left are the bytes of the same payment as a request alone.  A key that stands elsewhere
    is left in: to find it one would have to read the whole item again.
    """
    before, _, after = item.partition(_KEY)
    member = _MEMBER.match(after)
    if member is not None and member[1] == b"," and before.rstrip() == b"{":
        return b"{" + after[member.end() :].lstrip()
    before, _, after = item.rpartition(_KEY)
    member, before = _MEMBER.match(after), before.rstrip()
    if member is not None and member.end() == len(after) and before.endswith(b","):
        return before[:-1].rstrip() + b"}"
    return item


def _refusal(error: Exception, body: bytes) -> Problem:
    if isinstance(error, msgspec.ValidationError):
        return _wrong_field(str(error), "body")
    return _malformed(error, body)


def _malformed(error: Exception, body: bytes) -> Problem:
    """Name the member whose value cannot be read (`NaN`, `01`), or else the body."""
    place = _BROKEN_AT.search(str(error))
    begun = _BEGUN.fullmatch(body, 0, int(place[1])) if place else None
    param = _shown(begun[1].decode(), "body") if begun else "body"
    return Problem("json_malformed", "The body is not one JSON object in UTF-8.", param=param)


def refuse_unfit(command: Struct, now: datetime) -> None:
    """Refuse a well-formed command that cannot be meant: no such currency, an end too far away.

    An end in the past is no matter of form: the request may be an old one that is sent again.
    """
    for name in _times_of(type(command)):
        moment = getattr(command, name)
        if moment is not None:
            _refuse_timeless(name, moment)
    if not isinstance(command, CreatePayment):
        return
    if command.currency not in EXPONENTS:
        raise Problem("field_invalid", "This is no ISO 4217 currency.", param="currency")
    method = command.method
    if isinstance(method, WechatMethod) and method.flow == "h5" and not _payer_ip(command):
        raise Problem("field_missing", "WeChat Pay demands it for h5.", param="payer.ip")
    if command.expires_at is not None and command.expires_at > now + _EXPIRY_MAX:
        raise Problem(
            "field_invalid", "It must lie in the future, at most seven days.", param="expires_at"
        )


def _payer_ip(command: CreatePayment) -> str | None:
    return command.payer.ip if command.payer is not None else None


@functools.cache
def _times_of(command: type[Struct]) -> tuple[str, ...]:
    """Name the fields of a command that may hold a time."""
    return tuple(field.name for field in fields(command) if "datetime" in str(field.type))


def _refuse_timeless(name: str, moment: datetime) -> None:
    """Refuse a time whose offset leads out of the calendar: in UTC it has no date."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise Problem("field_invalid", "It lies outside of time.", param=name) from None


def decode_query(query: str, command: type[Struct]) -> Struct:
    """Decode a query string into a command; numbers are read from their digits."""
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except (ValueError, UnicodeDecodeError):
        raise Problem("request_malformed", "The query cannot be read.") from None
    _refuse_twice(pairs, "query")
    numbers = _numbers_of(command)
    given = {
        name: int(text) if name in numbers and _DIGITS.fullmatch(text) else text
        for name, text in pairs
    }
    try:
        return msgspec.convert(given, command)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error), "query") from None


@functools.cache
def _numbers_of(command: type[Struct]) -> frozenset[str]:
    """Name the fields of a query that hold a number, or may."""
    hints = get_type_hints(command)
    return frozenset(name for name, hint in hints.items() if int in (hint, *get_args(hint)))


def no_query(query: str) -> Problem:
    """Refuse the query of a call that takes none, by the name of its first field."""
    pairs = parse_qsl(query, keep_blank_values=True)
    param = _shown(pairs[0][0], "query") if pairs else "query"
    return Problem("field_unknown", "This call takes no query.", param=param)


def _refuse_twice(pairs: Sequence[tuple[str, Any]], whole: str = "body", place: str = "") -> None:
    """Refuse a name that is given twice at a place, which ends with a dot unless it is `whole`."""
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        twice = place + next(name for name in names if names.count(name) > 1)
        raise Problem(
            "field_invalid", "A field is given more than once.", param=_shown(twice, whole)
        )


def _refuse_twice_within(value: object, place: str = "") -> None:
    """Refuse a name that is given twice in an object or in what stands in it."""
    if isinstance(value, list):
        for member in value:
            _refuse_twice_within(member, place)
    elif isinstance(value, tuple):
        _refuse_twice(value, place=place)
        for name, inner in value:
            _refuse_twice_within(inner, f"{place}{name}.")


# msgspec keeps the last of two equal names, so where `once` is not sure a second reader looks.
# It leaves the numbers unread: Python refuses to read very long ones.
_PAIRS: Final = json.JSONDecoder(object_pairs_hook=tuple, parse_int=str, parse_float=str)


def _wrong_field(message: str, whole: str) -> Problem:
    """Turn msgspec's sentence into a problem with `param`, without repeating any value."""
    place_found = _PLACE.search(message)
    place = place_found.group(1) if place_found else ""
    field_found = _FIELD.search(message)
    if field_found is not None:
        param = f"{place}.{field_found.group(1)}" if place else field_found.group(1)
        if "unknown" in message:
            return Problem("field_unknown", "This field is not known.", param=_shown(param, whole))
        return Problem("field_missing", "This field is required.", param=_shown(param, whole))
    expected = message.partition(" - at ")[0].partition(", got")[0]
    if expected.startswith("Invalid RFC3339"):
        expected = "It must be an RFC 3339 time with offset"
    elif expected.startswith("Invalid"):
        expected = "The value is not one of those that are offered"
    return Problem("field_invalid", f"{_in_words_of_json(expected)}.", param=_shown(place, whole))


def _in_words_of_json(expected: str) -> str:
    """Name types as JSON does, and write a pattern as OpenAPI does: msgspec shows Python's repr."""
    types, regex, pattern = expected.partition(" matching regex ")
    types = _TYPE.sub(lambda found: _JSON_TYPES[found.group()], types)
    return types + regex + pattern.replace(r"\\Z", "$").replace("\\\\", "\\")


def _shown(name: str, whole: str) -> str:
    """Name a parameter only when it looks like one: a name may be somebody's secret, too.

    Else the `whole` is named in which it stands.
    """
    return name if _SHOWN.fullmatch(name) else whole
