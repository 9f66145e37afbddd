"""Template versions that need an approval, and versions that are retired."""

import asyncio
from dataclasses import replace

import pytest

from tasker.errors import (
    IdempotencyConflict,
    InvalidInput,
    NotAnApprover,
    NotFound,
    TaskRegistrationError,
    TemplateNotApproved,
    WrongStatus,
)
from tasker.model import StepStatus, Template, TemplateName, TemplateStatus
from tasker.store.protocol import AuditNote, RegisterTemplateResult, Store
from tasker.teams.model import NamespacePolicy
from tasker.testing.store_suite.factories import (
    ManualWorker,
    StoreTests,
    create_task,
    make_new_task,
    make_template,
    one_step_template,
    only_step_status,
)

SARAH, MARCUS, JAKE = "sarah@growthcorp.com", "marcus@growthcorp.com", "jake@growthcorp.com"
POLICY = NamespacePolicy(
    namespace="suite",
    owner_team="platform",
    contact_email="platform-team@growthcorp.com",
    description="Cross-team workflows and utilities",
    requires_approval=True,
    approvers=(SARAH, MARCUS),
    http_hosts=("api.example.com", "*.example.net:8443"),
)
FREE = replace(POLICY, requires_approval=False, approvers=())
CHANGED = make_template("one", only="", extra="")
APPROVED, PENDING = TemplateStatus.APPROVED, TemplateStatus.PENDING_REVIEW
REJECTED, RETIRED = TemplateStatus.REJECTED, TemplateStatus.RETIRED


def make_audit_note(actor: str, reason: str = "") -> AuditNote:
    return AuditNote(actor=actor, reason=reason)


async def declare_policy(store: Store, policy: NamespacePolicy = POLICY) -> None:
    """Declare a policy."""
    await store.put_policy(policy, make_audit_note("root"))


async def propose_template(
    store: Store, template: Template, by: str = JAKE
) -> RegisterTemplateResult:
    """Register a template, which is then pending if the policy requires a review."""
    return await store.register_template(template, registered_by=by)


async def approve_template(store: Store, template: Template, by: str = SARAH) -> TemplateStatus:
    """Approve the pending version of a template."""
    act = AuditNote(actor=by, reason="fine")
    return (await store.review_template(template.key, approve=True, act=act)).status


async def reject_template(store: Store, template: Template, by: str = SARAH) -> TemplateStatus:
    """Reject the pending version of a template."""
    act = AuditNote(actor=by, reason="no fraud check")
    return (await store.review_template(template.key, approve=False, act=act)).status


async def list_version_statuses(store: Store) -> list[TemplateStatus]:
    """List the statuses of all versions."""
    return [version.status for version in await store.list_template_versions()]


