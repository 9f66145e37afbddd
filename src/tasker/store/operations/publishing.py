"""Settling outcomes that no worker reported, with the events that their steps declare."""

import logging
from collections.abc import Sequence

from tasker import codec
from tasker.layout import NodeLayout
from tasker.model import NewEvent, Outcome, SettleResult
from tasker.store.session import Session
from tasker.template.published_events import build_published_events
from tasker.template.stored import template_from_stored_document

log = logging.getLogger("tasker.store")


async def settle_with_events(
    tx: Session, outcomes: Sequence[Outcome], *, allow_invalid: bool = False
) -> SettleResult:
    """Settle outcomes, and store the events that their steps publish with them.

    With `allow_invalid`, an invalid event is logged and omitted.

    Raises:
        InvalidEventPayload: An event cannot be built, or does not match its schema.
    """
    events = []
    for index, outcome in enumerate(outcomes):
        row = await tx.fetch_one("data_for_step_events", task_id=outcome.task_id, no=outcome.no)
        if row is None:
            continue
        template = template_from_stored_document(codec.loads(row["document"]))
        spec = NodeLayout(template.steps).specs[row["node"] - 1]
        published, invalid = build_published_events(spec, outcome, row["context"])
        if invalid is not None and not allow_invalid:
            raise invalid
        if invalid is not None:
            facts = {"task_id": outcome.task_id, "step": spec.name, "error": str(invalid)}
            log.error("event_invalid", extra=facts)
        template_id, correlation_id = row["template_id"], row["correlation_id"]
        events += [
            NewEvent(index, template_id, spec.name, correlation_id, *event, None)
            for event in published
        ]
    return await tx.settle(outcomes, events)
