"""Secrets at rest: what was sealed for one key and one row opens with that key and row alone."""

import base64

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.sealing import Vault, new_master_key, public_part, seal

MASTER_KEY = new_master_key()
VAULT = Vault(MASTER_KEY)
PUBLIC = public_part(MASTER_KEY)


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_is_sealed_opens_again(plain: bytes, context: bytes) -> None:
    sealed = seal(PUBLIC, plain, context)
    assert VAULT.open(sealed, context) == plain
    assert len(plain) < 4 or plain not in sealed


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_is_hidden_is_revealed_again(plain: bytes, context: bytes) -> None:
    hidden = VAULT.hide(plain, context)
    assert VAULT.reveal(hidden, context) == plain
    assert len(plain) < 4 or plain not in hidden


def test_the_same_secret_is_never_stored_the_same() -> None:
    assert seal(PUBLIC, b"secret", b"row") != seal(PUBLIC, b"secret", b"row")
    assert VAULT.hide(b"secret", b"row") != VAULT.hide(b"secret", b"row")


@pytest.mark.parametrize(
    ("vault", "context"),
    [(VAULT, b"other row"), (Vault(new_master_key()), b"row")],
    ids=["another row", "another key"],
)
def test_nothing_opens_for_another_row_or_key(vault: Vault, context: bytes) -> None:
    with pytest.raises(InvalidTag):
        vault.open(seal(PUBLIC, b"secret", b"row"), context)
    assert vault.reveal(VAULT.hide(b"secret", b"row"), context) is None


@pytest.mark.parametrize("place", [0, 11, 12, 20, -1])
def test_one_changed_bit_is_found(place: int) -> None:
    hidden = bytearray(VAULT.hide(b"a name of somebody", b"row"))
    hidden[place] ^= 1
    assert VAULT.reveal(bytes(hidden), b"row") is None
    assert VAULT.reveal(bytes(hidden[:5]), b"row") is None


def test_a_restarted_worker_reveals_what_another_hid() -> None:
    assert Vault(MASTER_KEY).reveal(VAULT.hide(b"name", b"row"), b"row") == b"name"


def test_a_master_key_is_32_bytes_of_base64() -> None:
    assert len(base64.b64decode(MASTER_KEY, validate=True)) == len(PUBLIC) == 32


@pytest.mark.parametrize(
    "text",
    ["", "no base64!", MASTER_KEY[:-1], base64.b64encode(bytes(31)).decode(), MASTER_KEY + "AAAA"],
    ids=["empty", "no base64", "cut", "short", "long"],
)
def test_what_is_no_master_key(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes of base64") as refused:
        Vault(text)
    assert text == "" or text not in str(refused.value)


def test_a_vault_does_not_show_its_key() -> None:
    assert MASTER_KEY not in repr(VAULT)
