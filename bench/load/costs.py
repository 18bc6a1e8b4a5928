"""What a load costs: CPU of each part, its own code's and the kernel's, and what strangers take."""

import psutil
from msgspec import Struct

from bench.load.lean import Result
from bench.load.stack import Cpu, Stack


class Look(Struct, frozen=True):
    """What was used up to one moment: by part, and by everybody on the machine, in seconds."""

    parts: dict[str, Cpu]
    machine: float


class Costs(Struct, frozen=True):
    """What one stretch of load used, in CPU seconds a second; the generator is no part.

    `paid` payments were served in it, `refused` requests turned away.
    """

    seconds: float
    paid: int
    refused: int
    parts: dict[str, Cpu]
    generator: float
    neighbours: float

    @property
    def house(self) -> float:
        """What everything of ours used."""
        return sum(cpu.own + cpu.kernel for cpu in self.parts.values())

    @property
    def gateway(self) -> Cpu:
        """What the gateway used."""
        return self.parts["gateway"]

    @property
    def paid_per_cpu_second(self) -> float:
        """How many payments one CPU second of the house brought about."""
        return self.paid / self.seconds / self.house


def look(running: Stack) -> Look:
    """See what was used so far."""
    return Look(running.cpu_times(), machine_seconds())


def machine_seconds() -> float:
    """Say how many CPU seconds the machine was busy for anybody."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guests)


def between(before: Look, after: Look, result: Result, *, paid: int, refused: int) -> Costs:
    """Say what was used between two looks, during a run of the generator."""
    seconds = result.seconds
    parts = {}
    for part, cpu in after.parts.items():
        old = before.parts.get(part, Cpu(0.0, 0.0))
        parts[part] = Cpu((cpu.own - old.own) / seconds, (cpu.kernel - old.kernel) / seconds)
    generator = result.cpu_seconds / seconds
    ours = sum(cpu.own + cpu.kernel for cpu in parts.values()) + generator
    machine = (after.machine - before.machine) / seconds
    return Costs(seconds, paid, refused, parts, generator, max(0.0, machine - ours))


def refusal_microseconds(calm: Costs, flood: Costs) -> float:
    """Estimate what a refusal costs the gateway: what it used beyond its payments' usual price."""
    price = (calm.gateway.own + calm.gateway.kernel) / (calm.paid / calm.seconds)
    spent = flood.gateway.own + flood.gateway.kernel
    refused = max(1, flood.refused) / flood.seconds
    return max(0.0, spent - price * flood.paid / flood.seconds) / refused * 1e6


def told(name: str, costs: Costs) -> str:
    """Write in a line where the CPU of the machine went."""
    parts = "   ".join(
        f"{part} {cpu.own + cpu.kernel:.2f} ({cpu.kernel:.2f} kernel)"
        if part == "gateway"
        else f"{part} {cpu.own + cpu.kernel:.2f}"
        for part, cpu in costs.parts.items()
        if cpu.own + cpu.kernel >= 0.005
    )
    return (
        f"{name}: {parts}   generator {costs.generator:.2f}   others {costs.neighbours:.2f}"
        f"   = {costs.house + costs.generator + costs.neighbours:.2f} cores"
    )