class TestVersionReview(StoreTests):
    async def test_without_a_policy_a_template_accepts_tasks_immediately(
        self, store: Store
    ) -> None:
        """The same holds under a policy that requires no review."""
        assert APPROVED is (await propose_template(store, one_step_template())).stored.status
        await declare_policy(store, FREE)
        assert APPROVED is (await propose_template(store, make_template("two", a=""))).stored.status

    async def test_a_new_version_is_pending_if_the_policy_requires_review(
        self, store: Store
    ) -> None:
        """It is stored, but no name resolves to it, and it accepts no tasks."""
        await declare_policy(store)

        registered = await propose_template(store, one_step_template())

        assert registered.created
        assert PENDING is registered.stored.status
        assert [] == await store.list_approved_versions("suite", "one")
        assert [] == await store.list_approved_templates()
        with pytest.raises(NotFound):
            await store.get_template(one_step_template().key)
        with pytest.raises(TemplateNotApproved) as rejection:
            await create_task(store, registered.stored.id)
        assert ("suite.one@1.0.0", "pending_review", (SARAH, MARCUS)) == (
            rejection.value.template,
            rejection.value.status,
            rejection.value.approvers,
        )

    async def test_versions_from_before_a_policy_stay_approved(self, store: Store) -> None:
        """Requiring reviews does not affect approved versions."""
        registered = await propose_template(store, one_step_template())
        await declare_policy(store)

        assert [APPROVED] == await list_version_statuses(store)
        assert await create_task(store, registered.stored.id)

    async def test_an_approved_version_accepts_tasks(self, store: Store) -> None:
        """The approver's address is compared without regard to case."""
        await declare_policy(store)
        registered = await propose_template(store, one_step_template())

        assert APPROVED is await approve_template(store, one_step_template(), by=SARAH.upper())

        assert ["1.0.0"] == await store.list_approved_versions("suite", "one")
        assert APPROVED is (await store.get_template(one_step_template().key)).status
        await create_task(store, registered.stored.id)
        assert 1 == await (await ManualWorker.register(store)).complete_all_due()

    async def test_a_reviewed_version_shows_its_reviewer_and_reason(self, store: Store) -> None:
        """It also shows who registered it and when."""
        await declare_policy(store)
        registered = (await propose_template(store, one_step_template())).stored
        await reject_template(store, one_step_template(), by=MARCUS)

        (version,) = await store.list_template_versions(namespace="suite", name="one")

        assert (registered.id, one_step_template().key, REJECTED) == (
            version.id,
            version.key,
            version.status,
        )
        assert (JAKE, registered.registered_at) == (version.registered_by, version.registered_at)
        assert (MARCUS, "no fraud check") == (version.decided_by, version.reason)
        assert version.decided_at is not None
        assert [] == await store.list_template_versions(namespace="other")

    async def test_only_listed_approvers_may_review(self, store: Store) -> None:
        """The error names the approvers; the version stays pending."""
        await declare_policy(store)
        await propose_template(store, one_step_template())

        for decide in (approve_template, reject_template):
            with pytest.raises(NotAnApprover, match=SARAH):
                await decide(store, one_step_template(), by="priya@growthcorp.com")

        assert [PENDING] == await list_version_statuses(store)

    async def test_nobody_can_approve_a_version_that_they_registered(self, store: Store) -> None:
        """Another approver must approve it; the error names the approvers who may."""
        await declare_policy(store)
        await propose_template(store, one_step_template(), by=SARAH)

        with pytest.raises(NotAnApprover, match=MARCUS):
            await approve_template(store, one_step_template(), by=SARAH)

        assert APPROVED is await approve_template(store, one_step_template(), by=MARCUS)

    async def test_a_version_can_be_withdrawn_by_its_author(self, store: Store) -> None:
        """The author need not be an approver."""
        await declare_policy(store)
        await propose_template(store, one_step_template(), by=JAKE)

        assert REJECTED is await reject_template(store, one_step_template(), by=JAKE)

    async def test_a_rejection_needs_a_reason(self, store: Store) -> None:
        """The author of the version must know what to change."""
        await declare_policy(store)
        await propose_template(store, one_step_template())

        with pytest.raises(InvalidInput) as rejection:
            await store.review_template(
                one_step_template().key, approve=False, act=make_audit_note(SARAH, " ")
            )

        assert "$.reason" == rejection.value.path
        assert [PENDING] == await list_version_statuses(store)

    async def test_a_version_that_is_not_pending_cannot_be_reviewed(self, store: Store) -> None:
        """Neither can an unknown version."""
        await propose_template(store, one_step_template())
        await declare_policy(store)

        with pytest.raises(WrongStatus) as rejection:
            await approve_template(store, one_step_template())
        with pytest.raises(NotFound):
            await approve_template(store, make_template("unknown", a=""))

        assert ("approved", ("pending_review",)) == (
            rejection.value.status,
            rejection.value.allowed,
        )

    async def test_registering_the_same_content_again_keeps_its_status(self, store: Store) -> None:
        """Repeated registrations at worker starts change nothing."""
        await declare_policy(store)
        first = (await propose_template(store, one_step_template())).stored
        waiting = await propose_template(store, one_step_template(), by="a worker")
        await reject_template(store, one_step_template())
        rejected = await propose_template(store, one_step_template(), by="a worker")

        assert RegisterTemplateResult(first, created=False) == waiting
        assert (first.id, REJECTED, False) == (
            rejected.stored.id,
            rejected.stored.status,
            rejected.created,
        )

    async def test_different_content_for_a_pending_version_is_rejected(self, store: Store) -> None:
        """It is accepted only if it is to replace the pending content."""
        await declare_policy(store)
        await propose_template(store, one_step_template())

        with pytest.raises(TaskRegistrationError, match="pending review"):
            await propose_template(store, CHANGED)

        replaced = await store.register_template(CHANGED, registered_by=JAKE, replace=True)
        assert [(replaced.stored.id, PENDING)] == [
            (version.id, version.status) for version in await store.list_template_versions()
        ]

    async def test_a_rejected_version_can_be_registered_again_with_different_content(
        self, store: Store
    ) -> None:
        """The rejected content stays readable."""
        await declare_policy(store)
        await propose_template(store, one_step_template())
        await reject_template(store, one_step_template())

        again = await propose_template(store, CHANGED)

        assert (True, PENDING) == (again.created, again.stored.status)
        assert APPROVED is await approve_template(store, one_step_template())
        assert CHANGED == (await store.get_template(one_step_template().key)).template
        assert [REJECTED, APPROVED] == await list_version_statuses(store)

    async def test_the_current_version_accepts_tasks_while_its_replacement_is_pending(
        self, store: Store
    ) -> None:
        """Once approved, the replacement becomes current; existing tasks keep the old content."""
        old = (await propose_template(store, one_step_template())).stored
        await declare_policy(store)

        new = await store.register_template(CHANGED, registered_by=JAKE, replace=True)

        assert PENDING is new.stored.status
        assert [APPROVED, PENDING] == await list_version_statuses(store)
        assert one_step_template() == (await store.get_template(one_step_template().key)).template
        task_id = await create_task(store, old.id)
        await approve_template(store, one_step_template())
        assert CHANGED == (await store.get_template(one_step_template().key)).template
        assert [APPROVED] == await list_version_statuses(store)
        assert 1 == await (await ManualWorker.register(store)).complete_all_due()
        assert StepStatus.COMPLETE is await only_step_status(store, task_id)

    async def test_rejecting_a_replacement_keeps_the_current_version(self, store: Store) -> None:
        """Registering the same content again leaves it rejected."""
        await propose_template(store, one_step_template())
        await declare_policy(store)
        await store.register_template(CHANGED, registered_by=JAKE, replace=True)

        await reject_template(store, one_step_template())
        again = await store.register_template(CHANGED, registered_by=JAKE, replace=True)

        assert one_step_template() == (await store.get_template(one_step_template().key)).template
        assert (False, REJECTED) == (again.created, again.stored.status)

    async def test_anybody_may_review_once_the_policy_requires_no_review(
        self, store: Store
    ) -> None:
        """Pending versions stay pending until somebody reviews them."""
        await declare_policy(store)
        await propose_template(store, one_step_template())
        await declare_policy(store, FREE)

        assert [PENDING] == await list_version_statuses(store)
        assert APPROVED is await approve_template(store, one_step_template(), by=JAKE)

    async def test_concurrent_reviews_decide_once(self, stores: list[Store]) -> None:
        """The first decision counts, and the others are rejected."""
        await declare_policy(stores[0])
        await propose_template(stores[0], one_step_template())

        results = await asyncio.gather(
            *(
                decide(store, one_step_template())
                for store in stores
                for decide in (approve_template, reject_template)
            ),
            return_exceptions=True,
        )

        (won,) = [each for each in results if isinstance(each, TemplateStatus)]
        assert 5 == sum(isinstance(each, WrongStatus) for each in results)
        assert [won] == await list_version_statuses(stores[0])

    async def test_concurrent_registrations_leave_one_pending_version(
        self, stores: list[Store]
    ) -> None:
        """The other registrations are rejected."""
        await declare_policy(stores[0])
        contents = [make_template("race", **{f"step_{n}": ""}) for n in range(6)]

        results = await asyncio.gather(
            *(
                propose_template(store, each)
                for store, each in zip(stores * 2, contents, strict=True)
            ),
            return_exceptions=True,
        )

        assert 1 == sum(isinstance(each, RegisterTemplateResult) for each in results)
        assert [PENDING] == await list_version_statuses(stores[0])


