"""The client of a server, based on its API."""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx
import orjson

from tasker import codec
from tasker.analytics.model import UsualDurations
from tasker.client import decode
from tasker.client.fields import filter_to_query, parse_duration_field
from tasker.client.http_analytics import HttpAnalytics, HttpFailures
from tasker.client.http_approvals import HttpApprovals
from tasker.client.http_bulk import HttpBulk
from tasker.client.http_hooks import HttpHooks
from tasker.client.http_schedules import HttpSchedules
from tasker.client.http_teams import HttpTeams
from tasker.client.http_webhooks import HttpWebhooks
from tasker.client.protocol import Client, TaskRequest, replace_filter_attributes
from tasker.client.requests import ApiRequestSender, Deadline
from tasker.client.search import SearchMatch
from tasker.client.templates import split_template_reference
from tasker.client.trace import current_trace
from tasker.client.waiting import make_parking_exception, require_success, wait_timeout_error
from tasker.durations import Duration
from tasker.errors import InvalidInput
from tasker.events import Event
from tasker.limits import STEPS_PAGE
from tasker.model import (
    AccessChannel,
    Attempt,
    AuditEntry,
    ExistingTaskAction,
    Json,
    RevealedTask,
    Step,
    StoredTemplate,
    Task,
    TaskCounts,
    TaskFilter,
    TaskId,
    Template,
)
from tasker.step_logs import LogPage
from tasker.store.protocol import RegisterTemplateResult
from tasker.template.document import template_to_document
from tasker.times import TaskTimes
from tasker.waits import BroadcastSent, SignalSent, check_arrival_names, encode_payload
from tasker.why import Reason

_PAGE = 100
_LONG_POLL = 25.0  #: seconds; less than the idle timeout of common proxies


