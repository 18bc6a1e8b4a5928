"""What can be measured, in one place; Prometheus reads it at `/metrics`.

With several workers on one port each writes into its own file of a shared folder, and whichever
worker is asked adds them up.
"""

from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

REQUESTS: Final = Counter(
    "floodgate_requests", "Requests by operation and HTTP status", ["operation", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "floodgate_request_seconds",
    "Time from the body's last byte to the answer",
    ["operation"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_ITEMS: Final = Histogram(
    "floodgate_batch_items",
    "Items that shared one flush",
    ["queue"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)


def exposition(shared: Path | None) -> bytes:
    """Write every metric in Prometheus' text format; `shared` is the workers' common folder."""
    if shared is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(shared))  # type: ignore[no-untyped-call]
    return generate_latest(registry)
