"""Who may decide approvals: assignees, by the name or a group of their credential."""

from typing import Any

import httpx
import pytest
from tests.api.auth.scene import calling, token, with_tokens

from tasker.settings import AuthSettings
from tasker.store.protocol import Store
from tasker.teams.api_keys import generate_key
from tasker.teams.model import NewApiKey
from tasker.testing.store_suite.decisions import create_open_approval
from tasker.testing.store_suite.factories import ACT

pytestmark = pytest.mark.anyio
FORM = {"form": {"approved": True}}


async def test_only_assignees_with_the_permission_can_decide(store: Store) -> None:
    """Groups come from the token's claim `groups` or from the key."""
    approvals = {
        "ana": (await create_open_approval(store, "user:ana", "role:support"))[1],
        "group": (await create_open_approval(store, "role:support"))[1],
        "key": (await create_open_approval(store, "role:bots"))[1],
    }
    secret, prefix, digest = generate_key()
    key = NewApiKey(
        name="bot",
        prefix=prefix,
        digest=digest,
        scopes=("approvals:*",),
        namespaces=("suite",),
        groups=("bots",),
    )
    await store.add_api_key(key, ACT)

    def who(name: str, *groups: str, **claims: Any) -> str:
        given = {"roles": ["operator"], "namespaces": ["suite"], "groups": [*groups], **claims}
        return token(sub=name, **given)

    async with calling(store, auth=with_tokens()) as caller:

        async def decide(text: str, name: str) -> tuple[int, str | None]:
            headers = {"Authorization": f"Bearer {text}"}
            path = f"/v1/approvals/{approvals[name].id}/decision"
            answer = await caller.request("POST", path, json=FORM, headers=headers)
            return answer.status_code, answer.json().get("code")

        async def inbox(text: str) -> list[str]:
            headers = {"Authorization": f"Bearer {text}"}
            answer: httpx.Response = await caller.request(
                "GET", "/v1/approvals?mine=true", headers=headers
            )
            listed = {one["id"] for one in answer.json().get("approvals", ())}
            return [name for name, approval in approvals.items() if approval.id in listed]

        refused = [
            await decide(who("eve"), "ana"),
            await decide(who("eve", "sales"), "ana"),
            await decide(who("support"), "group"),
            await decide(who("ana", roles=["viewer"]), "ana"),
            await decide(who("ana", namespaces=["other"]), "ana"),
            await decide(secret, "group"),
        ]
        boxes = [
            await inbox(who("eve")),
            await inbox(who("ana")),
            await inbox(who("eve", "support")),
            await inbox(who("eve", "support", namespaces=["other"])),
            await inbox(secret),
        ]
        accepted = [
            await decide(who("ana"), "ana"),
            await decide(who("bob", "x", "support"), "group"),
            await decide(secret, "key"),
        ]
        again = await decide(who("bob", "support"), "group")

    denied = (403, "not_an_assignee")
    assert [
        denied,
        denied,
        denied,
        (403, "forbidden"),
        (404, "not_found"),
        denied,
    ] == refused
    assert [[], ["ana"], ["ana", "group"], [], ["key"]] == boxes
    assert [(200, None)] * 3 == accepted
    assert (409, "wrong_status") == again
    names = [(await store.get_approval(one.id)).decided_by for one in approvals.values()]
    assert ["ana", "bob", "bot"] == names


async def test_without_authentication_all_open_approvals_are_the_callers(store: Store) -> None:
    """Everyone may decide them."""
    asked = [
        (await create_open_approval(store, "role:support"))[1].id,
        (await create_open_approval(store, "user:ana"))[1].id,
    ]

    async with calling(store, auth=AuthSettings()) as caller:
        answer = await caller.get("/v1/approvals?mine=true")

    assert asked == [one["id"] for one in answer.json()["approvals"]]
