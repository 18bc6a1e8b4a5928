"""What an account on a chain consists of: where its money lies, and the node that is asked."""

from typing import Annotated, Final

from msgspec import Meta

from gateway.channels.credential import Credential
from gateway.channels.crypto.deposits import address_bytes, checksummed, keccak
from gateway.domain.money import EXPONENTS

_DIGEST_DIGITS: Final = 8
_CHAINS: Final = 10**12  # so that the name of an account has room for the longest


class CryptoCredential(Credential, frozen=True, kw_only=True):
    """One token on one chain, received at the addresses of one factory.

    `base_url` is a node's JSON-RPC endpoint, often with a key in its path.  A unit of `currency`
    (ISO 4217) is one token, which has `token_decimals`.  `init_code_hash` is the Keccak-256 of what
    the factory deploys.  Money is ours in a block with so many `confirmations`, that block counted;
    without them, once the chain itself calls the block `finalized`.
    """

    chain_id: Annotated[int, Meta(ge=1, lt=_CHAINS)]
    token: str
    token_decimals: Annotated[int, Meta(ge=0, le=36)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    factory: str
    init_code_hash: Annotated[str, Meta(pattern=r"^0x[0-9a-f]{64}\Z")]
    confirmations: Annotated[int, Meta(ge=1, le=100_000)] | None = None

    def __post_init__(self) -> None:
        """Refuse addresses with a slip of the pen, and amounts that the token cannot have."""
        for name, address in (("token", self.token), ("factory", self.factory)):
            try:
                address_bytes(address)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        if self.currency not in EXPONENTS:
            raise ValueError("currency is none of ISO 4217")
        if EXPONENTS[self.currency] > self.token_decimals:
            raise ValueError("token_decimals are fewer than those of the currency")
        super().__post_init__()

    @property
    def account(self) -> str:
        """Chain, token and, shortened, what the deposit addresses are made of."""
        made_of = address_bytes(self.factory) + bytes.fromhex(self.init_code_hash[2:])
        digest = keccak(made_of).hex()[:_DIGEST_DIGITS]
        return f"{self.chain_id}:{checksummed(address_bytes(self.token))}:{digest}"
