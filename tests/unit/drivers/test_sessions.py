"""What is said of a server that is lost, in one line, and of one that was never reached."""

import logging

import pytest

from gateway.drivers.sessions import Sessions, unreachable

CANARY = "s3cret"


def test_a_lost_server_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    Sessions("postgresql://nobody", count=1, statement_cache=0)
    lost = ConnectionRefusedError(CANARY)
    logging.getLogger("asyncpg.pool").warning("%s", CANARY, exc_info=lost)
    (record,) = caplog.records
    assert "PostgreSQL cannot be reached (ConnectionRefusedError)" in caplog.text
    assert (record.exc_info, CANARY in caplog.text) == (None, False)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), "Connect call failed"),
        (TimeoutError(), "PostgreSQL cannot be reached: TimeoutError"),
    ],
)
def test_a_reason_without_words_is_named_all_the_same(error: Exception, why: str) -> None:
    assert str(unreachable(error)).endswith(why)
