"""Tasks that wait, branch and keep to limits, and the outside world that they wait for.

The world sends everything with an id, and again when it is asked again: as systems do that do not
know whether their last request arrived.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.crash.fleet import PATIENT, step
from tests.crash.worker import effects

from tasker import (
    AsyncContext,
    Context,
    Decision,
    Limit,
    LocalClient,
    PermanentError,
    StepSpec,
    TaskRequest,
    Template,
)
from tasker.codec import dumps
from tasker.completions import hash_token
from tasker.errors import Rejected
from tasker.hooks import HookMessageKind, ProviderHook, SignatureScheme
from tasker.model import (
    ApprovalSpec,
    AttemptOutcome,
    AwaitedSignal,
    ExternalSpec,
    StepStatus,
    StepType,
    Task,
    TimeoutAction,
    TriggerRule,
    WaitSpec,
)
from tasker.store.protocol import AuditNote, Store

SECRET = "whsec-of-the-crash-tests"
HOOK = ProviderHook(
    namespace="crash",
    name="provider",
    scheme=SignatureScheme.GITHUB,
    target=HookMessageKind.SIGNAL,
    sends="hooked",
    key="body.task",
    id="body.id",
)
SIGNALS = 3  #: that the handler `conversing` waits for


def waiting(name: str, wait: WaitSpec, *after: str) -> StepSpec:
    return StepSpec(name=name, wait=wait, dependencies=after)


WAITING = Template(
    namespace="crash",
    name="waiting",
    version="1.0.0",
    steps=(
        waiting("pause", WaitSpec(delay=timedelta(seconds=0.01))),
        waiting("paid", WaitSpec(signals=(AwaitedSignal("paid", "input.order"),)), "pause"),
        waiting("hooked", WaitSpec(signals=(AwaitedSignal("hooked"),)), "pause"),
        waiting(
            "late",
            WaitSpec(
                signals=(AwaitedSignal("never"),),
                timeout=timedelta(seconds=0.05),
                on_timeout=TimeoutAction.CONTINUE,
            ),
        ),
        step("talk", "conversing"),
        StepSpec(name="ask", approval=ApprovalSpec(assignees=("user:ana",))),
        StepSpec(name="label", callable="ordering", external=ExternalSpec(), retry=PATIENT),
        step("end", "blocking", "paid", "hooked", "late", "talk", "ask", "label"),
    ),
)
BRANCHING = Template(
    namespace="crash",
    name="branching",
    version="1.0.0",
    steps=(
        StepSpec(name="route", callable="choosing", type=StepType.DECISION, retry=PATIENT),
        step("left", "quick", "route"),
        step("right", "quick", "route"),
        StepSpec(name="never", callable="quick", when="input.order == ''", retry=PATIENT),
        StepSpec(name="flawed", callable="failing", allow_failure=True, retry=PATIENT),
        StepSpec(
            name="end",
            callable="blocking",
            dependencies=("left", "right", "never", "flawed"),
            trigger=TriggerRule.ALL_DONE,
            retry=PATIENT,
        ),
    ),
)
LIMITED = Template(
    namespace="crash",
    name="limited",
    version="1.0.0",
    limits=(Limit("one", concurrency=1), Limit("order:{input.order}", rate="500/s", burst=1)),
    steps=(step("first", "quick"), step("second", "failing_first", "first")),
)
TEMPLATES = (WAITING, BRANCHING, LIMITED)
STATUSES = {
    ("branching", "right"): StepStatus.SKIPPED,
    ("branching", "never"): StepStatus.SKIPPED,
    ("branching", "flawed"): StepStatus.ERROR,
}
"""How steps end that do not complete, by template and step."""

UNHANDLED = {("waiting", name) for name in ("pause", "paid", "hooked", "late", "ask", "label")}
"""Steps that complete without an effect of their last attempt."""

TASKS = [
    TaskRequest(
        template=f"crash.{template.name}",
        context={"order": f"{template.name}-{no}"},
        idempotency_key=f"{template.name}-{no}",
    )
    for template in TEMPLATES
    for no in range(2)
]


def handlers(file: Path) -> dict[str, Callable[..., Any]]:
    """Return the handlers that `worker.handlers` lacks."""
    record = effects(file)
    tokens = os.open(tokens_file(file), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    acts = os.open(acts_file(file), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def choosing(context: Context) -> Decision:
        record(context)
        return Decision.choose("left")

    def failing(context: Context) -> None:
        record(context)
        raise PermanentError("always")

    async def ordering(context: AsyncContext) -> str:
        record(context)
        os.write(tokens, f"{context.task_id} {context.completion_url}\n".encode())
        return "ordered"

    async def conversing(context: AsyncContext) -> list[Any]:
        record(context)

        def act(number: int) -> int:
            os.write(acts, f"{context.task_id} {number}\n".encode())
            return number

        heard = []
        for number in range(SIGNALS):
            await context.once(f"act-{number}", act, number)
            heard.append(await context.wait_signal("said", timeout="1h"))
        return heard

    return {
        "choosing": choosing,
        "failing": failing,
        "ordering": ordering,
        "conversing": conversing,
    }


def tokens_file(file: Path) -> Path:
    """Return the file of completion addresses beside that of effects."""
    return file.with_name(f"{file.name}-tokens")


def acts_file(file: Path) -> Path:
    """Return the file of the effects of `once` beside that of effects."""
    return file.with_name(f"{file.name}-acts")


async def create(client: LocalClient) -> list[Task]:
    """Create the tasks and the provider hook, or find them where they exist."""
    for template in TEMPLATES:
        await client.register(template)
    await client.store.put_hook(HOOK, SECRET, AuditNote(actor="crash"))
    return await client.create_tasks(TASKS)


async def world(store: Store, tasks: Sequence[Task], file: Path) -> None:
    """Give the waiting tasks what they wait for, until all tasks have ended."""
    client = LocalClient(store, actor="ana")
    for task in tasks:
        if task.name == WAITING.name:
            await _send(client, task)
    for task in tasks:
        while not (await client.get(task.id)).has_ended:
            await _answer(client, task, file)
            await asyncio.sleep(0.05)


async def _send(client: LocalClient, task: Task) -> None:
    """Send what is kept until its step waits for it."""
    order = str(task.context["order"])
    await client.broadcast("paid", order, {"order": order}, id="paid", namespace="crash")
    provider = await client.store.find_hook_with_secret(HOOK.namespace, HOOK.name)
    assert provider is not None
    with suppress(Rejected):  # the task has ended
        await client.signal(task.id, provider.hook.sends, order, id="hooked")
        for number in range(SIGNALS):
            await client.signal(task.id, "said", number, id=f"said-{number}")


async def _answer(client: LocalClient, task: Task, file: Path) -> None:
    """Decide what the task asks, and complete what it has ordered."""
    for approval in await client.approvals(task_id=task.id):
        with suppress(Rejected):
            await client.decide(approval.id, {"approved": True})
    for line in tokens_file(file).read_text().splitlines():
        owner, url = line.split()
        if owner == task.id:  # refused after the first
            digest = hash_token(url.rpartition("/")[2])
            result = dumps({"result": task.context["order"]})
            await client.store.complete_external_step(digest, result)


async def prove(store: Store, tasks: Sequence[Task], file: Path) -> None:
    """Compare the results of waits with the messages that were sent, each once."""
    acts = Counter(acts_file(file).read_text().splitlines())
    for task in tasks:
        if task.name != WAITING.name:
            continue
        order = task.context["order"]
        steps = {each.name: each for each in await store.list_steps(task.id)}
        assert {"order": order} == steps["paid"].result
        assert order == steps["hooked"].result
        assert (None, order) == (steps["late"].result, steps["label"].result)
        assert "ana" == steps["ask"].result["decided_by"]
        assert list(range(SIGNALS)) == steps["talk"].result
        counts = [acts[f"{task.id} {number}"] for number in range(SIGNALS)]
        assert min(counts) >= 1  # again only by the loss of an attempt between effect and record
        history = await store.list_attempts(task.id)
        lost = Counter(row.step for row in history if row.outcome is AttemptOutcome.LOST)
        assert sum(counts) <= SIGNALS + lost["talk"]
        # An attempt that is lost after it ordered has not stored its result, but its URL is valid.
        assert steps["label"].checkpoint in ({"ordered", None} if lost["label"] else {"ordered"})
