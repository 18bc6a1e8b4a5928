"""The words of a refusal: those of JSON and of OpenAPI, not those of the language that we use."""

import msgspec
import pytest

from gateway.domain.errors import Problem
from gateway.domain.payment import CreatePayment
from gateway.match.rules import decode_body, decode_query, no_query
from gateway.match.table import ListDeliveries, ListEntries, ListEvents, ListPayments

DECODER = msgspec.json.Decoder(CreatePayment)
CARD = '"method":{"type":"card","token":"tok_ok"}'


@pytest.mark.parametrize(
    ("members", "param", "detail"),
    [
        ('"amount":"1"', "amount", "Expected `integer`."),
        ('"reference":1', "reference", "Expected `string`."),
        ('"reference":""', "reference", "Expected `string` of length >= 1."),
        ('"description":1', "description", "Expected `string | null`."),
        ('"currency":"cny"', "currency", "Expected `string` matching regex '^[A-Z]{3}$'."),
        ('"method":[]', "method", "Expected `object`."),
        ('"metadata":[]', "metadata", "Expected `object | null`."),
    ],
)
def test_a_refusal_speaks_of_json(members: str, param: str, detail: str) -> None:
    with pytest.raises(Problem) as caught:
        decode_body(f"{{{CARD},{members}}}".encode(), DECODER)
    assert (caught.value.param, caught.value.detail) == (param, detail)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=1", "limit"),
        ("expand%5B%5D=x&limit=1", "expand[]"),
        ("limit", "limit"),
        ("&", "query"),
        ("4111111111111111=1", "query"),
        ("%FF=1", "query"),
    ],
)
def test_a_query_where_none_is_taken_is_named_by_its_first_field(query: str, param: str) -> None:
    problem = no_query(query)
    assert (problem.code, problem.param) == ("field_unknown", param)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (ListDeliveries, "cursor"),
        (ListDeliveries, "limit"),
        (ListEntries, "limit"),
        (ListEvents, "after"),
        (ListPayments, "limit"),
    ],
)
def test_every_number_of_a_query_is_read_from_its_digits(
    command: type[msgspec.Struct], number: str
) -> None:
    assert getattr(decode_query(f"{number}=3", command), number) == 3
    with pytest.raises(Problem, match="field_invalid"):
        decode_query(f"{number}=3.0", command)
