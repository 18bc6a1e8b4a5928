"""Times reading a payment's body strictly, an item of a batch, and writing the answer."""

import json
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.bench_signature import BODY, PAYMENT
from gateway.domain.payment import CreatePayment, KeyedPayment
from gateway.ledger.codec import encode
from gateway.match.quick import QuickDecoder
from gateway.match.rules import decode_body, decode_item
from tests.unit.nouns import PAYMENT as ANSWER

DECODER = QuickDecoder(CreatePayment)
ITEM_DECODER = QuickDecoder(KeyedPayment)
ITEM = b'{"idempotency_key":"order-1",' + BODY[1:]


def test_read_a_body(benchmark: BenchmarkFixture) -> None:
    command: Any = decode_body(BODY, DECODER)
    assert (command.amount, command.metadata) == (PAYMENT["amount"], PAYMENT["metadata"])
    benchmark.extra_info["step"] = "match"
    benchmark(decode_body, BODY, DECODER)


def test_read_an_item(benchmark: BenchmarkFixture) -> None:
    command, body = decode_item(ITEM, ITEM_DECODER)
    assert (command.idempotency_key, body) == ("order-1", BODY)
    benchmark(decode_item, ITEM, ITEM_DECODER)


def test_write_a_payment(benchmark: BenchmarkFixture) -> None:
    assert json.loads(encode(ANSWER))["id"] == ANSWER.id
    assert json.loads(benchmark(encode, ANSWER))["status"] == ANSWER.status.value


@pytest.mark.benchmark(group="read a body without our checks")
def test_read_a_body_with_json(benchmark: BenchmarkFixture) -> None:
    assert benchmark(json.loads, BODY) == PAYMENT
