"""The merchants of a fault run: they live their stories, insist on answers and write all down."""

import asyncio
import contextlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from tests.e2e.harness import Reply, Shop, order
from tests.faults.plan import Act, Story

_ANSWER_SECONDS: Final = 8.0
_IMPATIENT_SECONDS: Final = 0.05
_SETTLING_SECONDS: Final = 4.0
_OPEN: Final = ("processing", "requires_action")

# Nothing is settled by these: the same request is to be sent again with the same key.
_TRY_AGAIN: Final = (429, 500, 503)


@dataclass
class Asked:
    """One idempotency key: what was asked with it, and every answer that ever came."""

    story: Story
    shop: Shop
    path: str
    body: bytes
    key: str
    act: Act | None = None
    answers: list[Reply] = field(default_factory=list)

    @property
    def settled(self) -> list[Reply]:
        """The answers that say what became of it."""
        return [reply for reply in self.answers if is_settled(reply)]

    @property
    def resource(self) -> str | None:
        """The id of what it made or changed, once that was answered."""
        shown = (reply.json["id"] for reply in self.answers if reply.status in {200, 201})
        return next(shown, None)


@dataclass
class Diary:
    """Everything the merchants asked and heard: what the auditor will hold us to."""

    asked: dict[str, Asked] = field(default_factory=dict)
    seen: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    def heard(self, asked: Asked, reply: Reply) -> None:
        """Write an answer down, and the payment or refund that it shows."""
        asked.answers.append(reply)
        if reply.status in {200, 201}:
            self.saw(reply.json)

    def saw(self, resource: dict[str, Any]) -> None:
        """Write down how a payment or refund was shown."""
        self.seen.setdefault(resource["id"], []).append(resource)


def is_settled(reply: Reply) -> bool:
    """Tell whether an answer is one: the others ask to be sent the same again."""
    if reply.status in _TRY_AGAIN:
        return False
    return reply.status != 409 or reply.json["code"] != "request_in_progress"


