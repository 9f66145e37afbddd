"""`tasker run`: a task from its creation to its end, in this process."""

import asyncio
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from tasker.cli.app import Invocation, register_command
from tasker.cli.exits import ExitCode, print_message, print_problems
from tasker.cli.loading import (
    LOOPBACK,
    LoadedSources,
    explain_invalid_context,
    explain_version_conflicts,
    handle_signals,
    load_sources,
    require_all_handlers,
    resolve_template_argument,
)
from tasker.cli.options import (
    Context,
    Environment,
    HandlerSources,
    Namespace,
    TemplatePaths,
    parse_duration_option,
)
from tasker.cli.render.json import reserve_stdout_for_json, task_to_document, to_plain_json
from tasker.cli.render.progress import PROGRESS_EVENTS, TaskProgressDisplay
from tasker.cli.render.task import render_task_summary, store_option_for
from tasker.client.templates import split_template_reference
from tasker.durations import human_duration
from tasker.engine import Worker
from tasker.errors import TaskFailed
from tasker.handlers import find_inputs_named_like_steps
from tasker.model import Step, Task, TaskFilter, Template
from tasker.settings import WorkerSettings

app = typer.Typer(add_completion=False)


@register_command(app, "run", acts=True, fast=True, hidden=PROGRESS_EVENTS)
async def run_task(
    invocation: Invocation,
    template: Annotated[
        str,
        typer.Argument(
            metavar="TEMPLATE",
            help="A YAML file, or a registered template such as payments.process_refund@^2.1.",
        ),
    ],
    handlers: HandlerSources,
    templates: TemplatePaths = None,
    context: Context = None,
    namespace: Namespace = None,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="RANGE",
            help="Exact version or a range such as ^2.1; default: the latest release.",
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Idempotency key: a repeated key resumes the existing task."
        ),
    ] = None,
    correlation_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Correlation id of the task and its child tasks."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Tag of the task. Repeatable.")
    ] = None,
    timeout: Annotated[
        Any,
        typer.Option(
            parser=parse_duration_option,
            metavar="TIME",
            help="Maximum time to wait for the task to end, such as 90 (seconds) or 10m.",
        ),
    ] = None,
    environment: Environment = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            metavar="",
            help="Replace registered versions that differ; for development only.",
        ),
    ] = False,
) -> ExitCode:
    """Run a task until it ends, with a worker in this process.

    Exit code: 0 complete, 1 failed or cancelled, 2 invalid input, 3 store unavailable,
    4 timeout, 5 rejected, such as a version that differs from the registered one.

    If this process ends before the task does, a worker can continue the task, and so can this
    command with the same idempotency key.
    """
    name, files = resolve_template_argument(template)
    with reserve_stdout_for_json(invocation.as_json):
        loaded = load_sources(handlers, [*(templates or ()), *files])
        embedded = EmbeddedTaskRun(invocation, loaded, environment=environment, replace=replace)
        code = await embedded.run(
            name,
            context or {},
            timeout=timeout,
            namespace=namespace,
            version=version,
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
            tags=tuple(tag or ()),
            created_by=invocation.actor,
        )
    if invocation.as_json and embedded.document is not None:
        invocation.print_json(embedded.document)
    return code


_GRACE = timedelta(seconds=3)  #: grace period for running steps when this process ends
_HASTE = timedelta(seconds=1)  #: grace period for attempts that are still running at the timeout
_SOON = timedelta(seconds=1)


