"""What an account at Stripe consists of; every part of it but its name is a secret to the log."""

from typing import Annotated, Final

from msgspec import Meta

from gateway.channels.credential import Credential

OFFICIAL: Final = "https://api.stripe.com"


class StripeCredential(Credential, frozen=True, kw_only=True):
    """One account (`acct_…`) with a secret or restricted key.

    `webhook_secrets` sign what Stripe tells us; while one is rolled there are several, and each
    verifies.
    """

    account: Annotated[str, Meta(pattern=r"^acct_[0-9A-Za-z]{8,48}\Z")]
    secret_key: Annotated[str, Meta(pattern=r"^[sr]k_(test|live)_[0-9A-Za-z_]{8,240}\Z")]
    webhook_secrets: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^whsec_[\x21-\x7e]{16,240}\Z")], ...],
        Meta(min_length=1),
    ]
    base_url: str = OFFICIAL
