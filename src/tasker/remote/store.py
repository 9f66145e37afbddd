"""The store of a worker that reaches it through a server: the calls that its engine makes."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
import orjson

from tasker.client import decode
from tasker.client.http import HttpClient
from tasker.clock import SystemClock
from tasker.durable import DurableCall, DurableCallKind, NewDurableCall
from tasker.engine.slots import PATIENCE, Slots
from tasker.engine.step_logs import FAILED
from tasker.errors import (
    AttemptCancelled,
    LeaseLost,
    Misuse,
    ServerUnavailable,
    StoreError,
    StoreUnavailable,
    TaskerError,
)
from tasker.graph import Graph
from tasker.handlers import Handlers
from tasker.handlers.target import Handler
from tasker.model import (
    NO_QUEUE,
    AttemptKey,
    Claim,
    ClaimResult,
    JsonText,
    NewEvent,
    NewInstances,
    Outcome,
    OutcomeCode,
    PauseTarget,
    Queue,
    QueueId,
    SchemaStatus,
    SettleResult,
    SpawnedStepNumbers,
    StoredTemplate,
    TaskId,
    TemplateId,
    WaitKind,
    WorkerId,
    WorkerRegistration,
    released_outcome,
)
from tasker.remote.registration import MOST_SLOTS, PROTOCOL
from tasker.step_logs import NewLogRecord, log_level_name
from tasker.store.protocol import UNKNOWN_PROCESS, AuditNote
from tasker.template.stored import template_from_stored_document
from tasker.waits import NewWait

log = logging.getLogger("tasker.worker")

SDK = f"python/{version('tasker-workflows')}"
_LONGEST_WAIT = 25.0  #: seconds of a claim
_GONE = frozenset({"unknown_worker", "lease_lost"})
_REVOKED = frozenset({"unauthenticated", "forbidden"})  #: codes of a credential that was revoked
_PAUSE = 5.0  #: seconds until a call with such a credential, or a rejected call, is tried again
_FIRST_PAUSE = 0.1  #: seconds until a call is tried again that the server was too busy for
_REJECTED = frozenset({"refused", "invalid"})  #: what happens to outcomes that are not stored
_UNAVAILABLE = frozenset({429, 502, 503, 504})
_LOG_CALLS = 8  #: requests with log records at a time
_LOG_PATIENCE = 2.0  #: seconds that outcomes wait for log records to be sent


class RemoteStep(NamedTuple):
    """A claimed step as the server describes it."""

    ticket: str
    worker: WorkerId
    claim: Claim
    body: Mapping[str, Any]


class ServerRejection(StoreError):
    """The server rejected a call."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class RemoteStore:
    """Implements the part of `Store` that a worker's engine needs, over the worker protocol.

    Args:
        url: Address of the server.
        api_key: Sent as `X-API-Key`.
        token: Sent as a bearer token.
        transport: The transport that sends requests; for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        token: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.clock = SystemClock()
        self.client = HttpClient(url, api_key=api_key, token=token, transport=transport)
        self.handlers = Handlers.collect()
        """The handlers to register."""

        self.environment: str | None = None
        headers = {"Content-Type": "application/json"}
        if api_key is not None:
            headers["X-API-Key"] = api_key
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.before_settling: Callable[[Mapping[AttemptKey, bool]], Awaitable[None]] | None = None
        """Function called just before the outcomes of attempts are sent; its argument states for
        each attempt whether it failed. After an attempt's outcome, the server rejects the attempt's
        log records."""

        self.slots = Slots(MOST_SLOTS)
        """The slots of the worker."""

        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(60, connect=5),
            transport=transport,
        )
        self._worker = WorkerId(0)
        self._steps: dict[AttemptKey, RemoteStep] = {}
        self._templates: dict[TemplateId, StoredTemplate] = {}
        self._checkpoints: dict[AttemptKey, JsonText] = {}
        self._wanted = 1  #: steps that the last claim asked for and did not get
        self._polling: asyncio.Task[Sequence[Claim]] | None = None
        self._revoked: set[str] = set()  #: tickets of claims that were revoked
        self._renewed: bool | LeaseLost = False  #: how a renewal that waited has ended
        self._failures: dict[str, int] = {}  #: rejections of a busy server in a row, by path
        self._quiet = False
        self._is_lost = False  #: whether a claim was rejected since the lease was lost
        self._releasing: asyncio.Task[None] | None = None
        self._renewal = 0.0  #: longest wait of a renewal, in seconds
        self._turns = _SettlementSemaphore(1)  #: of settlements

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop_polling()
        await self._http.aclose()
        await self.client.close()

    # --------------------------------------------------------------------- requests

    async def _call_as_worker(
        self, action: str, body: Mapping[str, Any], within: float = 60.0
    ) -> Any:
        """Send one call of the worker. Raises LeaseLost, ServerRejection, StoreUnavailable."""
        return await self._send_request(
            "POST", f"/v1/workers/{self._worker}/{action}", body, within
        )

    async def _send_request(
        self, method: str, path: str, body: Mapping[str, Any] | None, within: float = 60.0
    ) -> Any:
        content = None if body is None else orjson.dumps(body)
        try:
            response = await self._http.request(
                method, path, content=content, timeout=httpx.Timeout(within, connect=5)
            )
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise ServerUnavailable(f"{self.url} cannot be reached: {why}") from error
        if response.status_code == 204:
            return None
        if response.is_success:
            self._failures.pop(path, None)
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            raise ServerUnavailable(f"{self.url} returned status {response.status_code}") from None
        if response.is_success:
            return answer
        code, detail = str(answer.get("code", "")), str(answer.get("detail", ""))
        if response.status_code in _UNAVAILABLE:
            await self._wait_before_retry(path, response.headers.get("Retry-After"))
            raise StoreUnavailable(f"{self.url}: {detail}")
        if code in _GONE:
            raise LeaseLost(detail)
        if code in _REVOKED and self._worker:
            log.error("not_authorized", extra={"server": self.url, "error": detail})
            await asyncio.sleep(_PAUSE)
            raise StoreUnavailable(f"{self.url}: {detail}")
        raise ServerRejection(code, detail)

    async def _wait_before_retry(self, path: str, retry_after: str | None) -> None:
        """Wait as long as a busy server requests, or longer with each rejected call of a route."""
        rejected = self._failures[path] = self._failures.get(path, 0) + 1
        longest = min(_FIRST_PAUSE * 2 ** min(rejected - 1, 10), _PAUSE)
        try:
            seconds = min(float(retry_after or ""), 60.0)
        except ValueError:
            seconds = longest * random.uniform(0.5, 1)
        await asyncio.sleep(max(seconds, 0.0))

    # ----------------------------------------------------------------- registration

    async def register_worker(
        self,
        name: str,
        *,
        lease: timedelta,
        slots: int,
        handlers: Sequence[str],
        process: WorkerRegistration = UNKNOWN_PROCESS,
        registration: JsonText | None = None,
        act: AuditNote | None = None,
    ) -> WorkerId:
        body = {
            "protocol": PROTOCOL,
            "name": name,
            "slots": slots,
            "sdk": SDK,
            "build": process.build,
            "labels": process.labels,
            "environment": self.environment,
            "handlers": serialize_handlers_for_registration(self.handlers),
        }
        try:
            answer = await self._send_request("POST", "/v1/workers", body)
        except ServerRejection as rejection:
            raise Misuse(f"{self.url} rejected the registration: {rejection}") from None
        await self._stop_polling()
        self._worker = WorkerId(int(answer["worker"]))
        self.slots.limit_claims_ahead(int(answer.get("claim_ahead", 0)))
        self._turns = _SettlementSemaphore(int(answer.get("settlements", 1)))
        self._renewal = float(answer["renew_s"])
        self._revoked, self._renewed, self._is_lost = set(), False, False
        unserved = find_handlers_without_served_name(self.handlers, answer["unserved"])
        for event, names in (
            ("handlers_unserved", unserved),
            ("handlers_rejected", answer["refused"]),
        ):
            if names:
                log.warning(event, extra={"worker": name, "handlers": names})
        return self._worker

    async def list_queues(self, *, after: QueueId = NO_QUEUE) -> list[Queue]:
        return []  # the server finds them

    async def find_paused_queues(self, queues: Collection[PauseTarget]) -> set[PauseTarget]:
        return set()  # it claims from handlers' queues alone, and from none that is paused

    async def add_served_queues(self, worker: WorkerId, queues: Sequence[QueueId]) -> None:
        return

    async def count_open_tasks_by_template(self, most: int) -> dict[TemplateId, int]:
        return {}

    async def retire_worker(self, worker: WorkerId, act: AuditNote | None = None) -> None:
        await self._stop_polling()
        with suppress(LeaseLost):
            await self._send_request("DELETE", f"/v1/workers/{worker}", None)

    async def maintain_minute_figures(self) -> None:
        return  # done by workers on the database

    async def insert_minute_figures(self, figures: Sequence[object]) -> None:
        return

    async def schema_status(self) -> SchemaStatus:
        response = await self._send_request("GET", "/health/live", None)
        return SchemaStatus(1, 1, known=bool(response))

    # ----------------------------------------------------------------------- claims

    async def claim(self, worker: WorkerId, limit: int) -> ClaimResult:
        polling, self._polling = self._polling, None
        self.slots.polled = 0  # the caller reserves slots
        if polling is None and not self._quiet:
            polling = self._start_poll(limit, 0.0)
        if polling is None:
            return ClaimResult((), None)
        try:
            claims = await asyncio.shield(polling)
            self._wanted = limit - len(claims)
            return ClaimResult(claims, None)
        except asyncio.CancelledError:
            self._polling = polling
            raise
        except LeaseLost:  # the renewal that is in progress ends with that too
            self._is_lost = True
            return ClaimResult((), None)

    def _start_poll(self, limit: int, wait: float) -> "asyncio.Task[Sequence[Claim]]":
        polling = asyncio.create_task(
            self._request_claims(self._worker, limit, wait), name="tasker-poll"
        )
        polling.add_done_callback(_consume_exception)  # perhaps nobody waits for it any more
        return polling

    async def _request_claims(self, worker: WorkerId, limit: int, wait: float) -> Sequence[Claim]:
        body = {"max": limit, "wait_s": wait}
        return self._record_claims(worker, await self._call_as_worker("claim", body, wait + 15))

    def _record_claims(self, worker: WorkerId, answer: Mapping[str, Any]) -> list[Claim]:
        """Record the steps of a response and return their claims."""
        self._quiet = bool(answer.get("quiet"))
        claims = []
        for body in answer["steps"]:
            checkpoint = body.get("checkpoint")
            claim = Claim(
                TaskId(body["task_id"]),
                body["no"],
                body["attempt"],
                body["counted_attempts"],
                None if checkpoint is None else to_json_text(checkpoint),
                body.get("queued_s", 0.0),
            )
            self._steps[claim.attempt_key] = RemoteStep(body["ticket"], worker, claim, body)
            claims.append(claim)
        return claims

    async def wait_for_work(self, timeout: float) -> None:
        """Claim with a long poll, whose steps the next `claim` returns.

        It asks for no more steps than there are free slots; if there are none, it returns.
        """
        if self._quiet or self._is_lost:
            await asyncio.sleep(min(timeout, 1.0))
            return
        if self._polling is None:
            wanted = min(self._wanted, self.slots.free_count)
            if wanted <= 0:
                return
            self._polling = self._start_poll(wanted, _LONGEST_WAIT)
            self.slots.polled = wanted
            self._polling.add_done_callback(self._schedule_release_of_uncollected_claims)
        await asyncio.wait({self._polling})

    def _schedule_release_of_uncollected_claims(
        self, polling: "asyncio.Task[Sequence[Claim]]"
    ) -> None:
        asyncio.get_running_loop().call_later(PATIENCE, self._release_uncollected_claims, polling)

    def _release_uncollected_claims(self, polling: "asyncio.Task[Sequence[Claim]]") -> None:
        """Release the steps of a long poll that no `claim` has taken: slots became fewer."""
        if polling is not self._polling or polling.cancelled() or polling.exception() is not None:
            return
        if claims := polling.result():
            self._polling, self.slots.polled = None, 0
            self._releasing = asyncio.create_task(self._release_claims(claims))

    async def _release_claims(self, claims: Sequence[Claim]) -> None:
        with suppress(TaskerError):  # the server then lists them in its response to `resume`
            await self.settle(self._worker, [released_outcome(claim) for claim in claims])

    async def _stop_polling(self) -> None:
        polling, self._polling = self._polling, None
        self.slots.polled = 0
        if polling is not None:
            polling.cancel()
            await asyncio.wait({polling})

    async def list_held_claims(self, worker: WorkerId) -> list[Claim]:
        await self._stop_polling()
        async with self._turns.acquire_all():
            return await self._resync_claims(worker)

    async def _resync_claims(self, worker: WorkerId) -> list[Claim]:
        known = {step.ticket: step for step in self._steps.values() if step.worker == worker}
        try:
            answer = await self._send_request(
                "POST", f"/v1/workers/{worker}/resume", {"held": [*known]}
            )
        except LeaseLost:  # what has ended is sent once more
            return [step.claim for step in known.values()]
        for ticket in answer["cancelled"]:
            if step := known.pop(ticket, None):
                self._steps.pop(step.claim.attempt_key, None)
        return [*(step.claim for step in known.values()), *self._record_claims(worker, answer)]

    def find_claimed_step(self, key: AttemptKey) -> RemoteStep | None:
        """Return a claimed step that is not settled yet."""
        return self._steps.get(key)

    async def load_missing_payload(self, step: RemoteStep) -> RemoteStep:
        """Return a step with its payload, which is fetched if it was omitted."""
        if not step.body.get("payload"):
            return step
        read = await self._call_as_worker("payload", {"ticket": step.ticket})
        checkpoint = read.get("checkpoint")
        claim = step.claim._replace(
            checkpoint=None if checkpoint is None else to_json_text(checkpoint)
        )
        complete = RemoteStep(step.ticket, step.worker, claim, {**step.body, **read})
        self._steps[claim.attempt_key] = complete._replace(body={**complete.body, "payload": False})
        return self._steps[claim.attempt_key]

    async def load_template(self, step: RemoteStep) -> StoredTemplate:
        """Return the template of a claimed step."""
        template_id = TemplateId(step.body["template_id"])
        stored = self._templates.get(template_id)
        if stored is None:
            read = await self._call_as_worker("template", {"ticket": step.ticket})
            template = template_from_stored_document(read["template"])
            now = self.clock.now()
            stored = self._templates[template_id] = StoredTemplate(
                id=template_id, template=template, registered_by="", registered_at=now
            )
        return stored

    # ------------------------------------------------------------------ settlements

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        claim_up_to: int = 0,
        relaxed: bool = False,
        events: Sequence[NewEvent] = (),
        gated: bool = False,
    ) -> SettleResult:
        await self._flush_step_logs({each.attempt_key: each.outcome in FAILED for each in outcomes})
        places: dict[WorkerId, list[int]] = {}
        for index, outcome in enumerate(outcomes):
            if (step := self._steps.get(outcome.attempt_key)) is not None:
                places.setdefault(step.worker, []).append(index)
        stored: set[int] = set()
        claims: list[Claim] = []
        for owner, indexes in places.items():  # of a former lease too: its steps may be free yet
            most = claim_up_to if owner == worker and not self._quiet else 0
            answer = await self._report_outcomes(
                owner, [outcomes[index] for index in indexes], most
            )
            if answer is not None:
                words = zip(indexes, answer["settled"], strict=True)
                stored.update(index for index, word in words if word not in _REJECTED)
                claims += self._record_claims(owner, answer)
        for outcome in outcomes:
            self._steps.pop(outcome.attempt_key, None)
            self._checkpoints.pop(outcome.attempt_key, None)
        rejected = [index for index in range(len(outcomes)) if index not in stored]
        return SettleResult(rejected, claims, ())

    async def fail_external_step_unless_completed(
        self, outcome: Outcome, events: Sequence[NewEvent] = ()
    ) -> SettleResult | None:
        return await self.settle(self._worker, [outcome])  # the server looks for a completion

    async def _report_outcomes(
        self, owner: WorkerId, outcomes: Sequence[Outcome], most: int
    ) -> Mapping[str, Any] | None:
        """Send outcomes under the id that claimed them; None: the server does not know it."""
        reported = [
            {"ticket": self._steps[outcome.attempt_key].ticket, **serialize_outcome(outcome)}
            for outcome in outcomes
        ]
        try:
            answer = await self._send_settlement(owner, reported, most)
        except LeaseLost:
            return await self._report_outcomes(owner, outcomes, 0) if most else None
        for problem in answer.get("problems", {}).values():
            log.error("outcome_replaced", extra={"worker": owner, **problem})
        return answer

    async def _send_settlement(
        self, owner: WorkerId, reported: Sequence[Mapping[str, Any]], most: int
    ) -> Mapping[str, Any]:
        """Send outcomes in the form of the protocol, beside at most as many other settlements as
        the server allows."""
        async with self._turns.acquire_one():
            path = f"/v1/workers/{owner}/settle"
            answer: dict[str, Any] = await self._send_request(
                "POST", path, {"outcomes": reported, "max": most}
            )
            return answer

    async def _flush_step_logs(self, failed: Mapping[AttemptKey, bool]) -> None:
        """Send the last log records of attempts that end; their outcomes do not wait for long."""
        if self.before_settling is not None:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(_LOG_PATIENCE):
                    await self.before_settling(failed)

    async def _send_parked_outcome(self, claim: Claim, reported: Mapping[str, Any]) -> bool:
        step = self._steps.get(claim.attempt_key)
        if step is None:
            return False
        await self._flush_step_logs({claim.attempt_key: False})
        outcome = {"ticket": step.ticket, **reported}
        answer = await self._send_settlement(step.worker, [outcome], 0)
        self._steps.pop(claim.attempt_key, None)
        self._checkpoints.pop(claim.attempt_key, None)
        for problem in answer.get("problems", {}).values():
            log.error("outcome_replaced", extra={"worker": step.worker, **problem})
        return answer["settled"][0] not in ("refused", "invalid")

    async def park_until_task_ends(self, claim: Claim, waits_for: TaskId) -> bool:
        wait_for = {"task": waits_for}
        return await self._send_parked_outcome(claim, {"outcome": "parked", "wait_for": wait_for})

    async def park_for_arrival(self, claim: Claim, wait: NewWait) -> bool:
        if (
            wait.kind is DurableCallKind.EXTERNAL
        ):  # the server lets the step wait for its completion
            value = self._checkpoints.get(claim.attempt_key, JsonText("null"))
            return await self._send_parked_outcome(
                claim, {"outcome": "complete", "result": orjson.Fragment(value)}
            )
        wait_for = {"call": wait.call, "timeout_s": wait.timeout, **_serialize_awaited(wait)}
        return await self._send_parked_outcome(claim, {"outcome": "parked", "wait_for": wait_for})

    # ----------------------------------------------------------------------- leases

    async def wait_for_revocation(self, timeout: float) -> None:
        """Renew the lease when a claim was revoked, or after `timeout` seconds."""
        try:
            await self._send_renewal(min(timeout, self._renewal))
            self._renewed = True
        except LeaseLost as lost:
            self._renewed = lost
        except TaskerError:  # the renewal that follows says so
            await asyncio.sleep(min(timeout, 1.0))

    async def renew_lease(
        self, worker: WorkerId, held: Sequence[Claim], *, lease: timedelta
    ) -> list[Claim]:
        renewed, self._renewed = self._renewed, False
        if isinstance(renewed, LeaseLost):
            raise renewed
        if not renewed:
            await self._send_renewal(0.0)
        revoked, self._revoked = self._revoked, set()
        lost = []
        for claim in held:
            step = self._steps.get(claim.attempt_key)
            if step is not None and step.ticket in revoked:
                del self._steps[claim.attempt_key]
                lost.append(claim)
        return lost

    async def _send_renewal(self, wait: float) -> None:
        tickets = [step.ticket for step in self._steps.values() if step.worker == self._worker]
        answer = await self._call_as_worker("renew", {"held": tickets, "wait_s": wait}, wait + 15)
        self._quiet = answer["quiet"]
        self._revoked.update(answer["cancelled"])

    # -------------------------------------------------------------- running attempts

    async def _call_for_attempt(self, claim: Claim, action: str, body: Mapping[str, Any]) -> Any:
        """Send a call of an attempt; return None if the attempt is over."""
        step = self._steps.get(claim.attempt_key)
        if step is None:
            return None
        path = f"/v1/workers/{step.worker}/{action}"
        try:
            return await self._send_request("POST", path, {"ticket": step.ticket, **body}) or {}
        except ServerRejection as rejection:
            if rejection.code == "attempt_cancelled":
                return None
            raise decode.error({"code": rejection.code, "detail": str(rejection)}) from None

    async def store_checkpoint(self, claim: Claim, value: JsonText) -> bool:
        stored = await self._call_for_attempt(
            claim, "checkpoint", {"value": orjson.Fragment(value)}
        )
        if stored is not None:
            self._checkpoints[claim.attempt_key] = value
        return stored is not None

    async def load_durable_calls(self, claim: Claim) -> list[DurableCall]:
        read = await self._call_for_attempt(claim, "calls", {})
        return [
            DurableCall(
                call["name"],
                DurableCallKind(call["kind"]),
                to_json_text(call["value"]),
                call["remaining_s"],
            )
            for call in (read or {"calls": ()})["calls"]
        ]

    async def record_durable_calls(self, calls: Sequence[NewDurableCall]) -> dict[int, float]:
        recorded = {}
        for index, call in enumerate(calls):
            body: dict[str, Any] = {
                "call": call.name,
                "kind": call.kind,
                "delay_s": call.delay,
                "until": call.until,
            }
            if call.value is not None:
                body["value"] = orjson.Fragment(call.value)
            claim = Claim(call.task_id, call.no, call.attempt, call.attempt)
            if (answer := await self._call_for_attempt(claim, "record", body)) is not None:
                recorded[index] = answer["remaining_s"]
        return recorded

    async def receive_arrival(self, claim: Claim, wait: NewWait) -> DurableCall | None:
        return None  # the step is parked, and due at once if something has arrived

    async def append_logs(self, records: Sequence[NewLogRecord]) -> None:
        attempts: dict[AttemptKey, list[dict[str, Any]]] = {}
        for record in records:
            key = (record.task_id, record.no, record.attempt)
            attempts.setdefault(key, []).append(
                {
                    "number": record.number,
                    "at": datetime.fromtimestamp(record.at, UTC),
                    "level": log_level_name(record.level),
                    "source": record.source,
                    "message": record.message,
                    "fields": orjson.Fragment(record.fields or "{}"),
                }
            )
        free = asyncio.Semaphore(_LOG_CALLS)

        async def send_attempt_logs(key: AttemptKey, lines: list[dict[str, Any]]) -> None:
            task_id, no, attempt = key
            async with free:
                try:
                    claim = Claim(task_id, no, attempt, attempt)
                    await self._call_for_attempt(claim, "logs", {"lines": lines})
                except StoreUnavailable:
                    raise
                except TaskerError as error:  # they could not be stored later either
                    log.warning("step_logs_rejected", extra={"error": str(error)})

        await asyncio.gather(*(send_attempt_logs(*each) for each in attempts.items()))

    async def spawn_instances(self, claim: Claim, new: NewInstances) -> SpawnedStepNumbers | None:
        step = self._steps.get(claim.attempt_key)
        if step is None:
            return None
        layout = Graph((await self.load_template(step)).template).layout
        body = {
            "call": new.key,
            "step": layout.bodies[new.body].spec.name,
            "begin": new.begin,
            "instances": new.instances,
            "items": [orjson.Fragment(item or "null") for item in new.items],
        }
        answer = await self._call_for_attempt(claim, "spawn", body)
        if answer is None:
            return None
        return SpawnedStepNumbers(0, answer["first_instance"], answer["instances"])

    async def load_instance_results(
        self, claim: Claim, step: str, begin: int
    ) -> Sequence[JsonText | None]:
        """Return a page of results of an earlier step's instances. Raises AttemptCancelled."""
        answer = await self._call_for_attempt(claim, "instances", {"step": step, "begin": begin})
        if answer is None:
            raise AttemptCancelled("the attempt is over")
        return [None if each is None else to_json_text(each) for each in answer["results"]]


