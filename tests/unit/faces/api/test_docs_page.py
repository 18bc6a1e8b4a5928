"""The page that a merchant reads first: its advice fits what went wrong."""

import re

import pytest

from gateway.domain.errors import PROBLEMS
from gateway.faces.api.docs import docs_page

ROWS = dict(re.findall(r'<tr id="problem-(\w+)">(.*?)</tr>', docs_page("1", "http://localhost")))


@pytest.mark.parametrize("code", PROBLEMS)
def test_only_what_the_caller_got_wrong_is_to_be_mended(code: str) -> None:
    kind = PROBLEMS[code]
    is_his = kind.retry == "same_key" and kind.status in {400, 401, 415}
    assert ("mend it" in ROWS[code]) == is_his
