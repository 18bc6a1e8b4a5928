"""The SQL in the code can be asked of many nodes: a lint over every statement in the sources.

A statement names its merchants, so that a distributed PostgreSQL knows which nodes to ask; times,
ids and chance come from the application, so that a statement may run twice and mean the same.
"""

import ast
import importlib
import re
from collections.abc import Iterator

import pytest
from source_tree import Source, shipped
from test_schema import REFERENCE_TABLES, schema

from tests.integration.test_permissions import FIXED

# Asked over all merchants, or of tables that every node holds whole.
PROOFS = {"gateway.ledger.proofs", "gateway.ledger.questions"}
HELD_WHOLE = REFERENCE_TABLES | {"api_key", "channel_credential", "acquirer_keys"}
TENANT_TABLES = set(re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", schema())) - HELD_WHOLE

STATEMENT = re.compile(r"\s*(?:WITH|SELECT|INSERT INTO|UPDATE|DELETE FROM|MERGE)\b")
# A table that is read or changed; rows that are only inserted carry their merchant themselves.
TOUCHED = re.compile(r"\b(?:FROM|JOIN|UPDATE)\s+(\w+)")
CHANGED = re.compile(r"\bUPDATE (\w+)(?: \w+)? SET (.*?)(?: FROM | WHERE |$)")
NAMES_ITS_MERCHANTS = re.compile(r"\bmerchant_id = (?:\$\d|ANY\(\$\d)")
FORBIDDEN = {
    r"clock_timestamp|statement_timestamp|CURRENT_(?:TIMESTAMP|DATE|TIME)|LOCALTIME\w*": "clock",
    r"now\(\)\s*[-+]|[-+]\s*now\(\)": "arithmetic with now()",
    r"(?:RETURNING|DO UPDATE)\b.*\bnow\(\)": "now() where it is not allowed",
    r"(?:random|setseed|gen_random_uuid|uuidv\d|nextval)\(": "chance",
    r"CASE\s+(?!WHEN\b)": "simple CASE",
    r"MERGE\b|WITH RECURSIVE|GROUPING SETS": "form that is not everywhere",
}


def statements(source: Source) -> Iterator[tuple[str, str]]:
    """Give every SQL statement of a file with its place, or its name where it is put together."""
    pieces = {id(piece) for whole in source.find(ast.JoinedStr) for piece in ast.walk(whole)}
    texts = {
        node.value: source.at(node)
        for node in source.find(ast.Constant)
        if isinstance(node.value, str) and id(node) not in pieces
    }
    for name, value in vars(importlib.import_module(source.module)).items():
        if isinstance(value, str):
            texts.setdefault(value, f"{source.path}: {name}")
    for text, place in texts.items():
        if STATEMENT.match(text):
            yield place, re.sub(r"\s+", " ", text)


def unportable(sql: str) -> Iterator[str]:
    """Rule 10: no clock, no chance, no arithmetic with `now()`, no simple CASE."""
    for pattern, name in FORBIDDEN.items():
        if re.search(rf"(?<!\w)(?:{pattern})", sql, re.IGNORECASE):
            yield name


def unbounded(sql: str) -> Iterator[str]:
    """Rule 8: whoever reads or changes a tenant's table says of which merchants."""
    tables = set(TOUCHED.findall(sql)) & TENANT_TABLES
    if tables and not NAMES_ITS_MERCHANTS.search(sql):
        yield f"{', '.join(sorted(tables))}: of which merchants?"


def test_the_lint_sees_the_statements() -> None:
    seen = [sql for source in shipped() for _, sql in statements(source)]
    rooms = {source.room for source in shipped() if any(statements(source))}
    assert {"ledger", "events", "verify"} <= rooms
    assert any("INSERT INTO payment" in sql for sql in seen)
    assert any("INSERT INTO transfer" in sql for sql in seen)
    assert not any("{" in sql for sql in seen)
    assert {"payment", "entry"} <= TENANT_TABLES


def test_every_statement_is_portable() -> None:
    found = [
        f"{place}: {offence}"
        for source in shipped()
        for place, sql in statements(source)
        for offence in unportable(sql)
    ]
    assert not found, "\n".join(found)


def test_every_statement_names_its_merchants() -> None:
    found = [
        f"{place}: {offence}"
        for source in shipped()
        if source.module not in PROOFS
        for place, sql in statements(source)
        for offence in unbounded(sql)
    ]
    assert not found, "\n".join(found)


def changes(sql: str) -> Iterator[tuple[str, str]]:
    """Give each table and column that a statement sets; brackets hold no assignments."""
    for table, text in CHANGED.findall(sql):
        flat, before = text, ""
        while flat != before:
            flat, before = re.sub(r"\([^()]*\)", "", flat), flat
        yield from ((table, column) for column in re.findall(r"(?:^|, )(\w+) =", flat))


def test_no_statement_changes_what_is_written_once() -> None:
    seen = [
        (place, change)
        for source in shipped()
        for place, sql in statements(source)
        for change in changes(sql)
    ]
    assert ("payment", "status") in {change for _, change in seen}
    found = [
        f"{place}: {table}.{column}"
        for place, (table, column) in seen
        if column in FIXED.get(table, "").split()
    ]
    assert not found, "\n".join(found)


def test_changes_are_read_out_of_a_statement() -> None:
    sql = "UPDATE payment p SET a = least(i.b, i.c), d = CASE WHEN x = 1 THEN 2 END FROM input i"
    assert list(changes(sql)) == [("payment", "a"), ("payment", "d")]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT clock_timestamp()",
        "SELECT * FROM payment WHERE created_at < now() - interval '1 day'",
        "UPDATE payment SET fee = 0 RETURNING now()",
        "SELECT random()",
        "INSERT INTO payment VALUES (gen_random_uuid())",
        "SELECT CASE status WHEN 'failed' THEN 1 END FROM payment",
        "MERGE INTO payment USING input ON true",
        "WITH RECURSIVE t AS (SELECT 1) SELECT * FROM t",
    ],
)
def test_an_unportable_statement_is_found(sql: str) -> None:
    assert len(list(unportable(sql))) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM payment WHERE id = $1",
        "UPDATE attempt SET due_at = $1 WHERE id = $2",
        "DELETE FROM idempotency_key WHERE created_at < $1",
        "SELECT * FROM unnest($1::uuid[]) AS w (id) JOIN payment p ON p.id = w.id",
    ],
)
def test_an_unbounded_statement_is_found(sql: str) -> None:
    assert len(list(unbounded(sql))) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CASE WHEN amount = 1 THEN 'one' END FROM payment WHERE merchant_id = $1",
        "UPDATE payment p SET fee = 0 FROM input i WHERE p.merchant_id = ANY($3::bigint[])",
        "INSERT INTO payment (merchant_id, id) SELECT merchant_id, id FROM input",
        "SELECT id FROM merchant",
        "INSERT INTO merchant (id, created_at) VALUES ($1, now())",
    ],
)
def test_what_a_statement_may_say(sql: str) -> None:
    assert [*unportable(sql), *unbounded(sql)] == []
