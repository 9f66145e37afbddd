"""Values and names of every kind, which are read as they were stored."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tasker import codec
from tasker.model import (
    Json,
    JsonText,
    completed_outcome,
    failed_outcome,
)
from tasker.store.protocol import AuditNote, Store
from tasker.testing.store_suite.factories import (
    ManualWorker,
    StoreTests,
    create_task,
    make_new_task,
    one_step_template,
    register_and_create_task,
    register_template,
    steps_by_name,
)

VALUES: dict[str, Json] = {
    "null": None,
    "booleans": [True, False],
    "integers": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1],
    "floats": [0.1, -0.0, 1e-300, 1.7976931348623157e308, 5e-324],
    "text": 'ünï \u2028 "quotes" \\ back\\u0000slash \t\n {"no": json} :name $1 %s',
    "injection": "'; drop table step; --",
    "beyond the basic plane": "😀𝒳\U0010ffff",
    "empty": ["", [], {}, {"": ""}],
    "keys": {"z": 1, "a": 2, "m": {"ü": 3, "with space": 4, "$.path[0]": 5}},
    "large": "x" * 1_000_000,
    "wide": list(range(20_000)),
    "deep": codec.loads("[" * 200 + "]" * 200),
}


class TestValues(StoreTests):
    @pytest.mark.parametrize("kind", VALUES)
    async def test_json_of_every_kind_is_read_as_written(self, store: Store, kind: str) -> None:
        """This holds for contexts, results and checkpoints."""
        value = VALUES[kind]
        text = codec.dumps(value)
        template = await register_template(store, one_step_template())
        task_id = await create_task(store, template, {"value": value})
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await store.store_checkpoint(claim, text)
        await worker.fail_with_retry(claim)
        claim = await worker.claim_one()
        assert claim.checkpoint is not None
        await worker.settle(completed_outcome(claim, text))

        step = (await steps_by_name(store, task_id))["only"]
        (given,) = await store.load_task_inputs([task_id])
        (loaded,) = await store.load_step_results({task_id: [1]})

        assert {"value": value} == (await store.get_task(task_id)).context
        assert {"value": value} == codec.loads(given.context)
        assert (value, value) == (step.result, step.checkpoint)
        assert (value, value) == (codec.loads(loaded.result or ""), codec.loads(claim.checkpoint))

    async def test_json_text_is_read_character_for_character(self, store: Store) -> None:
        """Spaces, order and repeated keys are kept."""
        text = JsonText('{ "b":1,\n"a" : [1.0, 1e2, 10000000000000000000000],"b": 2}')
        new = make_new_task(await register_template(store, one_step_template()))
        await store.create_tasks([replace(new, context=text)])
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await worker.settle(completed_outcome(claim, text))

        (given,) = await store.load_task_inputs([new.id])
        (loaded,) = await store.load_step_results({new.id: [1]})

        assert (text, text) == (given.context, loaded.result)

    async def test_errors_are_stored_as_given(self, store: Store) -> None:
        """The step and the history have the same error."""
        error = {"type": "Täst", "message": "a 'b' \"c\"", "details": {"n": [1, None]}}
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.settle(failed_outcome(await worker.claim_one(), codec.dumps(error)))

        assert error == (await steps_by_name(store, task_id))["only"].error
        assert [error] == [row.error for row in await store.list_attempts(task_id)]

    async def test_names_may_contain_any_text(self, store: Store) -> None:
        """This holds for workers, actors, reasons, tags and correlation ids."""
        name = """it's "a" name: $1 {x} ünï😀"""
        fields = {"correlation_id": name, "created_by": name, "reason": name, "tags": (name, "{}")}
        task_id = await register_and_create_task(store, one_step_template(), **fields)
        worker = await ManualWorker.register(store, name)
        claims = await worker.claim()
        await worker.fail(*claims)
        task = await store.get_task(task_id)
        await store.resolve_step(task_id, 1, None, AuditNote(actor=name, reason=name))

        assert (name, name, name, (name, "{}")) == (
            task.correlation_id,
            task.created_by,
            task.reason,
            task.tags,
        )
        (entry,) = await store.list_audit_entries(task_id)
        assert (name, name) == (entry.actor, entry.reason)
        assert name == (await store.list_attempts(task_id))[0].worker
        assert [name] == [each.name for each in await store.list_workers()]

    async def test_instants_are_aware_and_precise(self, store: Store) -> None:
        """They are in UTC, and precise to the microsecond."""
        template = await register_template(store, one_step_template())
        now = (await store.get_task(await create_task(store, template))).created_at
        run_at = now.replace(microsecond=123_457)
        task_id = await create_task(store, template, run_at=run_at)

        (step,) = await store.list_steps(task_id)

        assert run_at == step.run_at
        assert step.run_at is not None
        assert (timedelta(0), timedelta(0)) == (step.run_at.utcoffset(), now.utcoffset())
