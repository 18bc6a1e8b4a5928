"""The driver on a real PostgreSQL: what it gets over, and what it says of what it does not."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit, parse_qs

import asyncpg
import pytest

from gateway.domain.errors import StatementRefused
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from tests.conftest import Database

CANARY = "s3cret"
ADD = "INSERT INTO merchant (id, public_id, name, commission_bps, late_success, created_at)"
ADD_SHOP = f"{ADD} VALUES ($1, $2, $3, 60, 'review', now())"


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    postgres = Postgres(database.app_url, connections=2)
    await postgres.open()
    yield postgres
    await postgres.close()
