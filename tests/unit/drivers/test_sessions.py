"""What the pool of sessions says of a lost server: one line, with no word of the error's own."""

import logging

import pytest

from gateway.drivers.sessions import Sessions

CANARY = "s3cret"


def test_a_lost_server_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    Sessions("postgresql://nobody", count=1, statement_cache=0)
    lost = ConnectionRefusedError(CANARY)
    logging.getLogger("asyncpg.pool").warning("%s", CANARY, exc_info=lost)
    (record,) = caplog.records
    assert "PostgreSQL cannot be reached (ConnectionRefusedError)" in caplog.text
    assert (record.exc_info, CANARY in caplog.text) == (None, False)
