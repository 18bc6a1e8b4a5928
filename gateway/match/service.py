"""The match step: which operation is asked, with which parameters and which command."""

import hashlib
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.domain.errors import Problem
from gateway.domain.payment import CreatePayments, KeyedPayment
from gateway.domain.stages import Matched, Operation, Verified
from gateway.match.quick import QuickDecoder
from gateway.match.rules import (
    decode_batch,
    decode_body,
    decode_item,
    decode_query,
    no_query,
    refuse_unfit,
)
from gateway.match.table import CREATE_PAYMENT, OPERATIONS
from native.routes import COMPILED, RouteTable

__all__ = ["COMPILED", "Match"]


_ITEM: Final = QuickDecoder(KeyedPayment)


class _Call:
    """An operation with its prepared decoder."""

    __slots__ = ("decode", "decoder", "operation")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.decoder = QuickDecoder(operation.command)
        self.decode = decode_batch if operation.command is CreatePayments else decode_body


class Match:
    """The table of operations, compiled."""

    def __init__(self) -> None:
        calls = [_Call(operation) for operation in OPERATIONS]
        self._routes = RouteTable(
            [(call.operation.method, call.operation.path, call) for call in calls]
        )
        self._fixed: dict[str, dict[str, _Call]] = {}
        for call in calls:
            path = call.operation.path
            if "{" not in path:
                self._fixed.setdefault(path, {})[call.operation.method] = call

    def __call__(self, verified: Verified) -> Matched:
        """Say what is asked; `Problem` 404, 405 or 400 when it cannot be served."""
        received = verified.received
        # A path that stands in the table word for word names nothing else: `batch` is no id.
        named = self._fixed.get(received.target)
        call = named.get(received.method) if named is not None else None
        parameters: tuple[str, ...] = ()
        if call is None:
            call, parameters = self._found(received.method, received.path)
        command = self._command(call, verified)
        refuse_unfit(command, received.at)
        return Matched(verified, call.operation, parameters, command)

    def _found(self, method: str, path: str) -> tuple[_Call, tuple[str, ...]]:
        found = self._routes.match(method, path)
        if found is not None and not (found[1] and path in self._fixed):
            return found
        allowed = sorted(self._fixed.get(path, ())) or self._routes.allowed(path)
        if allowed:
            raise Problem(
                "method_not_allowed",
                f"This path offers {', '.join(allowed)}.",
                extra={"allow": ", ".join(allowed)},
            )
        raise Problem("not_found", "There is no such path.")

    def item(self, batch: Matched, item: bytes) -> Matched:
        """Read an item of a batch as the `POST /v1/payments` that it stands for; `Problem` 400.

        Path, query and body are those of that request, so both have one fingerprint.
        """
        verified = batch.verified
        command, body = decode_item(item, _ITEM)
        refuse_unfit(command, verified.received.at)
        alone = replace(
            verified,
            received=replace(verified.received, target=CREATE_PAYMENT.path, body=body),
            body_digest=hashlib.sha256(body).digest(),
            idempotency_key=command.idempotency_key,
        )
        return Matched(alone, CREATE_PAYMENT, (), command)

    def _command(self, call: _Call, verified: Verified) -> msgspec.Struct:
        received, operation = verified.received, call.operation
        if operation.carries == "query":
            return decode_query(received.query, operation.command)
        if received.query:
            raise no_query(received.query)
        if operation.carries == "body":
            return call.decode(received.body or b"{}", call.decoder)
        return operation.command()
