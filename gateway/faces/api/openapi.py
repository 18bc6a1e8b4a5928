"""The OpenAPI 3.1 document, made from the table of operations and the nouns themselves."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.domain.errors import PROBLEMS
from gateway.domain.payment import Payment
from gateway.domain.stages import Operation
from gateway.match.table import OPERATIONS

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_PAGE: Final = {"type": "object", "required": ["data", "next_cursor"]}
_ANSWERS: Final[Mapping[str, Any]] = {
    "create_payment": {"$ref": "#/components/schemas/Payment"},
    "get_payment": {"$ref": "#/components/schemas/Payment"},
    "sync_payment": {"$ref": "#/components/schemas/Payment"},
    "list_payments": _PAGE
    | {"properties": {"data": {"items": {"$ref": "#/components/schemas/Payment"}}}},
}
_SIGNING: Final = """
Every call is signed with HTTP Message Signatures (RFC 9421). The signature covers `@method`,
`@path`, `@query` when there is one, `content-digest` when there is a body and `idempotency-key`
when that header is there; `created` and `keyid` are required.
"""
_HEADERS: Final = ("Signature-Input", "Signature")


def document(version: str, server: str) -> dict[str, Any]:
    """Make the whole document; `server` is the public base URL."""
    paths: dict[str, dict[str, Any]] = {}
    commands = [Payment, *{operation.command for operation in OPERATIONS}]
    _, components = msgspec.json.schema_components(
        commands, ref_template="#/components/schemas/{name}"
    )
    components = _portable(components)
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, components
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Floodgate", "version": version, "description": _SIGNING.strip()},
        "servers": [{"url": server}],
        "security": [{"signature": []}],
        "paths": paths,
        "components": {
            "schemas": components | {"Problem": _problem()},
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


def _operation(operation: Operation, components: Mapping[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    command = operation.command.__name__
    if operation.carries == "query":
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": _unwrapped(schema)}
            for name, schema in components[command]["properties"].items()
        ]
    if operation.writes:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            }
        )
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": _responses(operation),
    }
    if operation.carries == "body":
        described["requestBody"] = {
            "required": command != "Nothing",
            "content": {
                "application/json": {"schema": {"$ref": f"#/components/schemas/{command}"}}
            },
        }
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    problem = {
        "description": "A refusal",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    answer = {
        "description": operation.summary,
        "content": {
            "application/json": {"schema": _ANSWERS.get(operation.name, _PAGE)},
        },
    }
    statuses = sorted({kind.status for kind in PROBLEMS.values()})
    return {str(operation.success): answer} | {str(status): problem for status in statuses}


def _problem() -> dict[str, Any]:
    """Describe RFC 9457 with our frozen list of codes."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "retry", "request_id"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string", "enum": sorted(PROBLEMS)},
            "param": {"type": "string"},
            "retry": {"type": "string", "enum": ["same_key", "new_key", "later", "never"]},
            "request_id": {"type": "string"},
            "payment": {"type": "string"},
            "server_time": {"type": "string", "format": "date-time"},
        },
    }


def _unwrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the null of an optional query parameter: it is absent, never null."""
    kept = {name: value for name, value in schema.items() if name not in {"anyOf", "default"}}
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return kept | (choices[0] if choices else {})


def _portable(node: Any) -> Any:
    """Write Python's end of text as the `$` of ECMA regular expressions."""
    if isinstance(node, dict):
        return {
            name: value.replace(r"\Z", "$") if name == "pattern" else _portable(value)
            for name, value in node.items()
        }
    if isinstance(node, list):
        return [_portable(item) for item in node]
    return node
