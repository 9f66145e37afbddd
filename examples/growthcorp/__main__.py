"""Plays the story: runs its scenes, shows them, and sums up what came of them.

`tasker demo` runs this; so does `python -m growthcorp` in the folder `examples`.
"""

import asyncio
import hmac
import io
import json
import logging
import os
import re
import secrets
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tasker.api import create_app
from tasker.cli.render.progress import TaskProgressDisplay
from tasker.cli.render.style import is_ascii_only, make_console, status_text
from tasker.client import Client, LocalClient
from tasker.durations import human_duration
from tasker.engine import Worker
from tasker.errors import InvalidSettings, TaskFailed, WaitTimeout
from tasker.model import (
    STEP_DONE,
    AttemptOutcome,
    Json,
    Step,
    StepStatus,
    Task,
    TaskFilter,
    TaskStatus,
)
from tasker.notices import Notice
from tasker.redact import redact_passwords
from tasker.settings import WorkerSettings
from tasker.store.open import open_store
from tasker.store.protocol import Store
from tasker.template.load import load_templates

from .gateways import Gateways
from .story import EFFECTS, SCENES, Approves, Pays, Scene, Submission, gateways
from .worker_process import LEASE_S, WorkerProcess

FOLDER = Path(__file__).resolve().parent
TAG = "demo"

MOST_S = 75.0
"""When the demo gives up; it takes a fifth of that."""

OPERATOR = "operator"
"""Who retries, for the audit."""

PROVIDER_SECRET = "whsec_of_the_demo_0001"

_LOOK_S = 0.05  #: between looks at a task that another process runs

