"""The public codes: one frozen list, the same in code, OpenAPI document and native part."""

import ast
from typing import get_args

import pytest
from source_tree import Source, dotted, parsed, shipped

from gateway.domain.errors import PROBLEMS
from gateway.domain.stages import Operation
from gateway.faces.api.openapi import document
from gateway.match.table import OPERATIONS
from native.envelope import Code

# Here the code comes from elsewhere: from native, whose own list is held to ours.
PASSED_ON = {
    "gateway/verify/service.py": "what native found; its list is held to ours below",
}


def raised(source: Source) -> list[tuple[str, str | None]]:
    """Give place and code of every `Problem(...)`; the code is None when it is no literal."""
    found = []
    for call in source.find(ast.Call):
        if dotted(call.func).rpartition(".")[2] == "Problem":
            code = call.args[0] if call.args else None
            text = code.value if isinstance(code, ast.Constant) else None
            found.append((source.at(call), text if isinstance(text, str) else None))
    return found


def test_the_openapi_document_lists_exactly_our_codes() -> None:
    schemas = document("0", "http://localhost")["components"]["schemas"]
    assert schemas["Problem"]["properties"]["code"]["enum"] == sorted(PROBLEMS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_call_documents_its_success_and_only_statuses_of_the_list(
    operation: Operation,
) -> None:
    described = document("0", "http://localhost")["paths"]
    responses = described[operation.path][operation.method.lower()]["responses"]
    refusals = {str(kind.status) for kind in PROBLEMS.values()}
    assert str(operation.success) in responses
    assert {"401", "500", "503"} <= responses.keys() - {str(operation.success)} <= refusals


def test_every_refusal_in_the_source_is_of_the_list() -> None:
    calls = [pair for source in shipped() for pair in raised(source)]
    assert {code for _, code in calls if code is not None} <= PROBLEMS.keys()
    assert {place.partition(":")[0] for place, code in calls if code is None} == PASSED_ON.keys()


def test_native_refuses_with_codes_of_the_list() -> None:
    assert set(get_args(Code)) <= PROBLEMS.keys()


def test_a_stranger_among_the_codes_would_be_found() -> None:
    source = parsed("gateway/flow/pay.py", "raise Problem('card_eaten', 'x')\nProblem(c, 'y')")
    assert raised(source) == [
        ("gateway/flow/pay.py:1", "card_eaten"),
        ("gateway/flow/pay.py:2", None),
    ]
