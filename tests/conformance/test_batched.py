"""PostgreSQL keeps the laws of creating and settling where everything is batched.

Elsewhere a task or a success that comes alone has a statement of its own.
"""

import pytest

from tasker.store.postgres import claim_cursor
from tasker.store.postgres.driver import Driver
from tasker.testing.postgres import SharedSchemaConnection
from tasker.testing.store_suite import (
    PostgresUnderTest,
    StoreUnderTest,
    TestClaimingFreedSteps,
    TestClaims,
    TestCreation,
    TestCreationWithClaims,
    TestDeadlines,
    TestFailedTasks,
    TestFence,
    TestIdempotencyKeys,
    TestJoins,
    TestKeysOfOpenTasks,
    TestMixedEffects,
    TestParking,
    TestReadingTasks,
    TestRetries,
    TestSettling,
    TestWaking,
)

__all__ = [
    "TestClaimingFreedSteps",
    "TestClaims",
    "TestCreation",
    "TestCreationWithClaims",
    "TestDeadlines",
    "TestFailedTasks",
    "TestFence",
    "TestIdempotencyKeys",
    "TestJoins",
    "TestKeysOfOpenTasks",
    "TestMixedEffects",
    "TestParking",
    "TestReadingTasks",
    "TestRetries",
    "TestSettling",
    "TestWaking",
]


@pytest.fixture
def subject(
    postgres_store_url: str,
    postgres_connection: SharedSchemaConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> StoreUnderTest:
    """An empty database, in which nothing is stored by the statements for one alone."""
    monkeypatch.setattr(Driver, "SCALAR", False)
    monkeypatch.setattr(claim_cursor, "RESTART_AFTER", 0.0)
    monkeypatch.setattr(claim_cursor, "RESTART_COST", 0.0)
    return PostgresUnderTest(postgres_store_url, postgres_connection)