class _SettlementSemaphore:
    """Lets up to `most` settlements run at once, or one other call that must run alone.

    Args:
        most: How many settlements may run.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._turns = asyncio.Semaphore(most)
        self._taking = asyncio.Lock()

    def acquire_one(self) -> AbstractAsyncContextManager[None]:
        """Hold the turn of a settlement."""
        return self._turns

    @asynccontextmanager
    async def acquire_all(self) -> AsyncIterator[None]:
        """Wait until no settlement runs; none begins before the exit."""
        async with self._taking, AsyncExitStack() as turns:
            for _ in range(self._most):
                await turns.enter_async_context(self._turns)
            yield


def to_json_text(value: Any) -> JsonText:
    """Return a value of a response as JSON text."""
    return JsonText(orjson.dumps(value).decode())


def serialize_handlers_for_registration(handlers: Handlers) -> list[dict[str, Any]]:
    """Return the handlers of a worker in the form of a registration, under all their names."""
    return [
        {
            "name": name,
            "namespaces": sorted(namespaces),
            "versions": list_handler_versions(handler),
        }
        for name, handler in handlers.iterate_names_and_handlers()
        if (namespaces := handlers.bound_namespaces(handler))
    ]


def find_handlers_without_served_name(handlers: Handlers, unserved: Collection[str]) -> list[str]:
    """Return the names of the handlers all of whose names are unserved."""
    called = {
        id(handler.target)
        for name, handler in handlers.iterate_names_and_handlers()
        if name not in unserved
    }
    return sorted(
        name
        for name, handler in handlers.iterate_names_and_handlers()
        if name in unserved and id(handler.target) not in called
    )


def list_handler_versions(handler: Handler) -> list[str]:
    """Return the version of a handler's code, and the range of earlier ones that it serves."""
    _, version, _, serves = handler.registration
    if not version:
        return []
    return [version, f"{serves},<{version}"] if serves else [version]