class EmbeddedTaskRun:
    """One task, its worker and its display."""

    def __init__(
        self,
        invocation: Invocation,
        loaded: LoadedSources,
        *,
        environment: str | None,
        replace: bool,
    ) -> None:
        self._invocation = invocation
        self._loaded = loaded
        self._environment = environment
        self._replace = replace
        self._signal: signal.Signals | None = None
        self._interrupted = asyncio.Event()
        self.document: dict[str, Any] | None = None

    async def run(
        self, name: str, context: Any, *, timeout: timedelta | None, **options: Any
    ) -> ExitCode:
        async with self._invocation.open_store(create=True) as store:
            worker = Worker(
                store,
                [self._loaded.handlers],
                templates=self._loaded.templates,
                namespaces=[split_template_reference(name, options["namespace"], None)[0]],
                settings=WorkerSettings(
                    environment=self._environment,
                    grace=_GRACE,
                    http=self._loaded.has_http_steps,
                    http_networks=LOOPBACK,
                ),
                replace=self._replace,
            )
            signals = handle_signals(lambda which, count: self._on_signal(worker, which, count))
            with signals:
                async with explain_version_conflicts(worker.client, self._loaded.templates), worker:
                    template = await self._find_runnable_template(worker, name, options)
                    with self._attach_progress_display(worker, template) as progress:
                        with explain_invalid_context(template.full_name, given=bool(context)):
                            task = await worker.client.create_task(name, context, **options)
                        progress.follow_task(task)
                        if not task.created:
                            progress.update_from_stored_state(
                                task, await worker.client.steps(task.id)
                            )
                        code = await self._wait_for_end_or_signal(worker, task, timeout)
                    self._print_stop_reason(code, timeout, key=options["idempotency_key"])
                    if code is ExitCode.TIMEOUT:
                        worker.stop(_HASTE)
                client = worker.client
                task, steps = await client.get(task.id), await client.steps(task.id)
                self._report_final_state(task, steps, template)
        return code

    async def _find_runnable_template(
        self, worker: Worker, name: str, options: dict[str, Any]
    ) -> Template:
        """Return the named template. Raises HandlerNotFound if a step has no handler here."""
        space = options["namespace"]
        wanted = f"{space}.{name}" if space and "." not in name.partition("@")[0] else name
        template = (await worker.client.template(wanted, options["version"])).template
        require_all_handlers(template, worker.handlers)
        warnings = find_inputs_named_like_steps(template, worker.handlers)
        print_problems(
            self._invocation.stderr_console,
            warnings,
            of=template.full_name,
            kind="warning",
            style="yellow",
        )
        return template

    def _attach_progress_display(self, worker: Worker, template: Template) -> TaskProgressDisplay:
        progress = TaskProgressDisplay(
            self._invocation.text_console, templates=[*self._loaded.templates, template]
        )
        worker.observers.append(progress.observe)
        return progress

    def _on_signal(self, worker: Worker, which: signal.Signals, count: int) -> None:
        self._signal = self._signal or which
        self._interrupted.set()
        worker.stop(_GRACE if count == 1 else timedelta(0))

    async def _wait_for_end_or_signal(
        self, worker: Worker, task: Task, timeout: timedelta | None
    ) -> ExitCode:
        """Wait for the task and its child tasks, for a signal, or for the timeout."""
        ended = asyncio.create_task(self._wait_for_task_and_descendants(worker, task))
        waits: list[asyncio.Task[Any]] = [
            ended,
            asyncio.create_task(self._interrupted.wait()),
            asyncio.create_task(worker.wait_until_ended()),
        ]
        try:
            limit = None if timeout is None else timeout.total_seconds()
            done, _ = await asyncio.wait(waits, timeout=limit, return_when="FIRST_COMPLETED")
            for one in done:
                one.result()  # raises the worker's error
        finally:
            for one in waits:
                one.cancel()
        if ended in done:
            return ended.result()
        return ExitCode(128 + (self._signal or signal.SIGINT)) if done else ExitCode.TIMEOUT

    def _print_stop_reason(
        self, code: ExitCode, timeout: timedelta | None, *, key: str | None
    ) -> None:
        """Print the reason why the command stopped waiting for the task."""
        again = " or when you repeat this command" if key else ""
        goes_on = f"it continues when a worker runs it{again}"
        if code is ExitCode.TIMEOUT:
            message = f"the task did not end within {human_duration(timeout)}; {goes_on}"
            print_message(self._invocation.stderr_console, message, title="Timeout")
        elif self._signal is not None:
            message = f"{self._signal.name} received before the task ended; {goes_on}"
            print_message(self._invocation.stderr_console, message, title="Stopped")

    async def _wait_for_task_and_descendants(self, worker: Worker, task: Task) -> ExitCode:
        code = ExitCode.DONE
        try:
            await worker.client.wait(task.id)
        except TaskFailed:
            code = ExitCode.FAILED
        await self._wait_for_descendants(worker, task)
        return code

    async def _wait_for_descendants(self, worker: Worker, task: Task) -> None:
        """Wait for child tasks that this process runs."""
        for child in await worker.client.tasks(TaskFilter(parent_id=task.id), limit=1000):
            if not child.has_ended and not await self._can_run_here(worker, child):
                continue
            with suppress(TaskFailed):
                await worker.client.wait(child.id)
            await self._wait_for_descendants(worker, child)

    async def _can_run_here(self, worker: Worker, task: Task) -> bool:
        """Return whether a task has all of its handlers here, and is not scheduled for later."""
        stored = await worker.client.template(str(task.template))
        if any(
            worker.handlers.find_handler(
                spec.handler, task.template.namespace, spec.handler_version
            )
            is None
            for spec in stored.template.steps
        ):
            return False
        soon = datetime.now(UTC) + _SOON
        steps = await worker.client.steps(task.id)
        return any(step.attempts or (step.run_at and step.run_at < soon) for step in steps)

    def _report_final_state(self, task: Task, steps: list[Step], template: Template) -> None:
        self.document = {**task_to_document(task), "steps": [to_plain_json(step) for step in steps]}
        if not self._invocation.as_json:
            flag = store_option_for(self._invocation.store_url)
            render_task_summary(self._invocation.stdout_console, task, steps, template, store=flag)
