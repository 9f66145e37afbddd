"""Answers the calls of running attempts: checkpoints, durable calls, child tasks, instances."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasker import codec
from tasker.client import LocalClient
from tasker.durable import DurableCallConflict
from tasker.engine.instances import make_instance_reader
from tasker.engine.logs import hide_secrets
from tasker.engine.services import HandlerServices
from tasker.errors import AttemptCancelled, PermanentError
from tasker.handlers import LiveAttempt
from tasker.handlers.context import require_same_instance_count
from tasker.handlers.instances import PAGE, EnclosingInstances, plan_new_instances
from tasker.limits import INSTANCES, LOG_CHARACTERS, LOG_RECORDS
from tasker.model import Claim
from tasker.redact import redact_passwords
from tasker.remote import fields
from tasker.remote.errors import InvalidRequest
from tasker.remote.registered import RegisteredWorker
from tasker.remote.serving import PAYLOAD, ServedStep
from tasker.remote.steps import StepFinder
from tasker.remote.waits import find_or_create_child_task, record_durable_call, record_once_result
from tasker.step_logs import NewLogRecord, encode_log_fields, log_level_number
from tasker.store.protocol import Store
from tasker.template.document import template_to_document


class AttemptService:
    """Answers the calls of running attempts. Stored data is durable when a method returns.

    Args:
        store: The store.
        finder: Finds the steps of tickets.
        services: Returns the services that handlers use through their context.
        client: The client that creates tasks on behalf of attempts.
    """

    def __init__(
        self,
        store: Store,
        finder: StepFinder,
        services: Callable[[], HandlerServices],
        client: LocalClient,
    ) -> None:
        self._store = store
        self._finder = finder
        self._services = services
        self._client = client

    async def save_checkpoint(self, worker: RegisteredWorker, body: fields.JsonBody) -> None:
        """Store a checkpoint. Raises AttemptCancelled, InvalidInput, InvalidTicket, TooLarge."""
        ticket = await self._finder.verify_ticket(worker, body.get("ticket"))
        if not await self.store_checkpoint_if_held(ticket.claim, body.get("value")):
            raise AttemptCancelled("the checkpoint was rejected: the attempt is over")

    async def store_checkpoint_if_held(self, claim: Claim, value: Any) -> bool:
        """Store a checkpoint if the attempt still holds its claim; otherwise return False."""
        return await self._store.store_checkpoint(claim, codec.dumps(value, what="the checkpoint"))

    async def list_durable_calls(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> dict[str, Any]:
        """Return the durable calls that a step has recorded."""
        ticket = await self._finder.verify_ticket(worker, body.get("ticket"))
        return {
            "calls": [
                {
                    "name": call.name,
                    "kind": call.kind,
                    "value": None if call.value is None else fields.json_fragment(call.value),
                    "remaining_s": max(call.remaining, 0.0),
                }
                for call in await self._store.load_durable_calls(ticket.claim)
            ]
        }

    async def record_once(self, worker: RegisteredWorker, body: fields.JsonBody) -> None:
        """Record a durable call of the kind `once`: see `waits.record_once_result`."""
        await record_once_result(
            await self._finder.get_step_by_ticket(worker, body), body, self._services()
        )

    async def record_durable_call(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> dict[str, Any]:
        """Record a `once`, `sleep` or `run_task` call: see `waits.record_durable_call`."""
        step = await self._finder.get_step_by_ticket(worker, body)
        return {"remaining_s": await record_durable_call(step, body, self._services())}

    async def find_or_create_child_task(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> Mapping[str, Any]:
        """Find or create a child task: see `waits.find_or_create_child_task`."""
        step = await self._finder.get_step_by_ticket(worker, body)
        if not await self._finder.is_claim_held(worker, step):
            raise AttemptCancelled("the attempt is over")
        client = self._client.acting_as(worker.principal)  # the children's `created_by`
        return await find_or_create_child_task(
            step, body, HandlerServices(self._store, client), self._store
        )

    async def spawn_instances(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> dict[str, Any]:
        """Add instances to the map that the step of the request's ticket is part of."""
        return await self.parse_and_spawn_instances(
            await self._finder.get_step_by_ticket(worker, body), body
        )

    async def parse_and_spawn_instances(
        self, step: ServedStep, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Add instances to the map that a step is part of.

        Raises: AttemptCancelled, DurableCallConflict, InvalidInput, Misuse, TooLarge.
        """
        attempt = LiveAttempt(step.claim, step.task.input, {}, self._services())
        spawned, key = None, fields.read_text(body, "call", most=200)
        around = EnclosingInstances.for_step(step.task.compiled.graph, step.node)
        target, items = fields.read_text(body, "step"), body.get("items")
        for new in plan_new_instances(step.task.instance, around, target, items, key):
            if "begin" in body:  # the items are part of a longer list
                begin = fields.read_integer(body, "begin", 0, INSTANCES)
                total = fields.read_integer(body, "instances", 0, INSTANCES)
                part = new._replace(begin=begin + new.begin, instances=total)
            else:
                part = new
            spawned = await self._services().spawn_instances(attempt, part)
            try:
                require_same_instance_count(part, spawned)
            except PermanentError as error:
                raise DurableCallConflict(str(error)) from None
        first = 0 if spawned is None else spawned.first_instance
        return {"first_instance": first, "instances": spawned.instances if spawned else 0}

    async def list_instance_results(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> dict[str, Any]:
        """Return results of the instances of an earlier step: a page of at most `PAGE`.

        Raises: AttemptCancelled, InvalidRequest, InvalidTicket.
        """
        step = await self._finder.get_step_by_ticket(worker, body)
        if not await self._finder.is_claim_held(worker, step):
            raise AttemptCancelled("the attempt is over")
        name, begin = (
            fields.read_text(body, "step"),
            fields.read_integer(body, "begin", 0, INSTANCES),
        )
        around = EnclosingInstances.for_step(step.task.compiled.graph, step.node)
        joined = around.joined.get(name)
        if joined is None:
            raise InvalidRequest(
                f"step {step.name!r} can read the instances of"
                f" {', '.join(sorted(around.joined)) or 'no step'}, not of {name!r}",
                path="$.step",
            )
        join_no = joined.join_number(step.task.instance)
        reader = make_instance_reader(self._store, step.claim.task_id, joined, join_no)
        results: list[Any] = []
        left = PAYLOAD
        for text in await reader.read_page(begin, PAGE):
            left -= len(text or "")
            if left < 0 and results:
                break
            results.append(None if text is None else fields.json_fragment(text))
        return {"results": results}

    async def log_progress(self, worker: RegisteredWorker, body: fields.JsonBody) -> None:
        """Store the progress of an attempt, as a log record with the field `fraction`.

        Raises: AttemptCancelled, InvalidRequest, InvalidTicket.
        """
        fraction = fields.read_number(body, "fraction", 0.0, 1.0)
        line = {
            "number": body.get("number"),
            "at": self._store.clock.now().isoformat(),
            "message": body.get("message", ""),
            "source": "progress",
            "fields": {"fraction": fraction},
        }
        await self._append_log_records(worker, body, [line])

    async def append_logs(self, worker: RegisteredWorker, body: fields.JsonBody) -> None:
        """Store log records of an attempt. Raises as `log_progress`."""
        await self._append_log_records(
            worker, body, fields.read_list(body, "lines", dict, most=LOG_RECORDS)
        )

    async def _append_log_records(
        self, worker: RegisteredWorker, body: fields.JsonBody, lines: Sequence[fields.JsonBody]
    ) -> None:
        """Store log records of an attempt that holds its claim."""
        claim = (await self._finder.verify_ticket(worker, body.get("ticket"))).claim
        records = [_parse_log_record(claim, line) for line in lines]
        if not any(
            held.attempt_key == claim.attempt_key
            for held in await self._store.list_held_claims(worker.id)
        ):
            raise AttemptCancelled("the attempt is over")
        await self._store.append_logs(records)

    async def read_template(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> dict[str, Any]:
        """Return the template of a step."""
        step = await self._finder.get_step_by_ticket(worker, body)
        stored = await self._store.template_by_id(step.task.input.template_id)
        return {
            "template_id": step.task.input.template_id,
            "template": template_to_document(stored.template),
        }


def _parse_log_record(claim: Claim, line: fields.JsonBody) -> NewLogRecord:
    message = line.get("message")
    if not isinstance(message, str):
        raise InvalidRequest("message must be a string", path="$.message")
    return NewLogRecord(
        *claim.attempt_key,
        fields.read_integer(line, "number", 0, LOG_RECORDS),
        fields.read_instant(line, "at").timestamp(),
        log_level_number(fields.read_text(line, "level", "info")),
        fields.read_text(line, "source", ""),
        redact_passwords(message[:LOG_CHARACTERS]),
        encode_log_fields(hide_secrets(fields.read_object(line, "fields"))),
    )
