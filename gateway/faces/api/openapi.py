"""The OpenAPI 3.1 document, made from the table of operations and the nouns themselves."""

import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct, UnsetType

from gateway.domain.errors import PROBLEMS
from gateway.domain.payment import KeyedPayment
from gateway.domain.stages import Operation
from gateway.faces.api.answers import (
    ANSWERS,
    REQUESTS,
    Event,
    PaidItem,
    RefusedItem,
    ToldPayment,
    ToldRefund,
    plain,
)
from gateway.faces.api.closer import CLOSER, IDEMPOTENCY_KEY
from gateway.match.table import OPERATIONS

DESCRIPTION: Final = """
Every call is signed with HTTP Message Signatures (RFC 9421). The signature covers `@method`,
`@path`, `@query` when there is one, `content-digest` when there is a body and `idempotency-key`
when that header is there; `created` and `keyid` are required. Amounts are integers in minor units
of the currency (ISO 4217). Every POST carries an `Idempotency-Key`: sent again, it is answered as
before and nothing moves twice.
"""

_Schema = dict[str, Any]
_SCHEMAS: Final = "#/components/schemas/{name}"
_PAGE: Final = re.compile(r"Page_(\w+)_$")
_PARAMETER: Final = re.compile(r"\{(\w+)\}")

# Which ids a path names, by the word before them: their prefix, and the code when it is not there.
_NAMED: Final = {
    "payments": ("pay", "payment_not_found"),
    "refunds": ("re", "refund_not_found"),
    "events": ("evt", "event_not_found"),
    "webhook_endpoints": ("we", "endpoint_not_found"),
}
_ID_DIGITS: Final = "01a206b0c7ff7d22800000015e1f0a80"

# Who may be refused with what: by everything, by what the call carries, by the call itself.
_ALWAYS: Final = (
    *("signature_missing", "signature_malformed", "signature_incomplete", "signature_expired"),
    *("signature_mismatch", "digest_mismatch", "key_unknown", "internal_error", "unavailable"),
    *("rate_limited", "overloaded", "request_malformed", "body_too_large", "encoding_unsupported"),
)
_CARRYING: Final = {
    "nothing": ("field_unknown",),
    "query": ("field_unknown", "field_invalid"),
    "body": ("json_malformed", "field_unknown", "field_invalid"),
}
_WRITING: Final = (
    *("idempotency_key_missing", "idempotency_key_invalid", "idempotency_key_reused"),
    "request_in_progress",
)
_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "create_payment": ("field_missing", "reference_exists", "no_channel"),
    "create_payments": ("field_missing",),
    "simulate_routing": ("field_missing",),
    "capture_payment": ("state_conflict",),
    "cancel_payment": ("state_conflict",),
    "refund_payment": (
        *("field_missing", "reference_exists", "state_conflict", "refund_exceeds_captured"),
    ),
    "create_endpoint": ("field_missing", "too_many_endpoints"),
    "redeliver_to_endpoint": ("field_missing",),
}
_SOON: Final = frozenset({409, 429, 503})

