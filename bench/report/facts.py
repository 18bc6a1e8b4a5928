"""What a reader must know to believe a figure: machine, code, versions, durability, settings."""

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import psutil

from gateway.settings import read_settings

_ASKED = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


async def facts_of(database_url: str) -> dict[str, str]:
    """Look at this machine, this code and this database."""
    connection = await asyncpg.connect(database_url)
    try:
        version = await connection.fetchval("SHOW server_version")
        asked = {name: await connection.fetchval(f"SHOW {name}") for name in _ASKED}
    finally:
        await connection.close()
    told = f"{version}, " + ", ".join(f"{key} {value}" for key, value in asked.items())
    return {**machine_facts(), "PostgreSQL": told}


def machine_facts() -> dict[str, str]:
    """Look at this machine and this code alone."""
    return {
        "commit": commit(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load of the machine before": f"{os.getloadavg()[0]:.1f}",
    }


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the settings that a gateway with this environment sees, secrets masked, none empty."""
    seen = read_settings(environment).masked().items()
    return {name: str(value) for name, value in seen if value}


def commit() -> str:
    """Name the commit, and say when files differ from it."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(words, cwd=here, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def processor() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
