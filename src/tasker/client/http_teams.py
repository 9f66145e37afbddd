"""Namespaces, reviews, pauses, limits and workers, based on the API."""

from typing import Any
from urllib.parse import quote

from tasker.analytics.model import HandlerBacklog
from tasker.client import decode
from tasker.client.requests import ApiRequestSender
from tasker.client.teams import TeamClient, parse_exact_version_name, to_pause_target
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.errors import NotFound
from tasker.model import (
    MOST_WORKER_ATTEMPTS,
    LimitInfo,
    LimitSetting,
    Pause,
    PauseKind,
    PauseTarget,
    Rate,
    TemplateVersion,
    WorkerAttempt,
)
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamAuditEntry
from tasker.template.step_limits import make_limit_values

_PAGE = 1000


class HttpTeams(TeamClient):
    """Implements `TeamClient` with the API."""

    _requests: ApiRequestSender

    async def namespaces(self) -> list[NamespaceInfo]:
        read = await self._requests.get("/v1/namespaces")
        return decode.namespaces(read["namespaces"])

    async def policy(self, namespace: str) -> NamespacePolicy | None:
        try:
            read = await self._requests.get(f"/v1/namespaces/{quote(namespace, safe='')}")
        except NotFound:
            return None
        return None if read["policy"] is None else decode.policy(read["policy"])

    async def put_policy(self, policy: NamespacePolicy, *, reason: str = "") -> NamespacePolicy:
        body = {
            "owner_team": policy.owner_team,
            "contact_email": policy.contact_email,
            "description": policy.description,
            "requires_approval": policy.requires_approval,
            "approvers": policy.approvers,
            "http_hosts": policy.http_hosts,
            "reason": reason,
        }
        path = f"/v1/namespaces/{quote(policy.namespace, safe='')}/policy"
        return decode.policy(await self._requests.send("PUT", path, body=body))

    async def pause(
        self, target: str | PauseTarget, *, reason: str = "", if_match: str | None = None
    ) -> Pause:
        read = await self._pause_or_resume(to_pause_target(target), "pause", reason, if_match)
        if "pauses" in read:
            (read,) = (one for one in read["pauses"] if one["kind"] == PauseKind.TASK)
        return decode.pause(read)

    async def resume(
        self, target: str | PauseTarget, *, reason: str = "", if_match: str | None = None
    ) -> bool:
        target = to_pause_target(target)
        if target.kind is PauseKind.TASK:
            task = await self._requests.get(f"/v1/tasks/{quote(target.name, safe='')}")
            paused = any(one["kind"] == PauseKind.TASK for one in task["pauses"])
            await self._pause_or_resume(target, "resume", reason, if_match)
            return paused
        read = await self._pause_or_resume(target, "resume", reason, None)
        return bool(read["resumed"])

    async def _pause_or_resume(
        self, target: PauseTarget, verb: str, reason: str, if_match: str | None
    ) -> Any:
        resource = "tasks" if target.kind is PauseKind.TASK else f"{target.kind}s"
        parts = "/".join(quote(part, safe="") for part in target[1:] if part)
        headers = None if if_match is None else {"If-Match": f'"{if_match}"'}
        return await self._requests.send(
            "POST", f"/v1/{resource}/{parts}/{verb}", body={"reason": reason}, headers=headers
        )

    async def pauses(self, namespace: str | None = None) -> list[Pause]:
        read = await self._requests.get("/v1/pauses", namespace=namespace)
        return decode.pauses(read["pauses"])

    async def drain_worker(self, worker: int, *, reason: str = "") -> None:
        await self._requests.send("POST", f"/v1/workers/{worker}/drain", body={"reason": reason})

    async def ended_worker_attempts(
        self, worker: int, *, limit: int = MOST_WORKER_ATTEMPTS
    ) -> list[WorkerAttempt]:
        read = await self._requests.get(f"/v1/workers/{worker}/attempts", limit=limit)
        return decode.worker_attempts(read["attempts"])

    async def set_queue_weight(
        self, namespace: str, handler: str, weight: float, *, reason: str = ""
    ) -> None:
        path = f"/v1/queues/{quote(namespace, safe='')}/{quote(handler, safe='')}/weight"
        await self._requests.send("PUT", path, body={"weight": weight, "reason": reason})

    async def set_limit(
        self,
        key: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        concurrency: int | None = None,
        rate: Rate | str | None = None,
        burst: int | None = None,
        reason: str = "",
    ) -> None:
        values = make_limit_values(concurrency, rate, burst)
        body = {"namespace": namespace, "key": key, **values.to_json(), "reason": reason}
        await self._requests.send("PUT", "/v1/limits", body=body)

    async def unset_limit(
        self, key: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> None:
        body = {"namespace": namespace, "key": key, "reason": reason}
        await self._requests.send("POST", "/v1/limits/unset", body=body)

    async def limits(
        self, namespace: str = DEFAULT_NAMESPACE, *, after: str = "", limit: int = 100
    ) -> list[LimitInfo]:
        read = await self._requests.get(
            "/v1/limits", namespace=namespace or None, after=after or None, limit=limit
        )
        return [decode.limit(one) for one in read["limits"]]

    async def limit_settings(self, namespace: str = DEFAULT_NAMESPACE) -> list[LimitSetting]:
        read = await self._requests.get("/v1/limits", namespace=namespace or None, limit=1)
        return [decode.limit_setting(one) for one in read["settings"]]

    async def queues(self, namespace: str | None = None) -> list[HandlerBacklog]:
        read = await self._requests.get("/v1/queues", namespace=namespace)
        return [
            HandlerBacklog(*(one[field] for field in HandlerBacklog._fields))
            for one in read["queues"]
        ]

    async def template_versions(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        read = await self._requests.get("/v1/template_versions", namespace=namespace, name=name)
        return decode.versions(read["versions"])

    async def review(self, template: str, *, approve: bool, reason: str = "") -> TemplateVersion:
        body = {"approve": approve, "reason": reason}
        return await self._send_version_action("template_versions", template, "review", body)

    async def retire(self, template: str, *, reason: str = "") -> TemplateVersion:
        return await self._send_version_action("templates", template, "retire", {"reason": reason})

    async def restore(self, template: str, *, reason: str = "") -> TemplateVersion:
        return await self._send_version_action("templates", template, "restore", {"reason": reason})

    async def _send_version_action(
        self, resource: str, template: str, action: str, body: dict[str, Any]
    ) -> TemplateVersion:
        parts = "/".join(quote(part, safe="") for part in parse_exact_version_name(template))
        read = await self._requests.send(
            "POST", f"/v1/{resource}/{parts}/{action}", body=body, repeatable=False
        )
        return decode.version(read)

    async def namespace_audit(
        self, namespace: str | None = None, *, after: int | None = None, limit: int = 100
    ) -> list[TeamAuditEntry]:
        events: list[Any] = []
        while len(events) < limit:
            page = min(limit - len(events), _PAGE)
            read = await self._requests.get(
                "/v1/audit", namespace=namespace, cursor=after, limit=page
            )
            events += read["events"]
            after = read["next_cursor"]
            if after is None:
                break
        return decode.parse_team_audit_entries(events)
