"""Counts are handed over, added up over processes, and outlive them; gauges do not."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

# Counts, hands over and then stays or goes, as a worker does.
WORKER = """
import sys
from gateway.drivers import telemetry

for seconds in (0.001, 0.002, 0.0021, 99):
    telemetry.count_request("POST payments", 201, seconds)
telemetry.batch_items("open")(7)
telemetry.QUEUE_ITEMS.labels("open").set(3)
telemetry.CHANNEL_WELL.labels("a", "").set("sick" not in sys.argv)
telemetry.CHANNEL_BAD_SHARE.labels("a", "", "error", 60).set(9000 * ("sick" in sys.argv))
telemetry.CHANNEL_USUAL_SHARE.labels("a", "").set(100 * ("sick" in sys.argv))
telemetry.hand_over()
telemetry.count_request("POST payments", 409, 0.5)
telemetry.hand_over()
print("told", flush=True)
sys.stdin.read()
"""
READER = """
import sys
from pathlib import Path
from gateway.drivers import telemetry

telemetry.count_request("GET payments", 200, 0.01)
sys.stdout.buffer.write(telemetry.exposition(Path(sys.argv[1])))
"""


def started(code: str, shared: Path, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", code, str(shared), *words],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def read(shared: Path) -> dict[str, float]:
    """Ask one more worker for the metrics of all; by name and labels."""
    told, _ = started(READER, shared).communicate(timeout=20)
    return {
        " ".join(
            [sample.name, *(sample.labels[name] for name in sorted(sample.labels))]
        ): sample.value
        for family in text_string_to_metric_families(told.decode())
        for sample in family.samples
    }


def test_workers_are_added_up_and_the_dead_leave_their_counts(tmp_path: Path) -> None:
    stays, goes = started(WORKER, tmp_path), started(WORKER, tmp_path, "sick")
    for worker in (stays, goes):
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"told\n"
    together = read(tmp_path)
    goes.kill()
    goes.wait(20)
    left = read(tmp_path)
    stays.communicate(timeout=20)
    for seen in (together, left):
        assert seen["floodgate_requests_total POST payments 201"] == 8
        assert seen["floodgate_requests_total POST payments 409"] == 2
        seconds = "floodgate_request_seconds"
        assert seen[f"{seconds}_bucket 0.002 POST payments"] == 4
        assert seen[f"{seconds}_bucket 0.005 POST payments"] == 6
        assert seen[f"{seconds}_bucket 10.0 POST payments"] == 8
        assert seen[f"{seconds}_count POST payments"] == 10
        assert round(seen[f"{seconds}_sum POST payments"], 4) == 2 * 99.5051
        assert seen["floodgate_batch_items_bucket 10.0 open"] == 2
    assert together["floodgate_requests_total GET payments 200"] == 1
    assert left["floodgate_requests_total GET payments 200"] == 2
    assert together["floodgate_queue_items open"] == 6
    assert left["floodgate_queue_items open"] == 3
    for seen, word in ((together, 1), (left, 0)):
        assert seen["floodgate_channel_well  a"] == 1 - word
        assert seen["floodgate_channel_bad_share_bps  a error 60"] == 9000 * word
        assert seen["floodgate_channel_usual_bad_share_bps  a"] == 100 * word
