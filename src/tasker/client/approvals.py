"""Approvals in the `Client` protocol and in the local client."""

from collections.abc import Collection
from typing import Any, Protocol

from tasker.approvals import Approval, ApprovalStatus, assignees_actor_may_decide_for
from tasker.codec import dumps
from tasker.errors import InvalidInput
from tasker.limits import ARRIVAL_BYTES
from tasker.model import Json, StepSpec, TaskId, Template
from tasker.store.protocol import AuditNote, Store
from tasker.template.schema import fill_and_check_input


class ApprovalClient(Protocol):
    """Methods for approvals: decisions that steps wait for."""

    async def approvals(
        self,
        *,
        mine: bool = False,
        status: str = "open",
        namespace: str | None = None,
        task_id: str | None = None,
        groups: Collection[str] = (),
        after: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """List approvals: open ones oldest first, decided ones newest first.

        Args:
            mine: Only approvals that the actor may decide.
            status: "open" or "decided".
            namespace: Only approvals of tasks in this namespace.
            task_id: Only approvals of this task.
            groups: The actor's groups, for `mine`. A server uses the credential's groups.
            after: Only open ones after the approval with this id: the next page.
            limit: Maximum number, up to 1,000.

        Raises:
            InvalidInput: `status` or `limit` is invalid.
        """
        ...

    async def approval(self, approval_id: str) -> Approval:
        """Return an approval. Raises NotFound."""
        ...

    async def decide(
        self,
        approval_id: str,
        form: Any,
        *,
        reason: str = "",
        groups: Collection[str] = (),
    ) -> Approval:
        """Decide an approval, so its step continues.

        Args:
            approval_id: The approval.
            form: The filled-in form, an object of at most 64 KiB. Defaults are added.
            reason: For the audit log.
            groups: The actor's groups, for assignees of the form `role:NAME`. A server uses the
                credential's groups.

        Raises:
            NotFound: The approval does not exist.
            InvalidInput: The form does not match its schema; `violations` lists the parts.
            NotAnAssignee: The approval is assigned to others.
            WrongStatus: It was already decided, or its step no longer waits for it.
        """
        ...


class LocalApprovals(ApprovalClient):
    """Implements `ApprovalClient` with a store."""

    store: Store
    actor: str

    def _audit_note(self, reason: str) -> AuditNote:
        raise NotImplementedError

    async def approvals(
        self,
        *,
        mine: bool = False,
        status: str = "open",
        namespace: str | None = None,
        task_id: str | None = None,
        groups: Collection[str] = (),
        after: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        check_approval_filters(status, limit)
        task = None if task_id is None else TaskId(task_id)
        if status == ApprovalStatus.DECIDED:
            return await self.store.list_decided_approvals(
                namespace=namespace, task_id=task, limit=limit
            )
        return await self.store.list_open_approvals(
            assignee=assignees_actor_may_decide_for(self.actor, groups) if mine else None,
            namespace=namespace,
            task_id=task,
            after=after,
            limit=limit,
        )

    async def approval(self, approval_id: str) -> Approval:
        return await self.store.get_approval(approval_id)

    async def decide(
        self,
        approval_id: str,
        form: Any,
        *,
        reason: str = "",
        groups: Collection[str] = (),
    ) -> Approval:
        approval = await self.store.get_approval(approval_id)
        filled = await fill_and_check_form(approval, form)
        text = dumps(filled, what="the form", limit=ARRIVAL_BYTES)
        act = self._audit_note(reason)
        return await self.store.decide_approval(approval_id, text, groups=groups, act=act)


def check_approval_filters(status: str, limit: int) -> None:
    """Raise InvalidInput unless the filters of a list of approvals are valid."""
    if status not in (ApprovalStatus.OPEN, ApprovalStatus.DECIDED):
        raise InvalidInput(f"status must be open or decided, not {status[:50]!r}", path="$.status")
    if not 1 <= limit <= 1000:
        raise InvalidInput(f"limit must be from 1 to 1,000, not {limit}", path="$.limit")


async def fill_and_check_form(approval: Approval, form: Json) -> Json:
    """Return a form with defaults filled in.

    Raises:
        InvalidInput: It does not match the approval's schema.
    """
    if not isinstance(form, dict):
        raise InvalidInput("the form must be an object", path="$")
    step = StepSpec(name="form")
    schema = Template(
        namespace="n", name="n", version="0.0.0", steps=(step,), input_schema=approval.form
    )
    return await fill_and_check_input(schema, form)
