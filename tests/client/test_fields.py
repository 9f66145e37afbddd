"""What may be said about a new task besides its context."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.client.conftest import Scene

from tasker import TaskRequest, Template
from tasker.client.fields import LONGEST_DEADLINE, LONGEST_NAME, LONGEST_TEXT
from tasker.errors import Misuse
from tasker.model import StepSpec

pytestmark = pytest.mark.anyio

ID = "01a1f8ba-de53-7410-b307-f1b7f80f263e"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("idempotency_key", ""),
        ("idempotency_key", "a\0b"),
        ("idempotency_key", "\ud800"),
        ("idempotency_key", "k" * (LONGEST_NAME + 1)),
        ("correlation_id", "\0"),
        ("created_by", 5),
        ("created_by", "ü" * LONGEST_NAME),
        ("reason", "\ud800"),
        ("reason", "r" * (LONGEST_TEXT + 1)),
        ("trace", "\0"),
        ("tags", "abc"),
        ("tags", ("fine", "\0")),
        ("tags", ("fine", "")),
        ("tags", (None,)),
        ("parent_id", "nonsense"),
        ("run_at", datetime.max),
        ("run_at", datetime.max.replace(tzinfo=UTC)),
        ("run_at", datetime.min.replace(tzinfo=UTC)),
        ("run_at", datetime(2030, 1, 1)),
        ("run_at", "2030"),
        ("deadline", timedelta.max),
        ("deadline", timedelta(0)),
        ("deadline", timedelta(seconds=-1)),
        ("deadline", "soon"),
        ("delay", timedelta(days=3651)),
        ("delay", -1),
        ("delay", "soon"),
        ("unique_while", "open"),  # without an idempotency key
        ("if_exists", "return"),
        ("if_exists", "ignore"),
    ],
)
def test_values_that_cannot_be_stored_are_refused_with_their_field(field: str, value: Any) -> None:
    with pytest.raises(Misuse, match=field):
        TaskRequest(template="n.t", **{field: value})


def test_a_start_and_a_delay_exclude_each_other() -> None:
    with pytest.raises(Misuse, match="delay cannot be combined with run_at"):
        TaskRequest(template="n.t", run_at=datetime(2030, 1, 1, tzinfo=UTC), delay=5)


async def test_values_at_the_bounds_are_stored(scene: Scene) -> None:
    steps = (StepSpec(name="only"),)
    await scene.client.register(Template(namespace="n", name="t", version="1.0.0", steps=steps))
    parent = await scene.client.create_task("n.t")
    fields: dict[str, Any] = {
        "idempotency_key": "k" * 255,
        "tags": ("it's", '"]', "\\", "{a,b}", "'; drop table task; --"),
        "parent_id": parent.id.upper(),
        "run_at": datetime(9000, 1, 1, tzinfo=UTC),
        "deadline": LONGEST_DEADLINE,
    }
    task = await scene.client.create_task("n.t", **fields)
    [stored, _] = await scene.client.tasks()
    [step] = await scene.client.steps(task.id)

    assert (task.id, fields["idempotency_key"]) == (stored.id, stored.idempotency_key)
    assert (fields["tags"], parent.id) == (stored.tags, stored.parent_id)
    assert fields["run_at"] == step.run_at
    assert stored.deadline is not None