_HEADERS: Final[Mapping[str, Any]] = {
    "Request-Id": {
        "description": "Names this answer; tell it to support.",
        "required": True,
        "schema": {"type": "string", "pattern": "^req_[0-9a-f]{24}$"},
    },
    "Idempotent-Replayed": {
        "description": "There when this answer was given before to the same key.",
        "schema": {"const": "true"},
    },
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
_PAGES: Final[Mapping[str, tuple[str, Mapping[int, str]]]] = {
    "/healthz": ("Tell that the process is alive", {200: "It is."}),
    "/readyz": (
        "Tell whether money can be taken",
        {200: "It can.", 503: "It cannot; the members name what is missing."},
    ),
}


def document(version: str, server: str) -> _Schema:
    """Make the whole document; `server` is the public base URL."""
    schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        calls = paths.setdefault(operation.path, {})
        calls[operation.method.lower()] = _operation(operation, schemas)
    for path, (summary, answers) in _PAGES.items():
        paths[path] = {"get": _page(path, summary, answers)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Floodgate", "version": version, "description": DESCRIPTION.strip()},
        "servers": [{"url": server}],
        "security": [{"signature": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": dict(_HEADERS),
            "securitySchemes": {
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Signature",
                    "description": "HTTP Message Signatures, RFC 9421, with Signature-Input.",
                }
            },
        },
    }


def codes_of(operation: Operation) -> list[str]:
    """Give every code with which this call may be refused."""
    codes = [*_ALWAYS, *_CARRYING[operation.carries], *_OWN.get(operation.name, ())]
    codes += _WRITING if operation.writes else ()
    # What has not even the shape of an id may be no path of ours at all.
    codes += [code for _, _, missing in _ids(operation) for code in (missing, "not_found")]
    return codes


def _ids(operation: Operation) -> Iterator[tuple[str, str, str]]:
    """Give the path's parameters: name, prefix of the id, and the code of what is not there."""
    words = operation.path.split("/")
    for before, word in itertools.pairwise(words):
        named = _PARAMETER.fullmatch(word)
        if named is not None:
            yield (named[1], *_NAMED[before])


def _operation(operation: Operation, schemas: Mapping[str, Any]) -> _Schema:
    parameters: list[_Schema] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"},
            "example": f"{prefix}_{_ID_DIGITS}",
        }
        for name, prefix, _ in _ids(operation)
    ]
    command = operation.command.__name__
    if operation.carries == "query":
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": _unwrapped(schema)}
            for name, schema in schemas[command]["properties"].items()
        ]
    if operation.writes:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "1-255 visible characters, in quotes or bare.",
                "schema": IDEMPOTENCY_KEY,
                "example": "order-4711",
            }
        )
    described: _Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": _responses(operation),
    }
    if operation.carries == "body":
        described["requestBody"] = _body(operation)
    return described


def _body(operation: Operation) -> _Schema:
    media: _Schema = {"schema": _reference(operation.command.__name__)}
    example = REQUESTS.get(operation.name)
    if example is not None:
        media["example"] = plain(example)
    required = "field_missing" in codes_of(operation)
    return {"required": required, "content": {"application/json": media}}


def _responses(operation: Operation) -> _Schema:
    told = ANSWERS[operation.name]
    media = {"schema": _schema_of(told.type), "example": plain(told.example)}
    success = {
        "description": operation.summary,
        "headers": _headers("Request-Id", *(["Idempotent-Replayed"] if operation.writes else [])),
        "content": {"application/json": media},
    }
    by_status: dict[int, list[str]] = {}
    for code in codes_of(operation):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    refusals = {str(status): _refusal(status, by_status[status]) for status in sorted(by_status)}
    return {str(operation.success): success} | refusals


def _refusal(status: int, codes: list[str]) -> _Schema:
    names = ["Request-Id", *(["Retry-After"] if status in _SOON else [])]
    schema = {
        "allOf": [
            _reference("Problem"),
            {"properties": {"status": {"const": status}, "code": {"enum": codes}}},
        ]
    }
    return {
        "description": "; ".join(f"`{code}`: {PROBLEMS[code].title}" for code in codes),
        "headers": _headers(*names),
        "content": {"application/problem+json": {"schema": schema}},
    }


def _page(path: str, summary: str, answers: Mapping[int, str]) -> _Schema:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {}}}
    return {
        "operationId": path.strip("/"),
        "summary": summary,
        "security": [],
        "responses": {
            str(status): {
                "description": meaning,
                "headers": _headers("Request-Id"),
                "content": {"application/json": {"schema": schema}},
            }
            for status, meaning in answers.items()
        },
    }


