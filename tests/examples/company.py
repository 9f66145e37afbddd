"""GrowthCorp in one process: the production engine, its handlers, its services, and a clock
that skips the time in which nothing happens.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from examples.growthcorp.gateways import Gateways

from tasker import (
    Task,
    TaskFailed,
    Template,
    Worker,
    WorkerSettings,
    load_template,
    load_templates,
)
from tasker.model import Attempt, AttemptOutcome, Step, TaskId
from tasker.notices import Notice, StepSettled
from tasker.testing.virtual_time import FOR_EVER, VirtualTimeStore

ROOT = Path(__file__).parents[2]
SEEDS = ROOT / "tests" / "seeds"
TEMPLATES = ROOT / "examples" / "growthcorp" / "templates"
SOON = timedelta(seconds=60)


def company_templates() -> list[Template]:
    """Return the example's own templates."""
    return load_templates([TEMPLATES])


def seed(name: str) -> Template:
    """Return a template as a seed document prints it."""
    return load_template(SEEDS / f"{name}.yaml")


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended, and all that is known of it."""

    task: Task
    steps: dict[str, Step]
    history: Sequence[Attempt]

    @property
    def state(self) -> str:
        return self.task.status.value

    @property
    def states(self) -> dict[str, str]:
        return {name: step.status.value for name, step in self.steps.items()}

    def result(self, step: str) -> Any:
        return self.steps[step].result

    def error(self, step: str) -> dict[str, Any]:
        """Return the error of a step, as far as handlers decide it."""
        error = dict(self.steps[step].error or {})
        return {key: error.get(key) for key in ("type", "message", "code", "retryable")}

    def outcomes(self, step: str) -> list[str]:
        """Return what the attempts of a step led to, in order."""
        return [entry.outcome.value for entry in self.history if entry.step == step]


class Company:
    """A worker with the company's handlers; no backoff is waited for.

    Attributes:
        worker: The worker.
        client: Its client.
        gateways: The services.
        delays: The delays before retries, by step, in seconds.
    """

    def __init__(self, worker: Worker, gateways: Gateways) -> None:
        self.worker = worker
        self.client = worker.client
        self.gateways = gateways
        self.delays: dict[str, list[float]] = {}
        worker.observers.append(self._observe)

    def _observe(self, event: Notice) -> None:
        if isinstance(event, StepSettled) and event.outcome is AttemptOutcome.RETRY:
            self.delays.setdefault(event.step, []).append(event.delay.total_seconds())

    async def run(self, template: str, context: dict[str, Any], **options: Any) -> Ended:
        """Create a task, and wait until it has ended, however."""
        task = await self.client.create_task(template, context, **options)
        return await self.ended(task.id)

    async def ended(self, task_id: TaskId) -> Ended:
        """Wait until a task has ended, however."""
        try:
            task = await self.client.wait(task_id, timeout=SOON)
        except TaskFailed as failure:
            task = failure.task
        steps = {step.name: step for step in await self.client.steps(task_id)}
        return Ended(task, steps, await self.client.attempts(task_id))


@asynccontextmanager
async def company_of(
    gateways: Gateways, handlers: Iterable[object], templates: Iterable[Template]
) -> AsyncIterator[Company]:
    """Open a company that has its store in memory."""
    settings = WorkerSettings(lease=FOR_EVER, grace=timedelta(0))
    async with VirtualTimeStore() as store:
        await store.upgrade_schema()
        async with Worker(store, handlers, templates=templates, settings=settings) as worker:
            yield Company(worker, gateways)