_UNCOUNTED = (AttemptOutcome.PARKED, AttemptOutcome.RELEASED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedTask:
    """One task of the demo, as it was in the end."""

    label: str
    task: Task
    steps: list[Step]
    attempts: int
    expected: str  #: the state it should end in
    about: str = ""  #: what to see in it

    @property
    def took(self) -> float:
        """Return the seconds from creation to end."""
        return ((self.task.ended_at or self.task.created_at) - self.task.created_at).total_seconds()

    @property
    def done(self) -> int:
        return sum(step.status in STEP_DONE for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The result of the demo."""

    store: str
    entries: list[PlayedTask]
    effects: Counter[str]  #: what the services did
    asked: Counter[str]  #: how often they were asked for it
    expected_effects: Mapping[str, int]
    took: float

    @property
    def wrong(self) -> list[str]:
        """Return what is not as it should be."""
        tasks = [
            f"{entry.label} ended in {entry.task.status}, not {entry.expected}"
            for entry in self.entries
            if entry.task.status != entry.expected
        ]
        effects = [
            f"{kind}: {self.effects[kind]} instead of {count}"
            for kind, count in self.expected_effects.items()
            if self.effects[kind] != count
        ]
        return tasks + effects


# --------------------------------------------------------------------------- playing


async def play(url: str, console: Console) -> Played:
    """Run all scenes, one after the other, and show how they come on.

    Args:
        url: The store. Its schema is brought up to date.
        console: Where to show it.

    Raises:
        WaitTimeout: It did not end in time; its tasks go on when the demo runs again.
        InvalidSettings: The store is in memory, which the demo's worker processes cannot share.
    """
    if ":memory:" in url:
        raise InvalidSettings("the demo runs several processes, so its store cannot be in memory")
    try:
        async with asyncio.timeout(MOST_S):
            return await _play(url, console)
    except TimeoutError:
        raise WaitTimeout(f"the demo did not end within {MOST_S:.0f} seconds") from None


async def _play(url: str, console: Console) -> Played:
    began = time.monotonic()
    async with open_store(url, upgrade=True) as store:
        await clear_stage(LocalClient(store))
        with gateways() as services, _reachable(services.url):
            worker = Worker(
                store,
                [FOLDER / "handlers.py"],
                templates=load_templates([FOLDER / "templates"]),
                settings=WorkerSettings(environment="demo"),
                replace=True,  # the demo's templates may be edited between two runs
            )
            _open(console, url, services.url)
            with WorkerProcess(url, [FOLDER / "inventory.py"]) as other:
                async with worker:
                    entries = await _Stage(worker, other, services, console).play(SCENES)
            ids = [entry.task.id for entry in entries]
            effects, asked = services.effects(ids), services.asked(ids)
    return Played(
        store=url,
        entries=entries,
        effects=effects,
        asked=asked,
        expected_effects=EFFECTS,
        took=time.monotonic() - began,
    )


async def clear_stage(client: Client) -> None:
    """Cancel what a demo that was interrupted left: its services are gone."""
    for state in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS):
        for task in await client.tasks(TaskFilter(tag=TAG, status=state), limit=100):
            for left in (task, *await client.tasks(TaskFilter(parent_id=task.id))):
                if not left.has_ended:
                    await client.cancel(left.id, reason="the demo was interrupted")


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    """Return the handlers where the services are, for as long as the block runs."""
    before = os.environ.get("GROWTHCORP_GATEWAYS")
    os.environ["GROWTHCORP_GATEWAYS"] = url
    try:
        yield
    finally:
        del os.environ["GROWTHCORP_GATEWAYS"]
        if before is not None:
            os.environ["GROWTHCORP_GATEWAYS"] = before


class _Stage:
    """Where scenes are played: a worker in this process, another process, and a console."""

    def __init__(
        self, worker: Worker, other: WorkerProcess, services: Gateways, console: Console
    ) -> None:
        self._worker = worker
        self._other = other
        self._services = services
        self._console = console
        self._progress: TaskProgressDisplay | None = None
        self._entries: list[PlayedTask] = []
        worker.observers.append(self._observe)

    def _observe(self, event: Notice) -> None:
        if self._progress is not None:
            self._progress.observe(event)

    async def play(self, scenes: Sequence[Scene]) -> list[PlayedTask]:
        for no, scene in enumerate(scenes, start=1):
            self._announce(f"{no}/{len(scenes)}", scene)
            await self._play(scene)
        return self._entries

    def _announce(self, count: str, scene: Scene) -> None:
        self._console.print()
        self._console.print(f"[bold cyan]{count}  {escape(scene.title)}[/]", markup=True)
        self._console.print(Text(scene.notice, style="italic"))
        self._console.print()

    async def _play(self, scene: Scene) -> None:
        client = self._worker.client
        created = []
        if scene.kill_at:
            await self._other.started()
        with TaskProgressDisplay(self._console, templates=await _templates(client)) as progress:
            self._progress = progress
            for given in scene.submissions:
                correlation = given.correlation_prefix and (
                    given.correlation_prefix + secrets.token_hex(8)
                )
                task = await client.create_task(
                    given.template,
                    given.context,
                    correlation_id=correlation or None,
                    tags=(TAG,),
                )
                progress.follow_task(task, label=given.label)
                created.append((given, task))
            if scene.kill_at:
                await self._kill(scene.kill_at, created[0][1], progress)
            for given, task in created:
                for act in given.acts:
                    await self._until_waiting(act.step, task)
                    await self._perform(act, task)
                await _ended(client, task)
                if given.retried:
                    await self._retry(task, given)
        self._progress = None
        for given, task in created:
            await self._remember(given.label, task, given.ends, given.about)

    async def _kill(self, call: str, task: Task, progress: TaskProgressDisplay) -> None:
        """Kill the other process during a call of its task, and have a new worker end the task."""
        client = self._worker.client
        while not self._services.calls(call):
            progress.update_from_stored_state(
                await client.get(task.id), await client.steps(task.id)
            )
            await asyncio.sleep(_LOOK_S)
        progress.update_from_stored_state(await client.get(task.id), await client.steps(task.id))
        self._other.kill()
        self._act(f"kill -9 {self._other.pid}   the worker is gone in the middle of a step")
        settings = WorkerSettings(environment="demo", lease=timedelta(seconds=LEASE_S))
        store = self._worker.store
        async with Worker(
            store, [FOLDER / "inventory.py"], settings=settings, observers=[self._observe]
        ):
            await _ended(client, task)

    async def _until_waiting(self, name: str, task: Task) -> None:
        """Wait until a step of a task waits for others."""
        client = self._worker.client
        while not (await client.get(task.id)).has_ended:
            steps = {step.name: step for step in await client.steps(task.id)}
            if steps[name].status is StepStatus.WAITING:
                return
            await asyncio.sleep(_LOOK_S)

    async def _perform(self, act: Approves | Pays, task: Task) -> None:
        """Do what a person or another system does for a step that waits."""
        if isinstance(act, Approves):
            person = LocalClient(self._worker.store, actor=act.by)
            for approval in await person.approvals(task_id=task.id):
                form = {"approved": True}
                self._act(
                    f"tasker approval decide {approval.id} '{json.dumps(form)}' --as {act.by}"
                    " --group sales-leads"
                )
                await person.decide(approval.id, form, groups=("sales-leads",))
            return
        self._act("POST /v1/hooks/sales/provider   the payment provider reports the payment")
        await report_payment(self._worker.store, act)

    async def _retry(self, task: Task, given: Submission) -> None:
        """Have an operator retry a task that failed, and wait for its end."""
        operator = LocalClient(self._worker.store, actor=OPERATOR)
        self._act(f"tasker task retry {task.id} --as {OPERATOR} --reason '{given.retried}'")
        await operator.retry(task.id, reason=given.retried)
        await _ended(operator, task)

    def _act(self, what: str) -> None:
        """Show what is done to a worker or a task."""
        symbol = ">" if is_ascii_only(self._console) else "▶"
        self._console.print(Text(f"{symbol} {what}", style="bold yellow"), soft_wrap=True)

    async def _remember(self, label: str, task: Task, expected: str, about: str = "") -> None:
        """Note how a task ended, and the tasks that it created."""
        client = self._worker.client
        history = await client.attempts(task.id)
        self._entries.append(
            PlayedTask(
                label=label,
                task=await client.get(task.id),
                steps=await client.steps(task.id),
                attempts=sum(attempt.outcome not in _UNCOUNTED for attempt in history),
                expected=expected,
                about=about,
            )
        )
        children = await client.tasks(TaskFilter(parent_id=task.id))
        for child in reversed(children):
            await _ended(client, child)
            label = "delegated by it" if len(children) == 1 else child.title or "one of several"
            await self._remember(label, child, "complete")


async def report_payment(store: Store, payment: Pays) -> None:
    """Report a payment as the provider does: by a signed request to the hook of the sales team."""
    await LocalClient(store, actor="demo").hooks.declare(
        "sales.provider",
        scheme="hmac",
        secret=PROVIDER_SECRET,
        sends="payment_received",
        key="body.order_id",
        id="body.id",
        when='body.type == "paid"',
    )
    report = {"id": f"pay_{payment.order_id}", "type": "paid", "order_id": payment.order_id}
    body = json.dumps({**report, "cents": payment.cents}).encode()
    signature = hmac.new(PROVIDER_SECRET.encode(), body, "sha256").hexdigest()
    transport = httpx.ASGITransport(create_app(store))
    async with httpx.AsyncClient(transport=transport, base_url="http://tasker") as provider:
        headers = {"X-Signature-256": signature, "Content-Type": "application/json"}
        answer = await provider.post("/v1/hooks/sales/provider", content=body, headers=headers)
    answer.raise_for_status()


async def _templates(client: Client) -> list[Any]:
    return [stored.template for stored in await client.templates()]


async def _ended(client: Client, task: Task) -> None:
    """Wait until a task has ended, however it ends."""
    with suppress(TaskFailed):  # shown in the summary
        await client.wait(task.id)


# --------------------------------------------------------------------------- rendering


def _open(console: Console, url: str, services: str) -> None:
    console.print(
        Text("Tasker demo", style="bold").append(
            f"   store {redact_passwords(url)}   services at {services}", style="dim not bold"
        )
    )


def render(console: Console, played: Played) -> None:
    """Sum up: the tasks, what the services did, and how to look closer."""
    console.print()
    console.print(Text("Summary", style="bold cyan"))
    console.print(_table(console, played))
    console.print()
    console.print(_effects(played))
    _render_relation(console, played)
    for line in played.wrong:
        console.print(Text(f"Not as expected: {line}", style="bold red"))
    if not played.wrong:
        message = f"All as expected, in {human_duration(played.took)}."
        console.print(Text(message, style="green"))
    console.print()
    console.print(Text("Look closer:", style="bold"))
    for command, about in commands(played):
        text = Text(f"  {command}").append(f"   {about}" if about else "", style="dim")
        console.print(text, soft_wrap=True)


def _table(console: Console, played: Played) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("task", no_wrap=True)
    table.add_column("template")  # the one that gives way where the terminal is narrow
    table.add_column("outcome", no_wrap=True)
    for name in ("steps", "attempts", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in played.entries:
        total = len(entry.steps)
        outcome = status_text(entry.task.status.value, plain=is_ascii_only(console))
        if entry.task.status == entry.expected == "error":
            outcome.append(", expected", style="dim")
        table.add_row(
            Text(entry.label),
            Text(str(entry.task.template), style="dim", no_wrap=True, overflow="ellipsis"),
            outcome,
            f"{entry.done}/{total}",
            Text(str(entry.attempts), style="yellow" if entry.attempts > total else ""),
            human_duration(entry.took),
        )
    return table


def _effects(played: Played) -> Text:
    """Return what the services did, and where they were called more often than that."""
    line = Text("The services did, each thing once: ")
    for no, (kind, count) in enumerate(sorted(played.effects.items())):
        line.append(", " if no else "").append(f"{kind} {count}", style="bold")
        if played.asked[kind] > count:
            line.append(f" (asked {played.asked[kind]} times)", style="yellow")
    return line


def _render_relation(console: Console, played: Played) -> None:
    """Show what ties a task to the one that it created."""
    tasks = {entry.task.id: entry.task for entry in played.entries}
    shown: set[tuple[str, str]] = set()
    for entry in played.entries:
        parent = tasks.get(entry.task.parent_id) if entry.task.parent_id else None
        if parent is not None and (parent.id, str(entry.task.template)) not in shown:
            shown.add((parent.id, str(entry.task.template)))
            console.print(
                Text(f"{parent.template} created {entry.task.template}; both carry ").append(
                    parent.correlation_id, style="bold"
                )
            )


def commands(played: Played) -> list[tuple[str, str]]:
    """Return the commands that show more of what happened, and what each is for."""
    tasker = program()
    shortest = _prefix_length([entry.task.id for entry in played.entries])
    related = [entry.task.correlation_id for entry in played.entries if entry.task.parent_id]
    return [
        (f"export TASKER_STORE={shlex.quote(redact_passwords(played.store, mask=''))}", ""),
        *(
            (f"{tasker} task show {entry.task.id[:shortest]}", entry.about)
            for entry in played.entries
            if entry.about
        ),
        *(
            (f"{tasker} task list --correlation-id {correlation}", "the tasks of two teams")
            for correlation in related[:1]
        ),
        (f"{tasker} template draw microservices.user_registration", "a graph"),
        (f"{tasker} demo --serve", "the web UI, while new example tasks are created and run"),
    ]


def _prefix_length(ids: Sequence[str]) -> int:
    """Return the length at which the beginnings of ids differ, at the end of one of their parts."""
    parts = [id.split("-") for id in ids]
    count = next(
        count for count in range(2, 6) if len({tuple(part[:count]) for part in parts}) == len(ids)
    )
    return len("-".join(parts[0][:count]))


def program() -> str:
    """Return how the command line is called: by its path where a shell would not find it."""
    called = sys.argv[0]
    if Path(called).name != "tasker" or shutil.which("tasker"):
        return "tasker"
    return shlex.quote(called)


def as_json(played: Played) -> dict[str, Json]:
    """Return what came of it, for programs."""
    return {
        "ok": not played.wrong,
        "wrong": list(played.wrong),
        "store": redact_passwords(played.store, mask=""),
        "took_s": round(played.took, 3),
        "tasks": [_entry_json(entry) for entry in played.entries],
        "effects": dict(sorted(played.effects.items())),
        "asked": dict(sorted(played.asked.items())),
        "commands": [command for command, _ in commands(played)],
    }


def _entry_json(entry: PlayedTask) -> Json:
    task = entry.task
    return {
        "label": entry.label,
        "id": task.id,
        "template": str(task.template),
        "status": task.status.value,
        "expected": entry.expected,
        "correlation_id": task.correlation_id,
        "parent_id": task.parent_id,
        "attempts": entry.attempts,
        "took_s": round(entry.took, 3),
        "steps": [{"name": step.name, "status": step.status.value} for step in entry.steps],
    }


PICTURE_WIDTH = 112  #: columns


def main(arguments: list[str]) -> int:
    """Play the story on the store .tasker/demo.db; return the exit code.

    Args:
        arguments: Nothing; or `--picture FILE`, to draw what a terminal shows into an SVG file.
    """
    logging.basicConfig(level=logging.ERROR)  # steps fail on purpose
    picture = arguments[1] if arguments[:1] == ["--picture"] and len(arguments) == 2 else None
    if arguments and picture is None:
        print("usage: python -m growthcorp [--picture FILE]", file=sys.stderr)
        return 2
    console = make_console() if picture is None else _recorder()
    played = asyncio.run(play("sqlite:.tasker/demo.db", console))
    render(console, played)
    if picture is not None and not played.wrong:
        Path(picture).write_text(_svg(console), "utf-8")
    return 1 if played.wrong else 0


def _recorder() -> Console:
    """Return a console that shows nothing and keeps what it would show."""
    return Console(
        record=True,
        force_terminal=True,
        color_system="truecolor",
        width=PICTURE_WIDTH,
        file=io.StringIO(),
        highlight=False,
    )


def _svg(console: Console) -> str:
    """Draw what a console kept, in fonts that readers have instead of ones to be fetched."""
    svg = console.export_svg(title="make demo", unique_id="demo")
    svg = re.sub(r"@font-face {.*?}\n", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "ui-monospace, SFMono-Regular, Menlo, Consolas")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