class TestRetirement(StoreTests):
    async def test_a_retired_version_accepts_no_new_tasks(self, store: Store) -> None:
        """Names no longer resolve to it; its open tasks continue."""
        registered = (await propose_template(store, one_step_template())).stored
        task_id = await create_task(store, registered.id)

        retired = await store.retire_template(
            one_step_template().key, make_audit_note("root", "too old")
        )

        assert (RETIRED, "root", "too old") == (retired.status, retired.decided_by, retired.reason)
        assert [] == await store.list_approved_versions("suite", "one")
        with pytest.raises(TemplateNotApproved, match="retired"):
            await create_task(store, registered.id)
        assert 1 == await (await ManualWorker.register(store)).complete_all_due()
        assert StepStatus.COMPLETE is await only_step_status(store, task_id)

    async def test_a_restored_version_accepts_tasks_again(self, store: Store) -> None:
        registered = (await propose_template(store, one_step_template())).stored
        await store.retire_template(one_step_template().key, make_audit_note("root"))

        restored = await store.restore_template(one_step_template().key, make_audit_note("root"))

        assert APPROVED is restored.status
        assert registered.template == (await store.get_template(one_step_template().key)).template
        await create_task(store, registered.id)

    async def test_only_approved_versions_are_retired_and_only_retired_ones_restored(
        self, store: Store
    ) -> None:
        """The error has the current and the allowed statuses."""
        await propose_template(store, one_step_template())

        with pytest.raises(WrongStatus, match="approved, not retired"):
            await store.restore_template(one_step_template().key, make_audit_note("root"))
        await store.retire_template(one_step_template().key, make_audit_note("root"))
        with pytest.raises(WrongStatus, match="retired, not approved"):
            await store.retire_template(one_step_template().key, make_audit_note("root"))
        with pytest.raises(NotFound):
            await store.retire_template(
                TemplateName("suite", "none", "1.0.0"), make_audit_note("root")
            )

    async def test_a_retired_version_keeps_its_content(self, store: Store) -> None:
        """Registering it again leaves it retired; different content needs a new version."""
        await propose_template(store, one_step_template())
        await store.retire_template(one_step_template().key, make_audit_note("root"))

        again = await propose_template(store, one_step_template())
        with pytest.raises(TaskRegistrationError, match="retired"):
            await store.register_template(CHANGED, registered_by=JAKE, replace=True)

        assert (False, RETIRED) == (again.created, again.stored.status)

    async def test_an_idempotency_key_returns_its_task_after_the_template_was_retired(
        self, store: Store
    ) -> None:
        """A repeated submission returns the existing task; nothing is created."""
        registered = (await propose_template(store, one_step_template())).stored
        first = make_new_task(registered.id, {"n": 1}, idempotency_key="k")
        await store.create_tasks([first])
        await store.retire_template(one_step_template().key, make_audit_note("root"))

        again = await store.create_tasks(
            [make_new_task(registered.id, {"n": 1}, idempotency_key="k")]
        )

        assert [(first.id, False)] == list(again.tasks)
        with pytest.raises(IdempotencyConflict):
            await store.create_tasks([make_new_task(registered.id, {"n": 2}, idempotency_key="k")])
        with pytest.raises(TemplateNotApproved):
            await store.create_tasks(
                [make_new_task(registered.id, {"n": 1}, idempotency_key="free")]
            )
        assert await store.find_task_by_idempotency_key("suite", "free") is None

    async def test_a_bulk_creation_with_a_retired_template_stores_nothing(
        self, store: Store
    ) -> None:
        good = (await propose_template(store, make_template("good", a=""))).stored
        bad = (await propose_template(store, one_step_template())).stored
        await store.retire_template(one_step_template().key, make_audit_note("root"))
        new = make_new_task(good.id)

        with pytest.raises(TemplateNotApproved, match=r"suite\.one@1\.0\.0"):
            await store.create_tasks([new, make_new_task(bad.id)])

        with pytest.raises(NotFound):
            await store.get_task(new.id)
