"""How bodies and queries become commands; every refusal names the parameter and never its value."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.money import EXPONENTS
from gateway.domain.payment import CreatePayment

_PLACE: Final = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`")
_FIELD: Final = re.compile(r"field `([^`]*)`")
_DIGITS: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_SHOWN: Final = re.compile(r"(?!.*[0-9]{6})[A-Za-z0-9_.\[\]]{1,64}")


def decode_body(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Struct:
    """Decode one JSON object strictly: no unknown, duplicate or mistyped field, no tail."""
    try:
        command: Struct = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("json_malformed", "The body is not one JSON object in UTF-8.") from None
    _ONCE.decode(body.decode())
    return command


def refuse_unfit(command: Struct, now: datetime) -> None:
    """Refuse a well-formed command that cannot be meant: no such currency, an end too far away.

    An end in the past is no matter of form: the request may be an old one that is sent again.
    """
    for name in command.__struct_fields__:
        _refuse_timeless(name, getattr(command, name))
    if not isinstance(command, CreatePayment):
        return
    if command.currency not in EXPONENTS:
        raise Problem("field_invalid", "This is no ISO 4217 currency.", param="currency")
    latest = now + timedelta(seconds=limits.EXPIRY_SECONDS_MAX)
    if command.expires_at is not None and command.expires_at > latest:
        raise Problem(
            "field_invalid", "It must lie in the future, at most seven days.", param="expires_at"
        )


def _refuse_timeless(name: str, value: object) -> None:
    """Refuse a time whose offset leads out of the calendar: in UTC it has no date."""
    if isinstance(value, datetime):
        try:
            value.astimezone(UTC)
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
    _refuse_twice(pairs)
    numbers = {field.name for field in fields(command) if isinstance(field.default, int)}
    given = {
        name: int(text) if name in numbers and _DIGITS.fullmatch(text) else text
        for name, text in pairs
    }
    try:
        return msgspec.convert(given, command)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error)) from None


def _refuse_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem("field_invalid", "A field is given more than once.", param=_shown(twice))
    return seen


# msgspec keeps the last of two equal names, so a second, much cheaper reader looks for them.
_ONCE: Final = json.JSONDecoder(object_pairs_hook=_refuse_twice)


def _wrong_field(message: str) -> Problem:
    """Turn msgspec's sentence into a problem with `param`, without repeating any value."""
    place_found = _PLACE.search(message)
    place = place_found.group(1) if place_found else ""
    field_found = _FIELD.search(message)
    if field_found is not None:
        param = f"{place}.{field_found.group(1)}" if place else field_found.group(1)
        if "unknown" in message:
            return Problem("field_unknown", "This field is not known.", param=_shown(param))
        return Problem("field_missing", "This field is required.", param=_shown(param))
    expected = message.partition(" - at ")[0].partition(", got")[0]
    if expected.startswith("Invalid RFC3339"):
        expected = "It must be an RFC 3339 time with offset"
    elif expected.startswith("Invalid"):
        expected = "The value is not one of those that are offered"
    expected = expected.replace(r"\Z", "$")
    return Problem("field_invalid", f"{expected}.", param=_shown(place))


def _shown(name: str) -> str | None:
    """Name a parameter only when it looks like one: a name may be somebody's secret, too."""
    return name if _SHOWN.fullmatch(name) else None