def serialize_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome of the engine in the form of the protocol."""
    match outcome.outcome:
        case OutcomeCode.COMPLETE:
            return {"outcome": "complete", "result": orjson.Fragment(outcome.result or "null")}
        case OutcomeCode.RETRY | OutcomeCode.ERROR:
            return {"outcome": "failed", "error": orjson.Fragment(outcome.error or "{}")}
        case OutcomeCode.PARKED:
            return {"outcome": "parked", "wait_for": {"delay_s": max(outcome.delay, 0.0)}}
        case OutcomeCode.RELEASED:
            return {"outcome": "released"}
    raise ValueError(f"a remote worker cannot report the outcome {outcome.outcome.name}")


def _serialize_awaited(wait: NewWait) -> dict[str, Any]:
    """Return the arrivals that a wait waits for, in the form of the protocol."""
    if wait.approval is not None:
        approval = wait.approval
        return {
            "approval": {
                "assignees": list(approval.assignees),
                "form": orjson.Fragment(approval.form),
                "escalate_after_s": approval.escalate_after,
                "escalate_to": list(approval.escalate_to),
            }
        }
    keys = {each.name: each.key for each in wait.awaited if each.kind is WaitKind.BROADCAST}
    names = [each.name for each in wait.awaited if each.kind is WaitKind.SIGNAL]
    signals = [
        {"name": name, "key": keys[name]} if keys.get(name) else {"name": name} for name in names
    ]
    return {"any": signals} if wait.kind is DurableCallKind.WAIT_ANY else {"signal": signals[0]}


def _consume_exception(polling: "asyncio.Task[Sequence[Claim]]") -> None:
    if not polling.cancelled():
        polling.exception()
