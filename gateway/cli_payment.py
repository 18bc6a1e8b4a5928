"""The commands about payments: `floodgate payment …`, and `floodgate further …` of money beside."""

import argparse
import json
from typing import Any

from gateway.settings import Settings


def add_parsers(commands: Any) -> None:
    """Add both commands with their verbs."""
    payment = commands.add_parser("payment", help="see what happened to a payment")
    verbs = payment.add_subparsers(required=True, metavar="VERB")
    show = verbs.add_parser("show", help="print its story, its entries and what came beside it")
    show.add_argument("payment", help="its id, pay_…, or one of its att_…, re_…, xtr_…")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=_payment_show)
    further = commands.add_parser(
        "further", help="see and give back what was paid beside payments and left to people"
    )
    verbs = further.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="print what waits for people, oldest first")
    listing.add_argument("--merchant", help="whose payments they are (everybody's)")
    listing.set_defaults(run=_further_list)
    back = verbs.add_parser(
        "give-back", help="give all of one back to its payer; prints the refund"
    )
    back.add_argument("transaction", help="its id, xtr_…")
    back.add_argument("--reason", help="one line for the refund, which the merchant reads, too")
    back.set_defaults(run=_further_give_back)


def _payment_show(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import payments, terminal

    told = payments.show(settings, given.payment)
    if given.json:
        print(json.dumps(told, indent=2))
    else:
        terminal.show_payment(told["payment"], told["timeline"], told["entries"])
        terminal.show_beside(told["refunds"], told["further_transactions"])
    return 0


def _further_list(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import payments

    print(json.dumps(payments.left_to_people(settings, given.merchant), indent=2))
    return 0


def _further_give_back(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import payments

    print(json.dumps(payments.give_back(settings, given.transaction, reason=given.reason)))
    return 0
