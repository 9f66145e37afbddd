"""Reads the approvals and external waits of steps."""

from collections.abc import Collection

from tasker.approvals import DEFAULT_FORM, MOST_ASSIGNEES
from tasker.model import ApprovalSpec, ExternalSpec, JsonObject, TimeoutAction
from tasker.template import parts
from tasker.template.expression_types import find_condition_type_errors
from tasker.template.expressions import compile_expression
from tasker.template.reading import (
    YEARS_10,
    AllowedKeys,
    LocatedValue,
    MappingFields,
    read_choice,
    read_duration,
)

_APPROVAL = AllowedKeys(
    what="an approval",
    allowed=("form", "assignees", "timeout", "on_timeout", "escalate", "reject_when"),
    rejected={"approvers": "write 'assignees'", "schema": "write 'form'"},
)
_EXTERNAL = AllowedKeys(what="an external step", allowed=("timeout", "on_timeout"))
_ESCALATION = AllowedKeys(what="an escalation", allowed=("after", "to"))


def read_approval(value: LocatedValue, names: Collection[str]) -> ApprovalSpec:
    """Read the `approval` of a step, whose expressions may use `names`."""
    fields = value.read_fields(_APPROVAL)
    form = fields.read("form", _read_form)
    timeout = fields.read("timeout", read_duration, YEARS_10)
    action = fields.read("on_timeout", read_choice, tuple(map(str, TimeoutAction)))
    if timeout is None and (written := fields.get("on_timeout")) is not None:
        written.report_problem("'on_timeout' needs 'timeout'")
    escalation = fields.get("escalate")
    to = None if escalation is None else escalation.read_fields(_ESCALATION)
    after = None if to is None else to.get_required("after", ": a duration such as 8h")
    if to is not None:
        to.get_required("to", ": a list of assignees")
    return ApprovalSpec(
        form=form,
        assignees=_read_assignees(fields, "assignees", names),
        timeout=timeout,
        on_timeout=TimeoutAction(action or TimeoutAction.FAIL),
        escalate_after=None if after is None else read_duration(after, YEARS_10),
        escalate_to=() if to is None else _read_assignees(to, "to", names),
        reject_when=fields.read(
            "reject_when", _read_rejection_condition, form or DEFAULT_FORM, names
        ),
    )


def read_external(value: LocatedValue) -> ExternalSpec:
    """Read the `external` of a step."""
    fields = value.read_fields(_EXTERNAL)
    timeout = fields.read("timeout", read_duration, YEARS_10)
    actions = (TimeoutAction.FAIL.value, TimeoutAction.CONTINUE.value)
    action = fields.read("on_timeout", read_choice, actions)
    if timeout is None and (written := fields.get("on_timeout")) is not None:
        written.report_problem("'on_timeout' needs 'timeout'")
    return ExternalSpec(timeout=timeout, on_timeout=TimeoutAction(action or TimeoutAction.FAIL))


def _read_form(value: LocatedValue) -> JsonObject | None:
    """Read the schema of a form, which is always an object."""
    form = parts.read_schema(value)
    if form is not None and form.get("type") != "object":
        value.report_problem("an approval's form must describe an object: write 'type: object'")
    return form


def _read_assignees(fields: MappingFields, key: str, names: Collection[str]) -> tuple[str, ...]:
    assignees: list[str] = []
    items = fields.list_items(key, "a list of assignees")
    for item in items:
        assignee = parts.read_text_template(item, names)
        if assignee is None:
            continue
        if not assignee.startswith(("user:", "role:")) or assignee in ("user:", "role:"):
            item.report_problem(
                f"an assignee must be user:NAME or role:NAME, not {assignee[:60]!r}"
            )
        elif assignee in assignees:
            item.report_problem(f"{assignee!r} is listed twice")
        else:
            assignees.append(assignee)
    if len(items) > MOST_ASSIGNEES:
        items[MOST_ASSIGNEES].report_problem(
            f"an approval may have at most {MOST_ASSIGNEES} assignees, found {len(items)}"
        )
    return tuple(assignees)


def _read_rejection_condition(
    value: LocatedValue, form: JsonObject, names: Collection[str]
) -> str | None:
    """Read the rejection condition over the filled-in `form` and `names`."""
    text = parts.read_expression(value, (*names, "form"))
    if text is not None:
        schemas = {**dict.fromkeys(names, True), "form": form}
        for problem in find_condition_type_errors(compile_expression(text), schemas):
            value.report_problem(f"invalid expression {text[:100]!r}: {problem}")
    return text
