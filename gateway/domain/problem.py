"""A refusal as RFC 9457 `application/problem+json`."""

from typing import Final

import msgspec

from gateway.domain.errors import Problem
from gateway.domain.stages import Answer

_encode: Final = msgspec.json.Encoder().encode


def answer_of(problem: Problem, request_id: str) -> Answer:
    """Write a refusal as an answer; `type` is a URI reference into our documentation."""
    members: dict[str, str | int] = {
        "type": f"/docs#problem-{problem.code}",
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": problem.detail,
        "code": problem.code,
        "retry": problem.kind.retry,
        "request_id": request_id,
    }
    if problem.param is not None:
        members["param"] = problem.param
    return Answer(problem.kind.status, _encode(members | dict(problem.extra)))