class Merchants:
    """All merchants, and the payers of their QR codes."""

    def __init__(
        self, shops: Sequence[Shop], gateways: Sequence[str], acquirer: str, seed: int
    ) -> None:
        self.diary = Diary()
        self.shops = shops
        self._gateways = gateways
        self._acquirer = acquirer
        self._codes: dict[str, str] = {}
        self._chance = random.Random(f"{seed} merchants")

    async def insist(self, asked: Asked, *, impatient: bool = False) -> Reply:
        """Send one request until it is answered, by whichever gateway, with one key.

        Whoever is told to come again waits for as long as he is told: else a full house stays full.
        """
        seconds = _IMPATIENT_SECONDS if impatient else _ANSWER_SECONDS
        while True:
            shop, again = replace(asked.shop, base_url=self._chance.choice(self._gateways)), 0
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(seconds):
                    reply = await shop.call("POST", asked.path, asked.body, key=asked.key)
                self.diary.heard(asked, reply)
                if is_settled(reply):
                    return reply
                again = int(reply.headers.get("Retry-After", 0))
            seconds = _ANSWER_SECONDS
            await asyncio.sleep(again + self._chance.uniform(0.1, 0.5))

    async def look(self, shop: Shop, path: str) -> Any:
        """Read until it is answered."""
        while True:
            asking = replace(shop, base_url=self._chance.choice(self._gateways))
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    reply = await asking.call("GET", path)
                if reply.status == 200:
                    return reply.json
            await asyncio.sleep(self._chance.uniform(0.1, 0.3))

    async def pages(self, shop: Shop, path: str, cursor: str) -> list[dict[str, Any]]:
        """Read a list to its end; `cursor` is the parameter that asks for the next page."""
        page = await self.look(shop, path)
        items: list[dict[str, Any]] = page["data"]
        while page["next_cursor"] is not None:
            page = await self.look(shop, f"{path}&{cursor}={page['next_cursor']}")
            items += page["data"]
        return items

    async def live(self, story: Story, start: float) -> None:
        """Live one story from its hour on."""
        await asyncio.sleep(start + story.at - asyncio.get_running_loop().time())
        create = await self._order(story)
        for scene in story.scenes:
            await asyncio.gather(*(self._play(create, act) for act in scene))

    async def _order(self, story: Story) -> Asked:
        """Ask for the story's payment until there is one.

        Where everything was down until the order's time was over nothing was begun: whoever still
        wants it orders again, with more time.
        """
        again = 0
        while True:
            name = f"order-{story.number}" + f"-{again}" * bool(again)
            ends = datetime.now(UTC) + timedelta(seconds=story.open_seconds * (1 + again))
            body = order(
                story.token,
                amount=story.amount,
                reference=name,
                capture="manual" if story.manual else "automatic",
                expires_at=ends.isoformat(),
            )
            create = self._ask(story, self.shops[story.shop], "/v1/payments", body, name)
            impatient = (story.is_impatient and twin == 0 for twin in range(story.twins))
            await asyncio.gather(*(self.insist(create, impatient=each) for each in impatient))
            if create.resource is not None:
                return create
            again += 1

    def _ask(self, story: Story, shop: Shop, path: str, body: Any, key: str) -> Asked:
        asked = Asked(story, shop, path, json.dumps(body).encode(), key)
        return self.diary.asked.setdefault(key, asked)

    async def _play(self, create: Asked, act: Act) -> None:
        story, shop, path = create.story, create.shop, f"/v1/payments/{create.resource}"
        match act.verb:
            case "settle":
                await self._settle(shop, path)
            case "pay":
                await self._pay(shop, path)
            case "pay again":
                await self._pay_again(shop, path)
            case "reuse":
                await self._misuse(create, json.loads(create.body) | {"amount": 7}, create.key)
            case "reference":
                ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
                body = json.loads(create.body) | {"expires_at": ends}
                await self._misuse(create, body, f"{create.key}-again")
            case verb:
                key = f"{create.key}-{verb}-{len(self.diary.asked)}"
                body = {} if act.amount is None else {"amount": act.amount}
                if verb == "refund":
                    body["reference"] = key
                    path = f"{path}/refunds"
                else:
                    path = f"{path}/{verb}"
                asked = self._ask(story, shop, path, body, key)
                asked.act = act
                await self.insist(asked)

    async def _settle(self, shop: Shop, path: str) -> None:
        """Wait a while for the payment to be settled, as a shop's page does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLING_SECONDS):
                while True:
                    payment = await self.look(shop, path)
                    self.diary.saw(payment)
                    if payment["status"] not in _OPEN:
                        return
                    await asyncio.sleep(0.3)

    async def _pay(self, shop: Shop, path: str) -> None:
        """Scan the QR code, once it is shown, until the acquirer answers."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLING_SECONDS):
                while True:
                    action = (await self.look(shop, path))["next_action"]
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        if action is not None:
                            self._codes[path] = f"{self._acquirer}/pay/{action['qr']}"
                            async with shop.session.post(self._codes[path]):
                                return
                    await asyncio.sleep(0.2)

    async def _pay_again(self, shop: Shop, path: str) -> None:
        """Pay what is paid already, by the code that was scanned before; nobody tries that hard."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            if path in self._codes:
                silently = self._chance.choice(("", "&silently=1"))
                async with shop.session.post(f"{self._codes[path]}?again=1{silently}"):
                    return

    async def _misuse(self, create: Asked, body: dict[str, Any], key: str) -> None:
        """Use a key for another request, or a reference for another payment: both are refused."""
        misused = Asked(create.story, create.shop, create.path, json.dumps(body).encode(), key)
        said = (await self.insist(misused)).json
        same_key = key == create.key
        expected = "idempotency_key_reused" if same_key else "reference_exists"
        if said.get("code") != expected:
            self.diary.surprises.append(f"{create.key} misused with {key}: {said}")
