"""The schema can be spread over many nodes by merchant: a lint over the migrations' text.

Why each law is there: a distributed PostgreSQL keeps a merchant's rows on one node, so it can hold
a key unique only when the merchant is its first column; sequences, triggers, rules and exclusion
constraints do not survive the spreading; ids and times come from the application.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from source_tree import ROOT

# Small, rarely written, never in the same transaction as payments: every node holds them whole.
REFERENCE_TABLES = {
    *("merchant", "platform_key", "schema_version"),
    *("routing_config", "fee_plan", "volume_mark"),
}
FORBIDDEN = {
    r"(?:small|big)?serial\d?|GENERATED\b.*?\bAS\s+IDENTITY|nextval|CREATE\s+SEQUENCE": "sequence",
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER": "trigger",
    r"CREATE\s+(?:OR\s+REPLACE\s+)?RULE": "rule",
    r"EXCLUDE\s+(?:USING|\()": "exclusion constraint",
    r"ON\s+DELETE\s+(?:SET|CASCADE)": "deletion that writes elsewhere",
    r"DEFAULT\s+(?:now|clock_timestamp|current_timestamp|gen_random_uuid|uuid\w*|random)\b": (
        "default that PostgreSQL makes up"
    ),
}
COMMENT = re.compile(r"--[^\n]*")
TABLE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\n\)[^;]*;", re.DOTALL)
ALTERED = re.compile(r"ALTER TABLE (?:ONLY )?(\w+)\s(.*?);", re.DOTALL)
UNIQUE_INDEX = re.compile(r"CREATE UNIQUE INDEX (?:CONCURRENTLY )?\w+\s+ON\s+(\w+)\s*\(\s*(\w+)")
KEY = re.compile(r"\b(?:PRIMARY KEY|UNIQUE|FOREIGN KEY)\b(?:\s*\(\s*(\w+))?", re.IGNORECASE)
UNNAMED_REFERENCE = re.compile(
    r"(?<!\w)(?:CONSTRAINT \w+ FOREIGN KEY \([^)]*\)\s+)?REFERENCES\s+\w+", re.IGNORECASE
)


class Clause(NamedTuple):
    """One column or constraint of a table."""

    table: str
    text: str

    @property
    def column(self) -> str:
        return self.text.split()[0]


def clauses(sql: str) -> Iterator[Clause]:
    """Take every CREATE and ALTER TABLE apart."""
    for table, body in TABLE.findall(sql) + ALTERED.findall(sql):
        depth, start = 0, 0
        for place, letter in enumerate(body + ","):
            depth += {"(": 1, ")": -1}.get(letter, 0)
            if letter == "," and depth == 0:
                yield Clause(table, " ".join(body[start:place].split()))
                start = place + 1


def keys_without_merchant(sql: str) -> Iterator[str]:
    """Rule 1: the merchant is the first column of every tenant table and of each of its keys."""
    for clause in clauses(sql):
        if clause.table in REFERENCE_TABLES:
            continue
        for key in KEY.finditer(clause.text):
            if (key[1] or clause.column) != "merchant_id":
                yield f"{clause.table}: {clause.text}"
    for table, body in TABLE.findall(sql):
        first = " ".join(body.split()).partition(",")[0]
        if table not in REFERENCE_TABLES and not re.match(
            r"merchant_id bigint (NOT NULL|PRIMARY KEY)", first
        ):
            yield f"{table}: begins with {first}"
    for table, column in UNIQUE_INDEX.findall(sql):
        if table not in REFERENCE_TABLES and column != "merchant_id":
            yield f"{table}: unique index on {column}"


def things_that_do_not_spread(sql: str) -> Iterator[str]:
    """Rules 2 and 5: no sequences, triggers, rules, exclusion constraints, made-up defaults."""
    for pattern, name in FORBIDDEN.items():
        for found in re.finditer(rf"\b(?:{pattern})", sql, re.IGNORECASE | re.DOTALL):
            yield f"{name}: {found[0]}"


def references_without_name(sql: str) -> Iterator[str]:
    """Rules 3 and 4: a foreign key has a name, and no reference table points at a tenant's."""
    for clause in clauses(sql):
        for found in UNNAMED_REFERENCE.finditer(clause.text):
            points_out = clause.table in REFERENCE_TABLES and (
                found[0].split()[-1] not in REFERENCE_TABLES
            )
            if not found[0].upper().startswith("CONSTRAINT") or points_out:
                yield f"{clause.table}: {clause.text}"


