"""What clients do for teams, and what approvals mean for who creates tasks."""

from collections.abc import AsyncIterator

import pytest

from tasker import Context, LocalClient, Template, Worker, open_store
from tasker.client.local import AttemptOrigin
from tasker.errors import IdempotencyConflict, InvalidInput, NotFound, TemplateNotApproved
from tasker.model import StepSpec, TemplateStatus
from tasker.store.protocol import Store
from tasker.teams.model import NamespacePolicy

pytestmark = pytest.mark.anyio

SARAH = "sarah@growthcorp.com"
POLICY = NamespacePolicy(namespace="shared", requires_approval=True, approvers=(SARAH,))


def template(version: str = "1.0.0", namespace: str = "shared", *, step: str = "a") -> Template:
    return Template(namespace=namespace, name="t", version=version, steps=(StepSpec(name=step),))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:") as store:
        yield store


@pytest.fixture
def jake(store: Store) -> LocalClient:
    return LocalClient(store, actor="jake@growthcorp.com")


@pytest.fixture
def sarah(store: Store) -> LocalClient:
    return LocalClient(store, actor=SARAH)


async def test_a_version_accepts_tasks_once_somebody_else_approved_it(
    jake: LocalClient, sarah: LocalClient
) -> None:
    """Until then the error names the approvers."""
    await jake.put_policy(POLICY, reason="it is shared")
    registered = await jake.register(template())

    for reference in ("shared.t", "shared.t@1.0.0", "shared.t@^1"):
        with pytest.raises(TemplateNotApproved, match=f"pending_review: .*{SARAH}"):
            await jake.create_task(reference)
    decided = await sarah.review("shared.t@1.0.0", approve=True)

    assert TemplateStatus.PENDING_REVIEW is registered.stored.status
    assert (TemplateStatus.APPROVED, SARAH) == (decided.status, decided.decided_by)
    assert template().key == (await sarah.create_task("shared.t")).template
    assert [decided] == await jake.template_versions("shared", "t")
    assert ["approve_template", "register_template", "put_policy"] == [
        event.action for event in await jake.namespace_audit("shared")
    ]


async def test_the_latest_version_is_the_latest_approved_one(
    jake: LocalClient, sarah: LocalClient
) -> None:
    """Pending, rejected and retired versions are not selected."""
    await jake.put_policy(POLICY)
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        await jake.register(template(version))
    for version in ("1.0.0", "1.1.0"):
        await sarah.review(f"shared.t@{version}", approve=True)
    await sarah.review("shared.t@1.2.0", approve=False, reason="too slow")

    assert "1.1.0" == (await jake.create_task("shared.t")).template.version
    await jake.retire("shared.t@1.1.0", reason="broken")
    assert "1.0.0" == (await jake.create_task("shared.t")).template.version
    for version, status in (("1.1.0", "retired"), ("1.2.0", "rejected"), ("1.3.0", "pending")):
        with pytest.raises(TemplateNotApproved, match=status):
            await jake.create_task(f"shared.t@{version}")
    with pytest.raises(NotFound, match=r"no version of shared\.t matches \^2; available: 1\.0\.0"):
        await jake.create_task("shared.t@^2")


async def test_a_retirement_by_another_process_selects_the_next_version(
    store: Store, jake: LocalClient, sarah: LocalClient
) -> None:
    """
    A client that believes in a version a moment longer does not fail for it.
    """
    await jake.register(template("1.0.0", "mine"))
    await jake.register(template("2.0.0", "mine"))
    assert "2.0.0" == (await jake.create_task("mine.t")).template.version

    await sarah.retire("mine.t@2.0.0")

    assert "1.0.0" == (await jake.create_task("mine.t")).template.version
    await sarah.restore("mine.t@2.0.0")


async def test_a_retired_version_can_be_read_by_its_exact_name(jake: LocalClient) -> None:
    await jake.register(template("1.0.0", "mine"))
    await jake.retire("mine.t@1.0.0")

    assert TemplateStatus.RETIRED is (await jake.template("mine.t@1.0.0")).status
    with pytest.raises(TemplateNotApproved):
        await jake.template("mine.t")
    await jake.restore("mine.t@1.0.0")
    assert TemplateStatus.APPROVED is (await jake.template("mine.t")).status


async def test_a_key_keeps_the_version_of_its_task(jake: LocalClient) -> None:
    """
    Asking again gives the same task, though the latest version is another by now.
    """
    await jake.register(template("1.0.0", "mine"))
    task = await jake.create_task("mine.t", {"n": 1}, idempotency_key="k")

    await jake.register(template("2.0.0", "mine"))
    after = await jake.create_task("mine.t", {"n": 1}, idempotency_key="k", version="latest")
    await jake.retire("mine.t@1.0.0")
    retired = await jake.create_task("mine.t", {"n": 1}, idempotency_key="k")

    assert [(task.id, False)] * 2 == [(each.id, each.created) for each in (after, retired)]
    for changed in ({"version": "2.0.0"}, {"version": "^2"}, {"context": {"n": 2}}):
        arguments = {"context": {"n": 1}, **changed}
        with pytest.raises(IdempotencyConflict):
            await jake.create_task("mine.t", idempotency_key="k", **arguments)  # type: ignore[call-overload]


async def test_a_later_attempt_finds_the_child_task_of_an_earlier_one(jake: LocalClient) -> None:
    """Regardless of registrations and retirements in between."""
    await jake.register(template("1.0.0", "mine"))
    origin = AttemptOrigin((await jake.create_task("mine.t")).id, 1, "c")
    first = await jake.for_attempt(origin).create_task("mine.t")
    await jake.register(template("2.0.0", "mine"))
    await jake.retire("mine.t@1.0.0")

    again = await jake.for_attempt(origin).create_task("mine.t")

    assert (first.id, False) == (again.id, again.created)


async def test_a_review_needs_an_exact_version(jake: LocalClient) -> None:
    for act in (jake.retire, jake.restore):
        with pytest.raises(InvalidInput, match="needs a version"):
            await act("shared.t")
    with pytest.raises(InvalidInput, match="needs a version"):
        await jake.review("shared.t", approve=True)


async def test_namespaces_are_read_with_their_policies(jake: LocalClient) -> None:
    """
    Discovery needs no other call.
    """
    stored = await jake.put_policy(POLICY)

    default, shared = await jake.namespaces()

    assert ("default", None) == (default.name, default.policy)
    assert ("shared", stored) == (shared.name, shared.policy)
    assert stored == await jake.policy("shared")


async def test_a_worker_serves_tasks_of_pending_and_retired_versions(
    store: Store, jake: LocalClient, sarah: LocalClient
) -> None:
    """It starts with pending templates; once they are approved their tasks run."""

    def a(context: Context) -> str:
        return "done"

    await jake.put_policy(POLICY)
    async with Worker(store, [{"a": a}], templates=[template()], name="host:1") as worker:
        (waiting,) = await jake.template_versions()
        await sarah.review("shared.t@1.0.0", approve=True)
        task = await jake.create_task("shared.t")
        await sarah.retire("shared.t@1.0.0")
        ended = await worker.client.wait(task.id)

    assert (TemplateStatus.PENDING_REVIEW, "host:1") == (waiting.status, waiting.registered_by)
    assert "complete" == ended.status