def _schemas() -> dict[str, Any]:
    """Describe every noun that is sent or answered."""
    commands = {operation.command for operation in OPERATIONS}
    # What stands where the types of commands and answers leave anything open is named here.
    told = [answer.type for answer in ANSWERS.values()]
    told += [ToldPayment, ToldRefund, PaidItem, RefusedItem]
    _, schemas = msgspec.json.schema_components(
        [*sorted(commands, key=lambda command: command.__name__), KeyedPayment, *told],
        ref_template=_SCHEMAS,
    )
    schemas = {_tidy(name): _portable(schema) for name, schema in schemas.items()}
    sent = {noun for command in commands for noun in _nouns(command)}
    for noun in {noun for kind in told for noun in _nouns(kind)}:
        for schema in schemas.values():
            if schema["title"].partition("[")[0] == noun.__name__:
                _complete(schema, noun, is_sent=noun in sent)
    for (noun_name, name), closer in CLOSER.items():
        schemas[noun_name]["properties"][name] = closer
    either = [_reference(kind.__name__) for kind in (ToldPayment, ToldRefund)]
    schemas[Event.__name__]["properties"]["data"] = {"oneOf": either}
    return schemas | {"Problem": _problem()}


def _nouns(kind: Any) -> Iterator[type[Struct]]:
    """Give every Struct that a type is made of."""
    for part in getattr(kind, "__args__", ()):
        yield from _nouns(part)
    kind = getattr(kind, "__origin__", kind)
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from _nouns(field.type)


def _complete(schema: _Schema, noun: type[Struct], *, is_sent: bool) -> None:
    """Say of an answer what msgspec leaves open: what is always there, and what is a time.

    What merchants send as well need not be there: its defaults are theirs to leave out.
    """
    fields = msgspec.structs.fields(noun)
    for field in fields:
        member = schema["properties"][field.encode_name]
        member.pop("default", None)
        if datetime in {field.type, *getattr(field.type, "__args__", ())}:
            text = member["anyOf"][0] if "anyOf" in member else member
            text["format"] = "date-time"
    # What has a default is written all the same, unless the noun says that it leaves it out.
    if not noun.__struct_config__.omit_defaults and not is_sent:
        schema["required"] = [
            field.encode_name
            for field in fields
            if UnsetType not in getattr(field.type, "__args__", ())
        ]


def _schema_of(kind: Any) -> _Schema:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_SCHEMAS)
    portable: _Schema = _portable(schema)
    return portable


def _tidy(name: str) -> str:
    """Name a page of payments `PaymentPage`, where msgspec says `Page_Payment_`."""
    return _PAGE.sub(r"\1Page", name)


def _reference(name: str) -> _Schema:
    return {"$ref": _SCHEMAS.format(name=name)}


def _headers(*names: str) -> _Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem() -> _Schema:
    """Describe RFC 9457 with our frozen list of codes."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "retry", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string", "enum": sorted(PROBLEMS)},
            "param": {"type": "string"},
            "retry": {"type": "string", "enum": ["same_key", "new_key", "later", "never"]},
            "request_id": {"type": "string"},
            "payment": {"type": "string"},
            "refund": {"type": "string"},
            "server_time": {"type": "string", "format": "date-time"},
        },
    }


def _unwrapped(schema: Mapping[str, Any]) -> _Schema:
    """Leave out the null of an optional query parameter: it is absent, never null."""
    kept = {name: value for name, value in schema.items() if name not in {"anyOf", "default"}}
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return kept | (choices[0] if choices else {})


def _portable(node: Any) -> Any:
    """Write what is Python's own as everybody reads it: patterns, names, docstrings."""
    if isinstance(node, dict):
        return {
            name: _PORTABLE[name](value)
            if name in _PORTABLE and isinstance(value, str)
            else _portable(value)
            for name, value in node.items()
        }
    if isinstance(node, list):
        return [_portable(item) for item in node]
    return node


_PORTABLE: Final[Mapping[str, Callable[[str], str]]] = {
    "pattern": lambda text: text.replace(r"\Z", "$"),
    "$ref": _tidy,
    "description": inspect.cleandoc,
}
