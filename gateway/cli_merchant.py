"""The commands about merchants: `floodgate merchant …`."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from gateway.domain.errors import FloodgateError
from gateway.settings import Settings

ALGORITHMS: Final = ("hmac-sha256", "ed25519", "rsa-v1_5-sha256")
LATE_SUCCESS: Final = ("review", "adopt", "refund")


def add_parsers(commands: Any) -> None:
    """Add the command with its verbs."""
    merchant = commands.add_parser(
        "merchant", help="add and list merchants, set quotas and policies, rotate and revoke keys"
    )
    verbs = merchant.add_subparsers(required=True, metavar="VERB")
    add = verbs.add_parser("add", help="add a merchant; prints its first key, once")
    add.add_argument("name")
    add.add_argument(
        "--commission-bps", type=int, default=60, help="our part, in 1/10000 of a payment (60)"
    )
    add.add_argument(
        "--late-success",
        choices=LATE_SUCCESS,
        default=LATE_SUCCESS[0],
        help="what becomes of money that comes after the end of its payment, or beside it (review)",
    )
    add.add_argument(
        "--load-test",
        action="store_true",
        help="served by the scripted acquirer alone and never paid out, for ever; with a quota",
    )
    _key(add)
    add.set_defaults(run=_merchant_add)
    verbs.add_parser("list", help="list merchants with their live keys").set_defaults(
        run=_merchant_list
    )
    accounts = verbs.add_parser("accounts", help="print a merchant's accounts and balances")
    accounts.add_argument("merchant")
    accounts.set_defaults(run=_merchant_accounts)
    entries = verbs.add_parser(
        "entries", help="print a merchant's entries, newest attempt or refund first"
    )
    entries.add_argument("merchant")
    entries.add_argument("--account", help="of this one alone, such as 2201.CNY")
    entries.add_argument("--limit", type=_positive, default=100, help="at most so many (100)")
    entries.set_defaults(run=_merchant_entries)
    late = verbs.add_parser(
        "late-success",
        help="say anew what becomes of money that comes late, or came and is looked at again",
    )
    late.add_argument("merchant")
    late.add_argument("policy", choices=LATE_SUCCESS)
    late.set_defaults(run=_merchant_late)
    limit = verbs.add_parser("limit", help="set what a merchant may ask of us; all of it at once")
    limit.add_argument("merchant")
    limit.add_argument(
        "--per-second", type=_positive, help="writes, and as many reads (no bound when left out)"
    )
    limit.add_argument(
        "--in-flight", type=_positive, help="writes at once, and as many reads (likewise)"
    )
    limit.add_argument(
        "--weight", type=_positive, default=1, help="its part of a full house, 1 to 1000 (1)"
    )
    limit.set_defaults(run=_merchant_limit)
    rotate = verbs.add_parser("rotate-key", help="a new key beside the old one")
    rotate.add_argument("merchant")
    _key(rotate)
    rotate.set_defaults(run=_merchant_rotate)
    revoke = verbs.add_parser("revoke-key", help="end a key on every worker within 5 s")
    revoke.add_argument("key_id")
    revoke.set_defaults(run=_merchant_revoke)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("a whole number from 1 on is wanted")
    return int(text)


def _key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--algorithm", choices=ALGORITHMS, default=ALGORITHMS[0])
    parser.add_argument("--public-key", type=Path, help="PEM file of an asymmetric key")


def _merchant_add(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import merchants
    from gateway.verify.ports import Terms

    made = merchants.add(
        settings,
        name=given.name,
        key=merchants.KeyWish(given.algorithm, _pem(given)),
        terms=Terms(given.commission_bps, given.late_success, given.load_test),
    )
    print(json.dumps(made))
    return 0


def _merchant_list(settings: Settings, _: argparse.Namespace) -> int:
    from gateway import merchants

    print(json.dumps(merchants.listed(settings), indent=2))
    return 0


def _merchant_accounts(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import merchants

    print(json.dumps(merchants.accounts(settings, given.merchant), indent=2))
    return 0


def _merchant_entries(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import merchants

    found = merchants.entries(settings, given.merchant, account=given.account, limit=given.limit)
    print(json.dumps(found, indent=2))
    return 0


def _merchant_late(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import merchants

    print(json.dumps(merchants.choose(settings, merchant=given.merchant, policy=given.policy)))
    return 0


def _merchant_limit(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import merchants
    from gateway.domain.stages import Quota

    quota = Quota(given.per_second, given.in_flight, given.weight)
    print(json.dumps(merchants.limit(settings, merchant=given.merchant, quota=quota)))
    return 0


def _merchant_rotate(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import merchants

    wish = merchants.KeyWish(given.algorithm, _pem(given))
    print(json.dumps(merchants.rotate(settings, merchant=given.merchant, key=wish)))
    return 0


def _merchant_revoke(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import merchants

    merchants.revoke(settings, key_id=given.key_id)
    print(json.dumps({"revoked": given.key_id}))
    return 0


def _pem(given: argparse.Namespace) -> str | None:
    if given.public_key is None:
        return None
    try:
        text: str = given.public_key.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise FloodgateError("the file of --public-key cannot be read") from None
    return text
