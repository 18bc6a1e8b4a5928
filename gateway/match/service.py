"""The match step: which operation is asked, with which parameters and which command."""

from typing import Any

import msgspec

from gateway.domain.errors import Problem
from gateway.domain.stages import Matched, Operation, Verified
from gateway.match.rules import decode_body, decode_query, refuse_unfit
from gateway.match.table import OPERATIONS
from native.routes import COMPILED, RouteTable

__all__ = ["COMPILED", "Match"]


class _Call:
    """An operation with its prepared decoder."""

    __slots__ = ("decoder", "operation")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(operation.command)


class Match:
    """The table of operations, compiled."""

    def __init__(self) -> None:
        self._routes = RouteTable(
            [(operation.method, operation.path, _Call(operation)) for operation in OPERATIONS]
        )

    def __call__(self, verified: Verified) -> Matched:
        """Say what is asked; `Problem` 404, 405 or 400 when it cannot be served."""
        received = verified.received
        path = received.path
        found = self._routes.match(received.method, path)
        if found is None:
            allowed = self._routes.allowed(path)
            if allowed:
                raise Problem(
                    "method_not_allowed",
                    f"This path offers {', '.join(allowed)}.",
                    extra={"allow": ", ".join(allowed)},
                )
            raise Problem("not_found", "There is no such path.")
        call, parameters = found
        command = self._command(call, verified)
        refuse_unfit(command, received.at)
        return Matched(verified, call.operation, parameters, command)

    def _command(self, call: _Call, verified: Verified) -> msgspec.Struct:
        received, operation = verified.received, call.operation
        if operation.carries == "query":
            return decode_query(received.query, operation.command)
        if received.query:
            raise Problem("field_unknown", "This call takes no query.")
        if operation.carries == "body":
            return decode_body(received.body or b"{}", call.decoder)
        return operation.command()