class HttpClient(HttpTeams, HttpApprovals, HttpAnalytics, Client):
    """The client of a server.

    Creating a task always sends an idempotency key, generated if the caller provides none, so a
    lost response never causes a second task.

    Args:
        url: Address of the server, such as `http://127.0.0.1:8080`.
        api_key: Sent as `X-API-Key`.
        token: Sent as a bearer token.
        acting_as: The person on whose behalf the owner of the key or token acts, recorded in the
            audit log; None if the owner acts for themselves.
        via: `Via.CLI` or `Via.MCP`, for the audit log; None means `Via.API`.
        timeout: Time limit of a request; does not apply to waits.
        retries: Maximum number of repetitions of a request if the server is unreachable or busy.
        transport: The transport that sends requests; for tests and proxies.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        token: str | None = None,
        acting_as: str | None = None,
        via: AccessChannel | None = None,
        timeout: timedelta = timedelta(seconds=30),
        retries: int = 5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"User-Agent": "tasker-client"}
        if api_key is not None:
            headers["X-API-Key"] = api_key
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if acting_as is not None:
            headers["X-Acting-As"] = acting_as
        if via is not None:
            headers["X-Tasker-Client"] = via.value
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(timeout.total_seconds(), connect=5),
            transport=transport,
        )
        self._requests = ApiRequestSender(self._http, retries=retries)
        self._ticket, self._key, self._namespace = "", "", ""
        self._created: dict[str, int] = {}  #: tasks of each template, created with the ticket

    def for_remote_attempt(self, ticket: str, key: str, namespace: str) -> "HttpClient":
        """Return a client for the handler of one attempt in a remote worker.

        Tasks that it creates without an idempotency key get the same one in each attempt.

        Args:
            ticket: The attempt's ticket.
            key: The idempotency key of its step.
            namespace: The namespace of its task, in which it broadcasts.
        """
        client = copy.copy(self)
        client._ticket, client._key, client._created = ticket, key, {}
        client._namespace = namespace
        return client

    def _add_attempt_idempotency_key(self, request: TaskRequest) -> TaskRequest:
        """Return the request with an idempotency key that is the same in later attempts."""
        if not self._ticket or request.idempotency_key:
            return request
        namespace, name, _ = split_template_reference(
            request.template, request.namespace, request.version
        )
        full = f"{namespace}.{name}"
        self._created[full] = self._created.get(full, 0) + 1
        return replace(request, idempotency_key=f"{self._key}:{full}:{self._created[full]}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def schedules(self) -> HttpSchedules:
        """The methods for schedules."""
        return HttpSchedules(self._requests)

    @property
    def failures(self) -> HttpFailures:
        """The methods for causes of failures."""
        return HttpFailures(self._requests)

    @property
    def hooks(self) -> HttpHooks:
        """The methods for provider hooks."""
        return HttpHooks(self._requests)

    @property
    def bulk(self) -> HttpBulk:
        """The methods for operations on many tasks."""
        return HttpBulk(self._requests)

    @property
    def webhooks(self) -> HttpWebhooks:
        """The methods for webhooks."""
        return HttpWebhooks(self._requests)

    async def events(
        self,
        name: str | None = None,
        *,
        namespace: str | None = None,
        task_id: str | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        read = await self._requests.get(
            "/v1/events",
            name=name,
            namespace=namespace,
            task_id=task_id,
            cursor=after,
            limit=limit,
        )
        return decode.events(read["events"])

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # ----------------------------------------------------------------- creating

    async def create_tasks(self, requests: Sequence[TaskRequest]) -> list[Task]:
        if not requests:
            return []
        requests = [self._add_attempt_idempotency_key(request) for request in requests]
        news = [_task_request_body(request) for request in requests]
        one = len(news) == 1
        path, body = ("/v1/tasks", news[0]) if one else ("/v1/tasks/bulk", {"tasks": news})
        traces = {request.trace for request in requests if request.trace}
        headers = _traceparent_header(traces.pop() if len(traces) == 1 else None) or {}
        if self._ticket:
            headers["Tasker-Ticket"] = self._ticket
        read = await self._requests.send(
            "POST", path, body=body, headers=headers, repeatable=_can_be_sent_twice(requests)
        )
        created = [read] if one else read["tasks"]
        return [
            _decode_created_task(task, request)
            for task, request in zip(created, requests, strict=True)
        ]

    async def wait(self, task_id: str, *, timeout: Duration | None = None) -> Task:
        limit = parse_duration_field("timeout", timeout)
        if self._ticket and limit is None:  # in an attempt, whose step waits without a worker
            task = await self.get(task_id)
            if not task.has_ended:
                raise make_parking_exception(task, TaskId(self._key.partition(":")[0]))
            return require_success(task)
        deadline = Deadline(limit)
        while True:
            seconds = deadline.remaining(_LONG_POLL)
            read = await self._requests.get(
                f"/v1/tasks/{_quote_path_segment(task_id)}/wait",
                timeout=seconds,
                within=seconds + 15,
            )
            task = decode.task(read)
            if task.has_ended:
                return require_success(task)
            if limit is not None and not deadline.remaining(1):
                raise wait_timeout_error(task, limit)

    # ------------------------------------------------------------------ reading

    async def get(self, task_id: str) -> Task:
        return decode.task(await self._requests.get(f"/v1/tasks/{_quote_path_segment(task_id)}"))

    async def tasks(
        self,
        filter: TaskFilter | None = None,
        *,
        attributes: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int = 25,
    ) -> list[Task]:
        query = filter_to_query(replace_filter_attributes(filter, attributes))
        tasks: list[Task] = []
        while len(tasks) < limit:
            page = min(limit - len(tasks), _PAGE)
            read = await self._requests.get("/v1/tasks", **query, cursor=after, limit=page)
            tasks += [decode.task(one) for one in read["tasks"]]
            after = read["pagination"]["next_cursor"]
            if after is None:
                break
        return tasks

    async def count_tasks(
        self, filter: TaskFilter | None = None, *, attributes: Mapping[str, str] | None = None
    ) -> TaskCounts:
        query = filter_to_query(replace_filter_attributes(filter, attributes)) | {"status": None}
        return decode.task_counts(await self._requests.get("/v1/tasks/counts", **query))

    async def search(self, text: str) -> list[SearchMatch]:
        return decode.search_matches((await self._requests.get("/v1/search", q=text))["matches"])

    async def steps(self, task_id: str, *, after: int = 0, limit: int | None = None) -> list[Step]:
        path = f"/v1/tasks/{_quote_path_segment(task_id)}/steps"
        steps: list[Step] = []
        while limit is None or len(steps) < limit:
            most = STEPS_PAGE if limit is None else min(STEPS_PAGE, limit - len(steps))
            cursor = steps[-1].no if steps else after
            page = decode.steps(await self._requests.get(path, cursor=cursor, limit=most))
            steps += page
            if len(page) < most:
                break
        return steps

    async def attempts(self, task_id: str, *, step: str | None = None) -> list[Attempt]:
        within = "" if step is None else f"/steps/{_quote_path_segment(step)}"
        read = await self._requests.get(
            f"/v1/tasks/{_quote_path_segment(task_id)}{within}/attempts"
        )
        return decode.attempts(read)

    async def task_times(self, task_id: str) -> TaskTimes:
        return decode.task_times(
            await self._requests.get(f"/v1/tasks/{_quote_path_segment(task_id)}")
        )

    async def why(self, task_id: str, *, step: str | None = None) -> list[Reason]:
        path = f"/v1/tasks/{_quote_path_segment(task_id)}/why"
        read = await self._requests.send("GET", path, query={"step": step} if step else {})
        return decode.reasons(read)

    async def logs(
        self,
        task_id: str,
        *,
        step: str | None = None,
        attempt: int | None = None,
        level: str | None = None,
        text: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
        cursor: str | None = None,
        limit: int = 200,
    ) -> LogPage:
        query = {
            "step": step,
            "attempt": attempt,
            "level": level,
            "text": text,
            "since": None if since is None else since.isoformat(),
            "order": "newest" if newest_first else "oldest",
            "cursor": cursor,
            "limit": limit,
        }
        path = f"/v1/tasks/{_quote_path_segment(task_id)}/logs"
        given = {name: value for name, value in query.items() if value is not None}
        return decode.log_page(await self._requests.send("GET", path, query=given))

    async def task_audit(self, task_id: str) -> list[AuditEntry]:
        read = await self._requests.get(f"/v1/tasks/{_quote_path_segment(task_id)}/audit")
        return decode.audit(read)

    # ------------------------------------------------------------------- acting

    async def cancel(self, task_id: str, *, reason: str = "", if_match: str | None = None) -> Task:
        return await self._act_on_task(task_id, "cancel", {"reason": reason}, if_match)

    async def retry(
        self,
        task_id: str,
        *,
        steps: Collection[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        body: dict[str, Json] = {"reset_attempts": reset_attempts, "reason": reason}
        if fresh:
            body["fresh"] = True
        if steps is not None:
            body["steps"] = [*steps]
        return await self._act_on_task(task_id, "retry", body, if_match)

    async def resolve(
        self,
        task_id: str,
        step: str | None = None,
        result: Json = None,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        if step is None:
            return await self._act_on_task(task_id, "resolve", {"reason": reason}, if_match)
        body = {"result": _to_json_fragment(result), "reason": reason}
        return await self._act_on_step(task_id, step, "resolve", body, if_match)

    async def complete_step(
        self,
        task_id: str,
        step: str,
        result: Json,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        body = {"result": _to_json_fragment(result), "reason": reason}
        return await self._act_on_step(task_id, step, "complete", body, if_match)

    async def skip_step(
        self, task_id: str, step: str, *, reason: str = "", if_match: str | None = None
    ) -> Task:
        return await self._act_on_step(task_id, step, "skip", {"reason": reason}, if_match)

    async def reveal(self, task_id: str, *, reason: str, step: str | None = None) -> RevealedTask:
        path = f"/v1/tasks/{_quote_path_segment(task_id)}/reveal"
        body = {"reason": reason, "step": step}
        return decode.revealed(await self._requests.send("POST", path, body=body))

    async def signal(
        self,
        task_id: str,
        name: str,
        payload: Any = None,
        *,
        id: str | None = None,
        reason: str = "",
    ) -> SignalSent:
        check_arrival_names(name=name, id=id)
        body = {
            "name": name,
            "payload": orjson.Fragment(encode_payload(payload)),
            "id": id or f"once-{uuid4()}",
            "reason": reason,
        }
        path = f"/v1/tasks/{_quote_path_segment(task_id)}/signals"
        sent = decode.signal_sent(await self._requests.send("POST", path, body=body))
        return sent if id else replace(sent, id=None, created=True)

    async def broadcast(
        self,
        name: str,
        key: str,
        payload: Any = None,
        *,
        id: str | None = None,
        namespace: str | None = None,
    ) -> BroadcastSent:
        check_arrival_names(name=name, key=key, id=id, namespace=namespace)
        space = namespace or self._namespace
        body = {
            "name": name,
            "key": key,
            "payload": orjson.Fragment(encode_payload(payload)),
            "id": id or f"once-{uuid4()}",
            **({"namespace": space} if space else {}),
        }
        read = await self._requests.send("POST", "/v1/broadcasts", body=body)
        sent = decode.broadcast_sent(read)
        return sent if id else replace(sent, id=None, created=True)

    async def _act_on_task(
        self, task_id: str, action: str, body: Mapping[str, Any], if_match: str | None
    ) -> Task:
        path = f"/v1/tasks/{_quote_path_segment(task_id)}/{action}"
        return decode.task(await self._send_action(path, body, if_match))

    async def _act_on_step(
        self, task_id: str, step: str, action: str, body: Mapping[str, Any], if_match: str | None
    ) -> Task:
        path = (
            f"/v1/tasks/{_quote_path_segment(task_id)}/steps/{_quote_path_segment(step)}/{action}"
        )
        await self._send_action(path, body, if_match)
        return await self.get(task_id)

    async def _send_action(self, path: str, body: Mapping[str, Any], if_match: str | None) -> Any:
        headers = None if if_match is None else {"If-Match": f'"{if_match}"'}
        return await self._requests.send("POST", path, body=body, headers=headers, repeatable=False)

    # ---------------------------------------------------------------- templates

    async def templates(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        read = await self._requests.get(
            "/v1/templates", namespace=namespace, name=name, documents=True
        )
        return [decode.template(one) for one in read["templates"]]

    async def template(self, name: str, version: str | None = None) -> StoredTemplate:
        namespace, name, version = split_template_reference(name, None, version)
        path = "/".join(
            _quote_path_segment(part) for part in (namespace, name, version or "latest")
        )
        return decode.template(await self._requests.get(f"/v1/templates/{path}", usable=True))

    async def usual_durations(self, template: str) -> UsualDurations:
        namespace, name, version = split_template_reference(template, None, None)
        path = "/".join(
            _quote_path_segment(part) for part in (namespace, name, version or "latest")
        )
        return decode.usual_durations(await self._requests.get(f"/v1/templates/{path}/durations"))

    async def register(
        self, template: Template, *, replace: bool = False
    ) -> RegisterTemplateResult:
        read = await self._requests.send(
            "POST",
            "/v1/templates",
            body=template_to_document(template),
            query={"replace": True} if replace else None,
        )
        return RegisterTemplateResult(decode.template(read), read["created"])

    async def register_all(
        self, templates: Sequence[Template], *, replace: bool = False
    ) -> list[RegisterTemplateResult]:
        if not templates:
            return []
        read = await self._requests.send(
            "POST",
            "/v1/templates/bulk",
            body={"templates": [template_to_document(template) for template in templates]},
            query={"replace": True} if replace else None,
        )
        return [
            RegisterTemplateResult(decode.template(one), one["created"])
            for one in read["templates"]
        ]


def _task_request_body(request: TaskRequest) -> dict[str, Any]:
    """Return the body that creates a task. Raises InvalidInput, TooLarge."""
    if not isinstance(request.context, Mapping):
        raise InvalidInput("the context must be a JSON object")
    namespace, name, version = split_template_reference(
        request.template, request.namespace, request.version
    )
    delay, deadline = (
        parse_duration_field("delay", request.delay),
        parse_duration_field("deadline", request.deadline),
    )
    optional = {
        "version": version,
        "unique_while": request.unique_while,
        "if_exists": request.if_exists,
        "correlation_id": request.correlation_id,
        "parent_id": request.parent_id,
        "attached": request.attached or None,
        "created_by": request.created_by,
        "run_at": request.run_at and request.run_at.isoformat(),
        "delay_seconds": None if delay is None else delay.total_seconds(),
        "priority": request.priority,
        "deadline_seconds": None if deadline is None else deadline.total_seconds(),
    }
    return {
        "name": name,
        "namespace": namespace,
        "context": orjson.Fragment(codec.dumps(request.context, what="the context")),
        "idempotency_key": request.idempotency_key or f"once-{uuid4()}",
        "reason": request.reason,
        "tags": request.tags,
        **{key: value for key, value in optional.items() if value is not None},
    }


def _can_be_sent_twice(requests: Sequence[TaskRequest]) -> bool:
    """Return whether the request can be sent twice without creating a second task."""
    return all(request.if_exists in (None, ExistingTaskAction.RETURN) for request in requests)


def _decode_created_task(read: Any, request: TaskRequest) -> Task:
    """Decode a created task. With a generated key, it counts as new even if the server already had
    it, because then an earlier response was lost.
    """
    task = decode.task(read)
    return task if request.idempotency_key else replace(task, created=True)


def _traceparent_header(trace: str | None) -> dict[str, str] | None:
    trace = trace or current_trace()
    return None if trace is None else {"traceparent": trace}


def _to_json_fragment(value: Json) -> orjson.Fragment:
    return orjson.Fragment(codec.dumps(value, what="the result"))


def _quote_path_segment(text: str) -> str:
    return quote(text, safe="")
