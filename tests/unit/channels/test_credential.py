"""Credentials are read strictly, and neither errors nor reprs show what is in them."""

from typing import Any

import pytest

from gateway.channels.credential import CredentialWrong, read_credential
from tests.fakes.teller import KIND, TellerCredential

GOOD = {"account": "shop-1", "secret": "hunter2"}


def test_a_good_one_is_read_and_its_repr_says_nothing() -> None:
    credential = read_credential(KIND, GOOD | {"not_after": "2031-01-01T00:00:00Z"})
    assert isinstance(credential, TellerCredential)
    assert (credential.secret, credential.base_url) == ("hunter2", "https://teller.example")
    assert repr(credential) == f"{credential}" == "TellerCredential(…)"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"account": "shop-1"}, "secret"),
        (GOOD | {"secret": 4711}, "secret"),
        (GOOD | {"secret": ["hunter2"]}, "secret"),
        (GOOD | {"secret": "no key"}, "secret is no key"),
        (GOOD | {"account": ""}, "account"),
        (GOOD | {"account": "hunter2 " * 20}, "account"),
        (GOOD | {"colour": "hunter2"}, "colour"),
        (GOOD | {"hunter2 - at `": 1}, "an unknown field"),
        (GOOD | {"not_after": "hunter2 - at `x`"}, "not_after"),
        (GOOD | {"not_after": "2031-01-01T00:00:00"}, "not_after"),
        *[
            (GOOD | {"base_url": url}, "base_url")
            for url in (
                "http://teller.example",
                "https://teller.example/",
                "https://hunter2:x@teller.example",
                "https://teller.example?hunter2",
                "ftp://127.0.0.1",
                "https://",
                "https://[hunter2",
                "http://127.0.0.1:hunter2",
                "hunter2",
            )
        ],
    ],
)
def test_a_bad_one_is_refused_by_the_name_of_its_field(words: dict[str, Any], named: str) -> None:
    with pytest.raises(CredentialWrong) as refused:
        read_credential(KIND, words)
    assert named in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8090", "http://localhost:1", "http://[::1]:1"])
def test_plain_http_goes_to_this_machine_only(url: str) -> None:
    assert read_credential(KIND, GOOD | {"base_url": url}).base_url == url
