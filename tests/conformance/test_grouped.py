"""PostgreSQL keeps its laws where each claim and settlement is that of a group of workers."""

from collections.abc import Sequence
from typing import Any

import pytest

from tasker.model import ClaimResult, Outcome, Settlement, SettleResult, WorkerId
from tasker.store.postgres import claim_cursor
from tasker.store.postgres.hotpath import HotPath
from tasker.testing.postgres import SharedSchemaConnection
from tasker.testing.store_suite import (
    PostgresUnderTest,
    StoreUnderTest,
    TestClaimingFreedSteps,
    TestClaims,
    TestFairShares,
    TestFence,
    TestJoins,
    TestOutbox,
    TestParentArrivals,
)

__all__ = [
    "TestClaimingFreedSteps",
    "TestClaims",
    "TestFairShares",
    "TestFence",
    "TestJoins",
    "TestOutbox",
    "TestParentArrivals",
]


async def settle_in_group(
    store: HotPath, worker: WorkerId, outcomes: Sequence[Outcome], **options: Any
) -> SettleResult:
    """Settle outcomes as a group of one worker."""
    options.pop("relaxed", None)
    if not outcomes:
        return SettleResult((), (), ())
    [settled] = await store.settle_for_workers([Settlement(worker, outcomes, **options)])
    return settled


async def claim_in_group(store: HotPath, worker: WorkerId, limit: int) -> ClaimResult:
    """Claim as a group of one worker."""
    claims, next_due = await store.claim_for_workers({worker: limit})
    return ClaimResult(claims.get(worker, ()), next_due)


@pytest.fixture
def subject(
    postgres_store_url: str,
    postgres_connection: SharedSchemaConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> StoreUnderTest:
    """An empty database, in which groups claim all steps and settle all outcomes."""
    monkeypatch.setattr(claim_cursor, "RESTART_AFTER", 0.0)
    monkeypatch.setattr(claim_cursor, "RESTART_COST", 0.0)
    monkeypatch.setattr(HotPath, "claim", claim_in_group)
    monkeypatch.setattr(HotPath, "settle", settle_in_group)
    return PostgresUnderTest(postgres_store_url, postgres_connection)
