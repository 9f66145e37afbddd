"""Approvals of steps: their documents and expressions."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from tasker.model import ApprovalSpec, Json, JsonObject, TimeoutAction
from tasker.template.expressions import compile_expression, compile_text


def approval_expressions(approval: ApprovalSpec) -> Iterator[str]:
    """Yield the expressions and the paths of placeholders of an approval, without its form."""
    for assignee in (*approval.assignees, *approval.escalate_to):
        yield from map(str, compile_text(assignee).paths)
    if approval.reject_when is not None:
        for path in compile_expression(approval.reject_when).paths:
            if path.keys[0] != "form":
                yield str(path)


def approval_to_document(approval: ApprovalSpec) -> JsonObject:
    """Write an approval in the form used in templates. Defaults are omitted."""
    document: dict[str, Json] = {}
    if approval.form is not None:
        document["form"] = approval.form
    if approval.assignees:
        document["assignees"] = list(approval.assignees)
    if approval.timeout is not None:
        document["timeout"] = approval.timeout.total_seconds()
    if approval.on_timeout is not TimeoutAction.FAIL:
        document["on_timeout"] = approval.on_timeout.value
    if approval.escalate_after is not None:
        document["escalate"] = {
            "after": approval.escalate_after.total_seconds(),
            "to": list(approval.escalate_to),
        }
    if approval.reject_when is not None:
        document["reject_when"] = approval.reject_when
    return document


def approval_from_document(document: Mapping[str, Any]) -> ApprovalSpec:
    """Read an approval written by `approval_to_document`."""
    escalation = document.get("escalate", {})
    return ApprovalSpec(
        form=document.get("form"),
        assignees=tuple(document.get("assignees", ())),
        timeout=_seconds_to_timedelta(document.get("timeout")),
        on_timeout=TimeoutAction(document.get("on_timeout", TimeoutAction.FAIL)),
        escalate_after=_seconds_to_timedelta(escalation.get("after")),
        escalate_to=tuple(escalation.get("to", ())),
        reject_when=document.get("reject_when"),
    )


def _seconds_to_timedelta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
