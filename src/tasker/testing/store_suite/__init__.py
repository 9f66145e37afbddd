"""The tests that every store must pass, for stores of all kinds: see docs/testing.md.

    from tasker.testing.store_suite import *  # test classes

    @pytest.fixture
    def subject() -> StoreUnderTest:
        return MyStoreUnderTest()

Needs pytest and anyio. Tests of what a store cannot do, according to its `StoreUnderTest`, are
skipped.
"""

from tasker.testing.store_suite.analytics import (
    TestBottlenecks,
    TestFailedSteps,
    TestPerformance,
    TestUsualDurations,
)
from tasker.testing.store_suite.approvals import TestRetirement, TestVersionReview
from tasker.testing.store_suite.arrivals import (
    TestEagerRules,
    TestEngineQueue,
    TestParentArrivals,
    TestParentArrivalsWithdrawn,
)
from tasker.testing.store_suite.attached import TestAttachedTasks
from tasker.testing.store_suite.bulk import TestBulkOperations
from tasker.testing.store_suite.claims import TestClaims, TestFairShares
from tasker.testing.store_suite.compensating import (
    TestCompensation,
    TestCompensationOfCancelledTasks,
    TestFailedCompensation,
)
from tasker.testing.store_suite.creation import (
    TestCallersTransaction,
    TestCreation,
    TestCreationWithClaims,
)
from tasker.testing.store_suite.decisions import TestApprovalDecisions, TestExternalCompletions
from tasker.testing.store_suite.durable_calls import TestDurableCalls, TestSleeping
from tasker.testing.store_suite.events import (
    TestDeliveries,
    TestOutbox,
    TestTaskEvents,
    TestWebhooks,
)
from tasker.testing.store_suite.failing import (
    TestCheckpoints,
    TestDeadlines,
    TestFailedTasks,
    TestRetries,
)
from tasker.testing.store_suite.hooks import TestProviderHooks
from tasker.testing.store_suite.joins import TestJoins
from tasker.testing.store_suite.keys import (
    TestIdempotencyKeys,
    TestKeysOfOpenTasks,
    TestReplacingKeyHolders,
)
from tasker.testing.store_suite.large_tasks import (
    TestActionsInPages,
    TestEndingInPages,
    TestReadingManySteps,
)
from tasker.testing.store_suite.leases import TestLeases, TestRevokedClaims, TestWorkerList
from tasker.testing.store_suite.limits import (
    TestConcurrency,
    TestLimitSettings,
    TestRates,
    TestTwoLimits,
)
from tasker.testing.store_suite.mixed import TestMixedEffects
from tasker.testing.store_suite.operations import TestOperatorActions
from tasker.testing.store_suite.operators import (
    TestCancelling,
    TestEtags,
    TestResolving,
    TestRetrying,
)
from tasker.testing.store_suite.parking import TestParking
from tasker.testing.store_suite.pausing import (
    TestPausedTasks,
    TestPausedTemplates,
    TestPausing,
)
from tasker.testing.store_suite.places import TestOpenTaskBounds
from tasker.testing.store_suite.pruning import TestPruning
from tasker.testing.store_suite.queue_timeouts import TestQueueTimeouts
from tasker.testing.store_suite.reading import (
    TestCurrentSteps,
    TestListing,
    TestReadingSteps,
    TestReadingTasks,
)
from tasker.testing.store_suite.schedules import TestDeclaredSchedules, TestSchedules, TestTicks
from tasker.testing.store_suite.schema import TestSchema
from tasker.testing.store_suite.settling import (
    TestClaimingFreedSteps,
    TestFence,
    TestGroupSettlement,
    TestSettling,
)
from tasker.testing.store_suite.signals import TestBroadcasts, TestSignals, TestWaiting
from tasker.testing.store_suite.spawning import TestSpawning
from tasker.testing.store_suite.step_logs import TestStepLogs
from tasker.testing.store_suite.subject import PostgresUnderTest, SqliteUnderTest, StoreUnderTest
from tasker.testing.store_suite.teams import TestApiKeys, TestPolicies, TestSessions, TestTeamAudit
from tasker.testing.store_suite.templates import TestTemplates
from tasker.testing.store_suite.values import TestValues
from tasker.testing.store_suite.waking import TestWaking

__all__ = [
    "PostgresUnderTest",
    "SqliteUnderTest",
    "StoreUnderTest",
    "TestActionsInPages",
    "TestApiKeys",
    "TestApprovalDecisions",
    "TestAttachedTasks",
    "TestBottlenecks",
    "TestBroadcasts",
    "TestBulkOperations",
    "TestCallersTransaction",
    "TestCancelling",
    "TestCheckpoints",
    "TestClaimingFreedSteps",
    "TestClaims",
    "TestCompensation",
    "TestCompensationOfCancelledTasks",
    "TestConcurrency",
    "TestCreation",
    "TestCreationWithClaims",
    "TestCurrentSteps",
    "TestDeadlines",
    "TestDeclaredSchedules",
    "TestDeliveries",
    "TestDurableCalls",
    "TestEagerRules",
    "TestEndingInPages",
    "TestEngineQueue",
    "TestEtags",
    "TestExternalCompletions",
    "TestFailedCompensation",
    "TestFailedSteps",
    "TestFailedTasks",
    "TestFairShares",
    "TestFence",
    "TestGroupSettlement",
    "TestIdempotencyKeys",
    "TestJoins",
    "TestKeysOfOpenTasks",
    "TestLeases",
    "TestLimitSettings",
    "TestListing",
    "TestMixedEffects",
    "TestOpenTaskBounds",
    "TestOperatorActions",
    "TestOutbox",
    "TestParentArrivals",
    "TestParentArrivalsWithdrawn",
    "TestParking",
    "TestPausedTasks",
    "TestPausedTemplates",
    "TestPausing",
    "TestPerformance",
    "TestPolicies",
    "TestProviderHooks",
    "TestPruning",
    "TestQueueTimeouts",
    "TestRates",
    "TestReadingManySteps",
    "TestReadingSteps",
    "TestReadingTasks",
    "TestReplacingKeyHolders",
    "TestResolving",
    "TestRetirement",
    "TestRetries",
    "TestRetrying",
    "TestRevokedClaims",
    "TestSchedules",
    "TestSchema",
    "TestSessions",
    "TestSettling",
    "TestSignals",
    "TestSleeping",
    "TestSpawning",
    "TestStepLogs",
    "TestTaskEvents",
    "TestTeamAudit",
    "TestTemplates",
    "TestTicks",
    "TestTwoLimits",
    "TestUsualDurations",
    "TestValues",
    "TestVersionReview",
    "TestWaiting",
    "TestWaking",
    "TestWebhooks",
    "TestWorkerList",
]
