"""Provider hooks, by clients of every kind."""

import pytest
from tests.client.conftest import Scene

from tasker import InvalidInput, NotFound
from tasker.hooks import HookMessageKind, SignatureScheme

pytestmark = pytest.mark.anyio

SECRET = "whsec_0123456789abcdef"


async def test_a_hook_is_declared_replaced_and_deleted(scene: Scene) -> None:
    """Its secret is never returned."""
    hooks = scene.client.hooks
    await hooks.declare("suite.pay", scheme="hmac", secret=SECRET, sends="paid", key="body.order")
    changed = await hooks.declare(
        "suite.pay",
        scheme="stripe",
        secret=SECRET,
        sends="paid",
        key="body.task",
        target="signal",
        id="body.id",
        when='body.type == "paid"',
        reason="other provider",
    )

    assert (SignatureScheme.STRIPE, HookMessageKind.SIGNAL, "body.task", "body.id") == (
        changed.scheme,
        changed.target,
        changed.key,
        changed.id,
    )
    assert SECRET not in repr(changed)
    assert [changed] == await hooks.list("suite") == await hooks.list()
    await hooks.delete("suite.pay", reason="over")
    assert [] == await hooks.list()
    assert ["over", "other provider", ""] == [
        entry.reason for entry in await scene.client.namespace_audit("suite")
    ]


async def test_an_invalid_hook_is_refused(scene: Scene) -> None:
    hooks = scene.client.hooks
    given = {"scheme": "hmac", "secret": SECRET, "sends": "paid", "key": "body.order"}

    for change, path in (
        ({"scheme": "hmak"}, "$.scheme"),
        ({"secret": "short"}, "$.secret"),
        ({"key": "order"}, "$.key"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await hooks.declare("suite.pay", **{**given, **change})
        assert path == refused.value.path
    with pytest.raises(NotFound):
        await hooks.delete("suite.pay")
