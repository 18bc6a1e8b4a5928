"""The addresses of the crypto channel are those of EIP-55 and EIP-1014, by their own vectors."""

import pytest

from gateway.channels.crypto.deposits import (
    address_bytes,
    checksummed,
    create2,
    deposit_address,
    keccak,
)

NOBODY = "0x" + 40 * "0"
BEEF = "0xdeadbeef" + 32 * "0"
FEED = "000000000000000000000000feed000000000000000000000000000000000000"


@pytest.mark.parametrize(
    ("factory", "salt", "code", "address"),
    [
        (NOBODY, 64 * "0", "00", "0x4D1A2e2bB4F88F0250f26Ffff098B0b30B26BF38"),
        (BEEF, 64 * "0", "00", "0xB928f69Bb1D91Cd65274e3c79d8986362984fDA3"),
        (BEEF, FEED, "00", "0xD04116cDd17beBE565EB2422F2497E06cC1C9833"),
        (NOBODY, 64 * "0", "deadbeef", "0x70f2b2914A2a4b783FaEFb75f459A580616Fcb5e"),
        (NOBODY, 64 * "0", "", "0xE33C0C7F7df4809055C3ebA6c09CFe4BaF1BD9e0"),
    ],
)
def test_create2_is_that_of_eip_1014(factory: str, salt: str, code: str, address: str) -> None:
    made = create2(address_bytes(factory), bytes.fromhex(salt), keccak(bytes.fromhex(code)))
    assert checksummed(made) == address


@pytest.mark.parametrize(
    "address",
    [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_capitals_are_those_of_eip_55(address: str) -> None:
    assert checksummed(bytes.fromhex(address[2:])) == address
    raw = address_bytes(address)
    assert raw == address_bytes(address.lower()) == bytes.fromhex(address[2:])


@pytest.mark.parametrize(
    "wrong",
    [
        "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # one capital too many
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAedd",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe\u0664",
        "vitalik.eth",
        "",
    ],
)
def test_a_slip_of_the_pen_is_no_address(wrong: str) -> None:
    with pytest.raises(ValueError, match="address"):
        address_bytes(wrong)


def test_the_salt_of_an_attempt_is_its_number_in_the_low_half() -> None:
    number, factory, code = "0199" + 28 * "a", address_bytes(BEEF), keccak(b"\0")
    salt = bytes(16) + bytes.fromhex(number)
    assert deposit_address(factory, code, number) == create2(factory, salt, code)
