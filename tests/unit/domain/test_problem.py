"""Refusals: RFC 9457 on the wire, true to the schema that the OpenAPI document promises."""

import json

import pytest

from gateway.domain.errors import PROBLEMS, Problem
from gateway.domain.problem import answer_of
from gateway.faces.api.openapi import document

SCHEMA = document("0", "http://localhost")["components"]["schemas"]["Problem"]


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_code_as_a_document(code: str) -> None:
    answer = answer_of(Problem(code, "What was wrong."), "req_1")
    assert answer.status == PROBLEMS[code].status
    assert json.loads(answer.body) == {
        "type": f"/docs#problem-{code}",
        "title": PROBLEMS[code].title,
        "status": PROBLEMS[code].status,
        "detail": "What was wrong.",
        "code": code,
        "retry": PROBLEMS[code].retry,
        "request_id": "req_1",
    }


def test_the_parameter_and_further_members_stand_beside() -> None:
    problem = Problem("reference_exists", "x", param="reference", extra={"payment": "pay_1"})
    said = json.loads(answer_of(problem, "req_1").body)
    assert (said["param"], said["payment"]) == ("reference", "pay_1")
    assert set(SCHEMA["required"]) <= said.keys() <= SCHEMA["properties"].keys()


def test_a_code_that_is_not_on_the_list_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        Problem("card_eaten", "x")


def test_codes_say_when_to_ask_again() -> None:
    for kind in PROBLEMS.values():
        assert (kind.status in {429, 503}) == (kind.retry == "later")
        assert 400 <= kind.status < 600
