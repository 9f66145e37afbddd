"""Provider hooks in the `Client` protocol and in the local client."""

from typing import TYPE_CHECKING, Protocol, TypeVar

from tasker.errors import InvalidInput
from tasker.events import split_webhook_name
from tasker.hooks import DEFAULT_HEADER, HookMessageKind, ProviderHook, SignatureScheme
from tasker.model import NAMESPACE, NAMESPACE_RULE
from tasker.store.protocol import AuditNote
from tasker.suggest import suggest_allowed

if TYPE_CHECKING:
    from tasker.client.local import LocalClient


class HookClient(Protocol):
    """Methods for provider hooks, available as `client.hooks`.

    A hook is named `namespace.name`, or only by its name in the namespace "default".
    """

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
        """Declare a hook, or replace the one with that name.

        Args:
            name: `namespace.name`.
            scheme: How requests are signed: "hmac", "github" or "stripe".
            secret: The provider's signing secret, 16 to 500 characters. It is never shown.
            sends: Name of the broadcast or signal.
            key: Path to the key of the broadcast, or to the id of the task: `body.data.order_id`.
            target: "broadcast" or "signal".
            id: Path to the id of the request, so a repeated request changes nothing.
            when: Condition over `body` and `headers`; if it is false, the request is ignored.
            header: The header with the signature, for the scheme "hmac".
            reason: For the audit log.

        Raises:
            InvalidInput: A field is invalid.
        """
        ...

    async def list(self, namespace: str | None = None) -> list[ProviderHook]:
        """List the hooks of one or all namespaces by name, without their secrets."""
        ...

    async def delete(self, name: str, *, reason: str = "") -> None:
        """Delete a hook. Raises NotFound."""
        ...


class LocalHooks(HookClient):
    """Implements `HookClient` with a store."""

    def __init__(self, client: "LocalClient") -> None:
        self._client = client

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
        namespace, plain = split_webhook_name(name)
        for what, part in (("namespace", namespace), ("name", plain)):
            if not NAMESPACE.fullmatch(part):
                message = f"{part[:60]!r} is not a valid {what} for a hook: {NAMESPACE_RULE}"
                raise InvalidInput(message, path=f"$.{what}")
        hook = ProviderHook(
            namespace=namespace,
            name=plain,
            scheme=_parse_choice("scheme", scheme, SignatureScheme),
            header=header.lower(),
            target=_parse_choice("target", target, HookMessageKind),
            sends=sends,
            key=key,
            id=id,
            when=when,
        )
        return await self._client.store.put_hook(hook, secret, self._audit_note(reason))

    async def list(self, namespace: str | None = None) -> list[ProviderHook]:
        return await self._client.store.list_hooks(namespace=namespace)

    async def delete(self, name: str, *, reason: str = "") -> None:
        await self._client.store.delete_hook(*split_webhook_name(name), self._audit_note(reason))

    def _audit_note(self, reason: str) -> AuditNote:
        return AuditNote(actor=self._client.actor, reason=reason, via=self._client.via)


_Choice = TypeVar("_Choice", SignatureScheme, HookMessageKind)


def _parse_choice(name: str, given: str, kind: type[_Choice]) -> _Choice:
    try:
        return kind(given)
    except ValueError:
        hint = suggest_allowed(given, tuple(map(str, kind)))
        raise InvalidInput(f"unknown {name} {given[:60]!r}{hint}", path=f"$.{name}") from None
