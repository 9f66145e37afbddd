"""Reads when the completed steps of tasks are undone: `compensation`."""

from datetime import timedelta

from tasker.model import Compensation, UnsuccessfulEnd
from tasker.template.reading import (
    DAYS_30,
    AllowedKeys,
    LocatedValue,
    read_boolean,
    read_choice,
    read_duration,
)

_COMPENSATION = AllowedKeys(what="a compensation", allowed=("on", "keep_going", "hold"))


def read_compensation_policy(value: LocatedValue) -> Compensation:
    """Read when the completed steps of tasks are undone, and how."""
    fields = value.read_fields(_COMPENSATION)
    default = Compensation()
    on: tuple[UnsuccessfulEnd, ...] | None = None
    if (written := fields.get("on")) is not None:
        items = written.list_items("a list with 'error', 'cancelled' or both")
        read = [read_choice(item, tuple(map(str, UnsuccessfulEnd))) for item in items]
        on = tuple(ending for ending in UnsuccessfulEnd if ending in read)
        if not items:
            written.report_problem("'on' needs 'error', 'cancelled' or both")
    keep_going = fields.read("keep_going", read_boolean)
    hold = fields.read("hold", read_duration, DAYS_30, zero=True)
    return Compensation(
        on=on or default.on,
        keep_going=default.keep_going if keep_going is None else keep_going,
        hold=hold or timedelta(0),
    )
