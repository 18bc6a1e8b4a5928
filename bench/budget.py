"""What each step of a payment may cost, in microseconds of one gateway worker's CPU.

A bare aiohttp `web.Server` echo costs 96 us on the machine of the first measurements (two noisy
cores, Python 3.11).  Payments shall run at 0.35 of its rate, so one may cost 96 / 0.35 = 274 us
there.  Elsewhere the numbers are scaled by how fast the calibration loop runs; see `calibration`.
PostgreSQL, Redis and the acquirer burn CPU of their own, which is not in here.
"""

import hashlib
import time
from typing import Final

ECHO_US: Final = 96.0
SHARE_OF_ECHO: Final = 0.35

BUDGET_US: Final = {
    "edge": 96.0,  # HTTP in and out by aiohttp; `make capacity` measures it
    "verify": 4.0,
    "match": 6.0,  # most of it is reading the body strictly
    "claim and settle": 20.0,
    "logic": 45.0,  # routing, rules, encoding, tasks and futures between the steps
    "open": 17.0,
    "post": 18.0,
    "outbound": 60.0,
}
# The whole pipeline without sockets of ours is everything else.
PIPELINE_US: Final = sum(BUDGET_US.values()) - BUDGET_US["edge"] - BUDGET_US["outbound"]

# What the calibration loop takes on the machine of the budget.
CALIBRATION_US: Final = 1000.0
_TIMES: Final = 9

assert sum(BUDGET_US.values()) <= ECHO_US / SHARE_OF_ECHO, "the steps fit into the whole"


def calibrate() -> bytes:
    """Do what a payment does much of: hash, build and read small objects, call small functions."""
    digest = b""
    for number in range(720):
        row = {"number": number, "digest": digest, "text": f"payment {number}"}
        digest = hashlib.sha256(str(sorted(row)).encode() + digest).digest()[:16]
    return digest


def calibration() -> float:
    """Say how many times longer than on the budget's machine things take here and now."""
    taken = []
    for _ in range(_TIMES):
        began = time.process_time()
        calibrate()
        taken.append(time.process_time() - began)
    return sorted(taken)[_TIMES // 2] * 1e6 / CALIBRATION_US
