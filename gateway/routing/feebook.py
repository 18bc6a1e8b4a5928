"""The fee plans in memory: on which terms a payment is routed, without asking anybody."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

from msgspec import Struct

from gateway.domain import limits
from gateway.domain.fees import Rate, Terms, usual_terms
from gateway.domain.identity import PLATFORM
from gateway.domain.stages import Merchant
from gateway.drivers.clock import Clock
from gateway.drivers.reloading import Reloading
from gateway.routing.plans import RateLine, StoredPlan, in_force, rate_of
from gateway.routing.ports import PlanStore

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class _Case(Struct, frozen=True, gc=False):
    merchant: Merchant
    method: str
    currency: str
    channel: str


class FeeBook(Reloading):
    """Terms by merchant, method, currency and channel; worked out once and kept until they change.

    A merchant's own plan goes before everybody's; where neither has a rate, the commission that
    the merchant was added with applies, and the channel's usual fee.
    """

    what: ClassVar[str] = "fee plans"

    def __init__(self, store: PlanStore, clock: Clock) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._stored: tuple[StoredPlan, ...] = ()
        self._plans: dict[tuple[str, int, str | None], list[StoredPlan]] = {}
        self._volumes: Mapping[tuple[str, str], int] = {}
        self._kept: dict[_Case, Terms] = {}
        self._kept_until = _NEVER
        self._volumes_until = self._clock.now()

    async def refresh(self) -> None:
        """Read every plan, and from time to time the volumes that tiers hang on."""
        stored = tuple(await self._store.plans())
        if stored != self._stored:
            plans: dict[tuple[str, int, str | None], list[StoredPlan]] = {}
            for one in stored:
                key = (one.plan.kind, one.merchant, one.plan.channel)
                plans.setdefault(key, []).append(one)
            self._stored, self._plans = stored, plans
            self._forget(self._clock.now())
        await self._look_at_volumes()

    async def _look_at_volumes(self) -> None:
        now = self._clock.now()
        has_tiers = any(line.tiers for one in self._stored for line in one.plan.rates)
        if has_tiers and now >= self._volumes_until:
            self._volumes = await self._store.volumes(now.date().replace(day=1))
            self._volumes_until = now + timedelta(seconds=limits.VOLUME_KEEP_SECONDS)
            self._forget(now)

    def terms(self, merchant: Merchant, method: str, currency: str, channel: str) -> Terms:
        """Give the terms of a payment that is routed now to this channel."""
        self.edition()
        if len(self._kept) > limits.TERMS_KEPT_MAX:
            self._forget(self._clock.now())
        case = _Case(merchant, method, currency, channel)
        kept = self._kept.get(case)
        if kept is None:
            kept = self._kept[case] = self._work_out(case)
        return kept

    def edition(self) -> object:
        """Give what stands for all terms in force now: another object once any may have changed."""
        if self._kept_until is not _NEVER and self._clock.now() >= self._kept_until:
            self._forget(self._clock.now())
        return self._kept

    def _forget(self, now: datetime) -> None:
        """Forget what was worked out: it holds until the next plan comes into force."""
        self._kept = {}
        to_come = [one.effective_at for one in self._stored if one.effective_at > now]
        self._kept_until = min(to_come, default=_NEVER)

    def _work_out(self, case: _Case) -> Terms:
        usual = usual_terms(case.merchant.commission_bps, case.channel)
        commission = self._find("commission", None, case)
        channel = self._find("channel", case.channel, case)
        return Terms(
            rate_of(*commission, 0) if commission is not None else usual.commission,
            self._at_volume(channel, case) if channel is not None else usual.channel,
            channel[0].plan.returned if channel is not None else True,
        )

    def _at_volume(self, found: tuple[StoredPlan, RateLine], case: _Case) -> Rate:
        return rate_of(*found, self._volumes.get((case.channel, case.currency), 0))

    def _find(
        self, kind: str, channel: str | None, case: _Case
    ) -> tuple[StoredPlan, RateLine] | None:
        now = self._clock.now()
        for owner in (case.merchant.number, PLATFORM):
            plans = self._plans.get((kind, owner, channel), ())
            found = in_force(plans, now, case.method, case.currency)
            if found is not None:
                return found
        return None