Law = Callable[[str], Iterator[str]]
LAWS: tuple[Law, ...] = (keys_without_merchant, things_that_do_not_spread, references_without_name)


def schema() -> str:
    files = sorted((ROOT / "gateway" / "migrations").glob("*.sql"))
    return COMMENT.sub("", "\n".join(file.read_text(encoding="utf-8") for file in files))


def test_the_lint_sees_every_table() -> None:
    tables = {clause.table for clause in clauses(schema())}
    assert len(re.findall("CREATE TABLE", schema())) == len(tables)
    assert {"payment", "attempt", "transfer", "event", "merchant"} <= tables


@pytest.mark.parametrize("law", LAWS)
def test_the_schema_keeps(law: Law) -> None:
    found = list(law(schema()))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("law", "column"),
    [
        (keys_without_merchant, "PRIMARY KEY (id)"),
        (keys_without_merchant, "PRIMARY KEY (id, merchant_id)"),
        (keys_without_merchant, "CONSTRAINT once UNIQUE (reference)"),
        (keys_without_merchant, "reference text UNIQUE"),
        (keys_without_merchant, "CONSTRAINT f FOREIGN KEY (id) REFERENCES payment (id)"),
        (things_that_do_not_spread, "id bigserial"),
        (things_that_do_not_spread, "id bigint GENERATED ALWAYS AS IDENTITY"),
        (things_that_do_not_spread, "id bigint DEFAULT nextval('ids')"),
        (things_that_do_not_spread, "at timestamptz DEFAULT now()"),
        (things_that_do_not_spread, "id uuid DEFAULT gen_random_uuid()"),
        (things_that_do_not_spread, "EXCLUDE USING gist (room WITH =)"),
        (references_without_name, "merchant bigint REFERENCES merchant (id)"),
    ],
)
def test_an_offending_column_is_found(law: Law, column: str) -> None:
    table = f"CREATE TABLE refund (\n    merchant_id bigint NOT NULL,\n    {column}\n);"
    assert len(list(law(table))) == 1


@pytest.mark.parametrize(
    ("law", "statement"),
    [
        (keys_without_merchant, "CREATE TABLE refund (\n    id uuid NOT NULL\n);"),
        (keys_without_merchant, "CREATE UNIQUE INDEX i\n    ON refund (id, merchant_id);"),
        (keys_without_merchant, "ALTER TABLE refund ADD CONSTRAINT u UNIQUE (id);"),
        (things_that_do_not_spread, "CREATE SEQUENCE ids;"),
        (things_that_do_not_spread, "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON refund;"),
        (things_that_do_not_spread, "CREATE OR REPLACE RULE r AS ON INSERT TO refund;"),
        (references_without_name, "ALTER TABLE refund ADD FOREIGN KEY (p) REFERENCES payment;"),
        (
            references_without_name,
            "ALTER TABLE merchant ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES payment;",
        ),
    ],
)
def test_an_offending_statement_is_found(law: Law, statement: str) -> None:
    assert len(list(law(statement))) == 1


def test_what_the_schema_allows() -> None:
    sql = """
    CREATE TABLE refund (
        merchant_id bigint NOT NULL,
        id          uuid   NOT NULL,
        amount      bigint NOT NULL CHECK (amount > 0),
        PRIMARY KEY (merchant_id, id),
        CONSTRAINT refund_payment FOREIGN KEY (merchant_id, id) REFERENCES payment (merchant_id, id)
    ) WITH (fillfactor = 75);
    CREATE TABLE merchant (
        id bigint PRIMARY KEY,
        public_id uuid NOT NULL UNIQUE
    );
    CREATE UNIQUE INDEX once ON refund (merchant_id, id) WHERE amount > 0;
    ALTER TABLE refund ADD COLUMN reason text;
    """
    assert [offence for law in LAWS for offence in law(sql)] == []
