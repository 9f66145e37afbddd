"""The tools that assistants call."""

from collections.abc import Awaitable, Callable
from functools import wraps
from importlib.metadata import version
from inspect import cleandoc
from typing import Any, ParamSpec, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from tasker.client import Client
from tasker.errors import InvalidInput, TaskerError
from tasker.mcp.actions import Answer, AssistantActions
from tasker.mcp.views import summarize_step, summarize_task, to_shortened_json
from tasker.model import TaskFilter, TaskStatus

P = ParamSpec("P")
T = TypeVar("T")

INSTRUCTIONS = """
Tasker runs workflows. A task is one execution of a template and consists of steps.
The tool `why` explains why a task makes no progress. Every change takes two calls:
first, call a preview tool and show the effects that it returns to the person; then, call `act` with
the preview's token.
"""
_MOST_TASKS = 100
_MOST_FAILURES = 25


def make_server(client: Client) -> MCPServer:
    """Return a server with the permissions of a client.

    Args:
        client: A client of a store or of a server.
    """
    server = MCPServer(
        "tasker", instructions=INSTRUCTIONS.strip(), version=version("tasker-workflows")
    )
    actions = AssistantActions(client)
    _add_reading_tools(server, client)
    _add_changing_tools(server, actions)
    return server


def _convert_errors_to_tool_errors(tool: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Let a tool fail with the message of a Tasker error."""

    tool.__doc__ = " ".join(cleandoc(tool.__doc__ or "").split())

    @wraps(tool)
    async def call_tool(*args: P.args, **named: P.kwargs) -> T:
        try:
            return await tool(*args, **named)
        except TaskerError as error:
            raise ToolError(f"{error.code}: {error}") from None

    return call_tool


def _add_reading_tools(server: MCPServer, client: Client) -> None:
    @server.tool()
    @_convert_errors_to_tool_errors
    async def list_templates(namespace: str | None = None) -> Answer:
        """List workflow templates: full name and description. `namespace` narrows the list."""
        stored = await client.templates(namespace)
        return {
            "templates": [
                {"name": each.template.full_name, "description": each.template.description}
                for each in stored
            ]
        }

    @server.tool()
    @_convert_errors_to_tool_errors
    async def show_template(name: str) -> Answer:
        """Show a template, such as `payments.refund@2.1.0`: its steps and the inputs of tasks."""
        template = (await client.template(name)).template
        steps = [
            {"name": step.name, "depends_on": list(step.dependencies)} for step in template.steps
        ]
        return {
            "name": template.full_name,
            "description": template.description,
            "input_schema": to_shortened_json(template.input_schema),
            "steps": steps,
        }

    @server.tool()
    @_convert_errors_to_tool_errors
    async def search_tasks(
        namespace: str | None = None,
        template: str | None = None,
        status: str | None = None,
        tag: str | None = None,
        correlation_id: str | None = None,
        error_code: str | None = None,
        attributes: dict[str, str] | None = None,
        limit: int = 25,
    ) -> Answer:
        """List tasks, newest first. All filters must match. `template` is a name without a
        namespace; `attributes` are the searchable attributes declared by templates."""
        filter = TaskFilter(
            namespace=namespace,
            name=template,
            status=_parse_status(status),
            tag=tag,
            correlation_id=correlation_id,
            error_code=error_code,
            attributes=attributes or {},
        )
        tasks = await client.tasks(filter, limit=max(1, min(limit, _MOST_TASKS)))
        return {"tasks": [summarize_task(task) for task in tasks]}

    @server.tool()
    @_convert_errors_to_tool_errors
    async def show_task(task_id: str) -> Answer:
        """Show a task: its inputs, its result or error, and its steps."""
        task = await client.get(task_id)
        return {
            **summarize_task(task),
            "context": to_shortened_json(task.context),
            "result": to_shortened_json(task.result),
            "error": to_shortened_json(task.error),
            "steps": [summarize_step(step) for step in await client.steps(task_id)],
        }

    @server.tool()
    @_convert_errors_to_tool_errors
    async def why(task_id: str, step: str | None = None) -> Answer:
        """Explain why a task or a step makes no progress, most important reason first."""
        return {"reasons": to_shortened_json(await client.why(task_id, step=step))}

    @server.tool()
    @_convert_errors_to_tool_errors
    async def list_failures(namespace: str | None = None) -> Answer:
        """List failed tasks, newest first, each with the step that failed and its error."""
        filter = TaskFilter(namespace=namespace, status=TaskStatus.ERROR)
        failed = await client.tasks(filter, limit=_MOST_FAILURES)
        tasks = [await client.get(task.id) for task in failed]
        return {
            "failures": [
                {**summarize_task(task), "failure": to_shortened_json(task.failure)}
                for task in tasks
            ]
        }

    @server.tool()
    @_convert_errors_to_tool_errors
    async def list_approvals(mine: bool = False) -> Answer:
        """List the approvals that tasks wait for, oldest first; `mine`: only those that the caller
        may decide."""
        return {"approvals": to_shortened_json(await client.approvals(mine=mine))}


def _add_changing_tools(server: MCPServer, actions: AssistantActions) -> None:
    @server.tool()
    @_convert_errors_to_tool_errors
    async def preview_action(
        action: str, task_id: str, step: str | None = None, result: Any = None, reason: str = ""
    ) -> Answer:
        """Show what an action would do, without performing it. `action`: cancel, retry, resolve,
        complete_step (with `step` and `result`) or skip_step (with `step`). The token in the
        response permits the action."""
        return await actions.preview_action(action, task_id, step, result, reason)

    @server.tool()
    @_convert_errors_to_tool_errors
    async def preview_task(
        template: str,
        context: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
        reason: str = "",
    ) -> Answer:
        """Show what a new task would do. The token in the response permits creating it."""
        return await actions.preview_task(template, context or {}, idempotency_key, reason)

    @server.tool()
    @_convert_errors_to_tool_errors
    async def preview_signal(
        task_id: str, name: str, payload: Any = None, reason: str = ""
    ) -> Answer:
        """Show the steps that wait for a signal. The token in the response permits sending it."""
        return await actions.preview_signal(task_id, name, payload, reason)

    @server.tool()
    @_convert_errors_to_tool_errors
    async def preview_decision(approval_id: str, form: dict[str, Any], reason: str = "") -> Answer:
        """Show the approval that `form`, such as {"approved": true}, would decide. The token in the
        response permits the decision."""
        return await actions.preview_decision(approval_id, form, reason)

    @server.tool()
    @_convert_errors_to_tool_errors
    async def act(token: str) -> Answer:
        """Perform the previewed action. Each token permits one action, once, within ten minutes. An
        action from `preview_action` is rejected if the task has changed since."""
        return await actions.perform_previewed_action(token)


def _parse_status(status: str | None) -> TaskStatus | None:
    if status is None:
        return None
    try:
        return TaskStatus(status)
    except ValueError:
        allowed = ", ".join(each.value for each in TaskStatus)
        raise InvalidInput(
            f"{status!r} is not a status; allowed: {allowed}", path="$.status"
        ) from None
