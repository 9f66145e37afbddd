"""Previews of actions, and the actions themselves."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from tasker.client import Client
from tasker.errors import InvalidInput
from tasker.mcp.tokens import ActionTokens, PreviewedAction
from tasker.mcp.views import to_shortened_json
from tasker.preview import TaskAction, make_action_preview

Answer: TypeAlias = dict[str, Any]
_Action: TypeAlias = Callable[[Client, Mapping[str, Any]], Awaitable[Any]]


class AssistantActions:
    """Changes by an assistant, in two steps: a preview returns a token, which performs the change.

    Args:
        client: The client, whose permissions apply.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tokens = ActionTokens()

    async def preview_action(
        self,
        action: str,
        task_id: str,
        step: str | None,
        result: Any,
        reason: str,
    ) -> Answer:
        """Return what an action on a task would do, and the token that permits it.

        Raises:
            InvalidInput: The action is unknown, needs a step, or has none.
            NotFound: The task does not exist.
        """
        act = _parse_action(action)
        if act in (TaskAction.COMPLETE_STEP, TaskAction.SKIP_STEP) and step is None:
            raise InvalidInput(f"{act.value} needs a step", path="$.step")
        if act in (TaskAction.CANCEL, TaskAction.RESOLVE) and step is not None:
            raise InvalidInput(
                f"{act.value} acts on the whole task: omit the argument 'step'", path="$.step"
            )
        task = await self._client.get(task_id)
        steps = await self._client.steps(task_id)
        names = None if step is None else [step]
        shown = make_action_preview(act, task, steps, names=names)
        answer: Answer = {"effects": list(shown.effects), "preview": to_shortened_json(shown)}
        if not shown.rejected:
            arguments = {
                "task_id": task.id,
                "step": step,
                "result": result,
                "reason": reason,
                "etag": shown.etag,
            }
            answer["token"] = self._tokens.issue(act.value, arguments)
        return answer

    async def preview_task(
        self, template: str, context: Mapping[str, Any], idempotency_key: str | None, reason: str
    ) -> Answer:
        """Return the steps that a new task would have, and the token that permits it.

        Raises:
            NotFound: The template does not exist.
        """
        stored = await self._client.template(template)
        arguments = {
            "template": stored.template.full_name,
            "context": dict(context),
            "idempotency_key": idempotency_key,
            "reason": reason,
        }
        return {
            "effects": [f"a new task of {stored.template.full_name} is created"],
            "steps": [step.name for step in stored.template.steps],
            "input_schema": to_shortened_json(stored.template.input_schema),
            "token": self._tokens.issue("create", arguments),
        }

    async def preview_signal(self, task_id: str, name: str, payload: Any, reason: str) -> Answer:
        """Return the steps that wait for a signal, and the token that permits sending it.

        Raises:
            NotFound: The task does not exist.
        """
        task = await self._client.get(task_id)
        reasons = [each.text for each in await self._client.why(task_id)]
        arguments = {"task_id": task.id, "name": name, "payload": payload, "reason": reason}
        return {
            "effects": [f"the signal {name!r} is sent to task {task.id} of {task.full_name}"],
            "why": reasons,
            "token": self._tokens.issue("signal", arguments),
        }

    async def preview_decision(
        self, approval_id: str, form: Mapping[str, Any], reason: str
    ) -> Answer:
        """Return the approval that would be decided, and the token that permits it.

        Raises:
            NotFound: The approval does not exist.
        """
        approval = await self._client.approval(approval_id)
        arguments = {"approval_id": approval_id, "form": dict(form), "reason": reason}
        return {
            "effects": ["the step continues with the decision, which cannot be changed later"],
            "approval": to_shortened_json(approval),
            "token": self._tokens.issue("decide", arguments),
        }

    async def perform_previewed_action(self, token: str) -> Answer:
        """Perform the previewed action.

        Raises:
            InvalidInput: The token is unknown, used or too old.
            TaskChanged: The task has changed since the preview.
            Forbidden: The client lacks the permission.
        """
        planned: PreviewedAction = self._tokens.redeem(token)
        done = await _ACTIONS[planned.action](self._client, planned.arguments)
        return {
            "action": planned.action,
            "at": datetime.now(UTC).isoformat(),
            "now": to_shortened_json(done),
        }


def _parse_action(action: str) -> TaskAction:
    try:
        return TaskAction(action)
    except ValueError:
        allowed = ", ".join(act.value for act in TaskAction)
        raise InvalidInput(
            f"{action!r} is not an action; allowed: {allowed}", path="$.action"
        ) from None


async def _cancel_task(client: Client, given: Mapping[str, Any]) -> Any:
    return await client.cancel(given["task_id"], reason=given["reason"], if_match=given["etag"])


async def _retry_task(client: Client, given: Mapping[str, Any]) -> Any:
    steps = None if given["step"] is None else [given["step"]]
    return await client.retry(
        given["task_id"], steps=steps, reason=given["reason"], if_match=given["etag"]
    )


async def _resolve_task(client: Client, given: Mapping[str, Any]) -> Any:
    return await client.resolve(
        given["task_id"],
        given["step"],
        given["result"],
        reason=given["reason"],
        if_match=given["etag"],
    )


async def _complete_step(client: Client, given: Mapping[str, Any]) -> Any:
    return await client.complete_step(
        given["task_id"],
        given["step"],
        given["result"],
        reason=given["reason"],
        if_match=given["etag"],
    )


async def _skip_step(client: Client, given: Mapping[str, Any]) -> Any:
    return await client.skip_step(
        given["task_id"], given["step"], reason=given["reason"], if_match=given["etag"]
    )


async def _create_task(client: Client, given: Mapping[str, Any]) -> Any:
    return await client.create_task(
        given["template"],
        given["context"],
        idempotency_key=given["idempotency_key"],
        reason=given["reason"],
    )


async def _send_signal(client: Client, given: Mapping[str, Any]) -> Any:
    return await client.signal(
        given["task_id"], given["name"], given["payload"], reason=given["reason"]
    )


async def _decide_approval(client: Client, given: Mapping[str, Any]) -> Any:
    return await client.decide(given["approval_id"], given["form"], reason=given["reason"])


_ACTIONS: Mapping[str, _Action] = {
    TaskAction.CANCEL.value: _cancel_task,
    TaskAction.RETRY.value: _retry_task,
    TaskAction.RESOLVE.value: _resolve_task,
    TaskAction.COMPLETE_STEP.value: _complete_step,
    TaskAction.SKIP_STEP.value: _skip_step,
    "create": _create_task,
    "signal": _send_signal,
    "decide": _decide_approval,
}
