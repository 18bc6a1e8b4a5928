"""The commands of what operators decide: `floodgate fees …` and `floodgate routing …`."""

import argparse
import json
from pathlib import Path
from typing import Any

from gateway.settings import Settings


def add_parsers(commands: Any) -> None:
    """Add both commands with their verbs."""
    _fees_parser(commands)
    _routing_parser(commands)


def _fees_parser(commands: Any) -> None:
    fees = commands.add_parser("fees", help="say what merchants pay us and what channels keep")
    verbs = fees.add_subparsers(required=True, metavar="VERB")
    put = verbs.add_parser("put", help="add a version of a fee plan; the past stays as it is")
    put.add_argument("file", type=Path, help="TOML or JSON; docs/routing.md shows one")
    put.add_argument("--merchant", help="whose plan it is (everybody's)")
    put.add_argument("--effective-at", help="RFC 3339 time from which it holds (now)")
    put.set_defaults(run=_fees_put)
    verbs.add_parser("show", help="print every version").set_defaults(run=_fees_show)


def _routing_parser(commands: Any) -> None:
    routing = commands.add_parser("routing", help="say how channels are chosen, and see why")
    verbs = routing.add_subparsers(required=True, metavar="VERB")
    put = verbs.add_parser("put", help="put a configuration in force on every worker within 5 s")
    put.add_argument("file", type=Path, help="TOML or JSON; docs/routing.md shows one")
    put.add_argument("--note", default="", help="why, for the history")
    put.set_defaults(run=_routing_put)
    show = verbs.add_parser("show", help="print the configuration in force")
    show.add_argument("version", type=int, nargs="?", help="or an earlier one")
    show.set_defaults(run=_routing_show)
    verbs.add_parser("history", help="print every version").set_defaults(run=_routing_history)
    back = verbs.add_parser("rollback", help="put an earlier version in force again")
    back.add_argument("version", type=int)
    back.set_defaults(run=_routing_rollback)
    simulate = verbs.add_parser("simulate", help="say through whom a payment would go, and why")
    simulate.add_argument("file", type=Path, help="the payment, as the body of POST /v1/payments")
    simulate.add_argument("--merchant", required=True, help="whose payment it would be")
    simulate.add_argument("--config", type=Path, help="a document to try (the one in force)")
    simulate.set_defaults(run=_routing_simulate)
    replay = verbs.add_parser("replay", help="decide a past payment again, byte by byte")
    replay.add_argument("payment")
    replay.set_defaults(run=_routing_replay)


def _fees_put(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import policies

    added = policies.put_fees(
        settings, given.file, merchant=given.merchant, effective_at=given.effective_at
    )
    print(json.dumps(added))
    return 0


def _fees_show(settings: Settings, _: argparse.Namespace) -> int:
    from gateway import policies

    print(json.dumps(policies.fees(settings), indent=2))
    return 0


def _routing_put(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import policies

    print(json.dumps(policies.put_routing(settings, given.file, note=given.note)))
    return 0


def _routing_show(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import policies

    print(json.dumps(policies.routing(settings, given.version), indent=2))
    return 0


def _routing_history(settings: Settings, _: argparse.Namespace) -> int:
    from gateway import policies

    print(json.dumps(policies.routing_history(settings), indent=2))
    return 0


def _routing_rollback(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import policies

    print(json.dumps(policies.roll_back(settings, given.version)))
    return 0


def _routing_simulate(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import policies

    print(json.dumps(policies.simulate(settings, given.file, given.merchant, given.config)))
    return 0


def _routing_replay(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import policies

    replayed = policies.replay_payment(settings, given.payment)
    print(json.dumps(replayed, indent=2))
    return 0 if all(one["identical"] for one in replayed) else 1
