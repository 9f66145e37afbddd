"""Provider hooks, based on the API."""

from urllib.parse import quote

from pydantic import TypeAdapter

from tasker.client.hooks import HookClient
from tasker.client.requests import ApiRequestSender
from tasker.events import split_webhook_name
from tasker.hooks import DEFAULT_HEADER, HookMessageKind, ProviderHook, SignatureScheme

_hook = TypeAdapter(ProviderHook).validate_python
_hooks = TypeAdapter(list[ProviderHook]).validate_python


class HttpHooks(HookClient):
    """Implements `HookClient` with the API."""

    def __init__(self, requests: ApiRequestSender) -> None:
        self._requests = requests

    async def declare(
        self,
        name: str,
        *,
        scheme: SignatureScheme | str,
        secret: str,
        sends: str,
        key: str,
        target: HookMessageKind | str = HookMessageKind.BROADCAST,
        id: str | None = None,
        when: str | None = None,
        header: str = DEFAULT_HEADER,
        reason: str = "",
    ) -> ProviderHook:
        body = {
            "scheme": scheme,
            "secret": secret,
            "target": target,
            "sends": sends,
            "key": key,
            "id": id,
            "when": when,
            "header": header,
            "reason": reason,
        }
        return _hook(await self._requests.send("PUT", _hook_path(name), body=body))

    async def list(self, namespace: str | None = None) -> list[ProviderHook]:
        return _hooks((await self._requests.get("/v1/hooks", namespace=namespace))["hooks"])

    async def delete(self, name: str, *, reason: str = "") -> None:
        query = {"reason": reason or None}
        await self._requests.send("DELETE", _hook_path(name), query=query, repeatable=False)


def _hook_path(name: str) -> str:
    namespace, plain = split_webhook_name(name)
    return f"/v1/hooks/{quote(namespace, safe='')}/{quote(plain, safe='')}"
