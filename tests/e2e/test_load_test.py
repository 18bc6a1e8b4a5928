"""A merchant that only tests: the same code, the scripted acquirer alone, books that balance."""

from dataclasses import replace

import msgspec

from tests.e2e.harness import System, free_port
from tests.e2e.idempotency_kit import Witness


async def test_where_money_moves_only_load_tests_are_played(
    system: System, witness: Witness
) -> None:
    await system.ready()
    settings = msgspec.structs.replace(system.settings, port=free_port(), simulator_trades=False)
    base_url = f"http://127.0.0.1:{settings.port}"
    async with system.shop("Tester", load_test=True) as tester, system.shop("Trader") as trader:
        system.start_worker("strict", settings)
        await system.ready(base_url)
        in_development = await trader.pay()
        refused = await replace(trader, base_url=base_url).pay()
        played = await replace(tester, base_url=base_url).pay()
        declined = await replace(tester, base_url=base_url).pay("tok_declined")
        system.kill("strict")
        assert (in_development.status, in_development.json["status"]) == (201, "succeeded")
        assert (refused.status, refused.json["code"]) == (422, "no_channel")
        assert "simulator: purpose" in refused.json["detail"]
        assert [reply.json["status"] for reply in (played, declined)] == ["succeeded", "failed"]
        marked = await witness.database.fetch("SELECT name FROM merchant WHERE load_test")
        assert [row["name"] for row in marked] == ["Tester"]
        await witness.proves(tester, payments=2)
