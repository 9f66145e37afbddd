"""Provider hooks of namespaces."""

from dataclasses import replace

import pytest

from tasker.errors import InvalidInput, NotFound
from tasker.hooks import HookMessageKind, ProviderHook, SignatureScheme
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import ACT, StoreTests

SECRET = "whsec_0123456789abcdef"  # noqa: S105 - of the tests
HOOK = ProviderHook(
    namespace="suite",
    name="pay",
    scheme=SignatureScheme.HMAC,
    header="x-sig",
    target=HookMessageKind.BROADCAST,
    sends="paid",
    key="body.order",
    id="body.id",
    when='body.type == "paid"',
)


class TestProviderHooks(StoreTests):
    async def test_a_hook_is_read_as_it_was_declared(self, store: Store) -> None:
        """The secret is read separately; a later declaration replaces the hook."""
        stored = await store.put_hook(HOOK, SECRET, ACT)
        assert HOOK == replace(stored, updated_by="", updated_at=None)
        assert ACT.actor == stored.updated_by
        other = replace(HOOK, scheme=SignatureScheme.STRIPE, id=None, when=None)

        changed = await store.put_hook(other, SECRET + "2", ACT)

        given = await store.find_hook_with_secret("suite", "pay")
        assert given is not None
        assert (changed, SECRET + "2") == (given.hook, given.secret)
        assert [changed] == await store.list_hooks()
        assert await store.find_hook_with_secret("suite", "other") is None

    async def test_hooks_are_listed_by_namespace(self, store: Store) -> None:
        for namespace, name in (("b", "x"), ("a", "y"), ("a", "x")):
            await store.put_hook(replace(HOOK, namespace=namespace, name=name), SECRET, ACT)

        async def list_hook_names(**filters: object) -> list[str]:
            hooks = await store.list_hooks(**filters)  # type: ignore[arg-type]
            return [f"{hook.namespace}.{hook.name}" for hook in hooks]

        assert ["a.x", "a.y", "b.x"] == await list_hook_names()
        assert ["b.x"] == await list_hook_names(namespace="b")
        assert ["a.x", "a.y"] == await list_hook_names(visible=["a", "c"])
        assert [] == await list_hook_names(namespace="b", visible=["a"])

    async def test_a_hook_is_deleted(self, store: Store) -> None:
        """The audit log records its declaration and its deletion, without the secret."""
        await store.put_hook(HOOK, SECRET, ACT)
        await store.delete_hook("suite", "pay", ACT)

        assert [] == await store.list_hooks()
        with pytest.raises(NotFound):
            await store.delete_hook("suite", "pay", ACT)
        deleted, put = await store.list_team_audit(namespace="suite")
        assert ("delete_hook", "put_hook") == (deleted.action, put.action)
        assert (None, put.after, None) == (put.before, deleted.before, deleted.after)
        assert SECRET not in str(put)

    async def test_an_invalid_hook_is_rejected(self, store: Store) -> None:
        with pytest.raises(InvalidInput):
            await store.put_hook(replace(HOOK, key="input.x"), SECRET, ACT)

        assert [] == await store.list_hooks()
        assert [] == await store.list_team_audit()
