"""Templates, namespaces and policies over HTTP."""

from typing import Any

import pytest
from tests.api.api_client import ApiClient

pytestmark = pytest.mark.anyio

NEXT = {
    "name": "refund",
    "namespace_name": "shop",
    "version": "1.1.0",
    "description": "Gives money back, quickly",
    "steps": [
        {"name": "look_up"},
        {"name": "pay", "dependencies": ["look_up"], "retry": {"max_attempts": 5}},
        {"name": "close", "dependencies": ["pay"]},
    ],
}
YAML = """\
name: restock
namespace_name: shop
version: 0.1.0
steps:
  - {name: count}
  - {name: order, dependencies: [count]}
"""


async def test_a_template_is_registered_once(api: ApiClient) -> None:
    """
    201 with its place, then 200; other content under the version is refused, or replaces it.
    """
    first = await api.post("/v1/templates", json=NEXT)
    again = await api.call("/v1/templates", NEXT, 200)
    changed = {**NEXT, "description": "Slowly"}
    refused = await api.call("/v1/templates", changed, 409)
    replaced = await api.call("/v1/templates?replace=true", changed, 201)

    registered = api.json_of(first, 201)
    assert "/v1/templates/shop/refund/1.1.0" == first.headers["location"]
    assert (True, False) == (registered["created"], again["created"])
    assert "template_conflict" == refused["code"]
    assert "Slowly" == replaced["description"]
    read = await api.read(first.headers["location"])
    assert {**replaced, "created": False} == read


async def test_invalid_templates_of_a_list_are_named_and_none_is_registered(one: ApiClient) -> None:
    before = await one.read("/v1/templates")
    valid = {**NEXT, "version": "7.0.0"}
    broken = {**NEXT, "steps": [{"name": "a", "dependencies": ["b"]}]}

    problem = await one.call("/v1/templates/bulk", {"templates": [valid, broken, {}]}, 400)

    assert "invalid_template" == problem["code"]
    paths = [fault["path"] for fault in problem["errors"]]
    assert ["$.templates[1].steps[0].dependencies[0]", "$.templates[2]"] == sorted(set(paths))
    assert before == await one.read("/v1/templates")


async def test_a_template_may_be_yaml(one: ApiClient) -> None:
    for kind in ("application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"):
        response = await one.post("/v1/templates", content=YAML, headers={"Content-Type": kind})
        assert ["count", "order"] == response.json()["step_names"]


@pytest.mark.parametrize(
    ("kind", "text", "code", "fault"),
    [
        (
            "application/yaml",
            "name: x\nsteps:\n  - {name: 5}\n",
            "invalid_template",
            {"path": "$.steps[0].name", "line": 3, "column": 12},
        ),
        ("application/yaml", "a: [", "invalid_template", {}),
        ("application/yaml", "- &a [*a]", "invalid_template", {}),
        ("application/yaml", "!!python/object/apply:os.system [ls]", "invalid_template", {}),
        ("application/json", '{"name": "x", "steps": []', "malformed_json", None),
        ("application/json", "[]", "invalid_template", None),
        (
            "application/json",
            '{"name": "x", "steps": [{"name": "a", "dependencies": ["b"]}]}',
            "invalid_template",
            {"path": "$.steps[0].dependencies[0]"},
        ),
    ],
)
async def test_an_error_in_a_template_is_reported_with_its_position(
    one: ApiClient, kind: str, text: str, code: str, fault: dict[str, Any] | None
) -> None:
    before = await one.read("/v1/templates")
    response = await one.post("/v1/templates", content=text, headers={"Content-Type": kind})

    problem = one.json_of(response, 400)
    assert code == problem["code"]
    if fault is not None:
        assert fault.items() <= problem["errors"][0].items()
    assert before == await one.read("/v1/templates")


async def test_templates_are_listed_by_namespace_and_status(api: ApiClient) -> None:
    await api.call("/v1/templates", NEXT, 201)
    await api.call("/v1/templates/shop/broken/0.9.0/retire", {"reason": "it is"})

    approved = await api.read("/v1/templates")
    retired = await api.read("/v1/templates", params={"status": "retired"})
    none = await api.read("/v1/templates", params={"namespace": "elsewhere"})

    assert ["shop.refund@1.0.0", "shop.refund@1.1.0"] == [
        one["full_name"] for one in approved["templates"]
    ]
    assert ["shop.broken@0.9.0"] == [one["full_name"] for one in retired["templates"]]
    assert [] == none["templates"]
    assert "document" not in approved["templates"][0]


async def test_a_version_can_be_given_as_a_range(api: ApiClient) -> None:
    await api.call("/v1/templates", NEXT, 201)

    for asked, difference in (
        ("latest", "1.1.0"),
        ("^1.0", "1.1.0"),
        ("~1.0", "1.0.0"),
        ("1.0.0", "1.0.0"),
    ):
        assert difference == (await api.read(f"/v1/templates/shop/refund/{asked}"))["version"]
    versions = await api.read("/v1/templates/shop/refund")
    assert ("1.1.0", ["1.0.0", "1.1.0"]) == (
        versions["latest_version"],
        [one["version"] for one in versions["versions"]],
    )
    assert "invalid_input" == (await api.read("/v1/templates/shop/refund/two", 400))["code"]


async def test_a_template_shows_its_graph(one: ApiClient) -> None:
    shown = await one.read("/v1/templates/shop/refund/1.0.0")

    graph = shown["graph"]
    assert [["look_up"], ["pay", "tell"], ["close"]] == graph["levels"]
    assert (["look_up"], ["close"]) == (graph["roots"], graph["leaves"])
    assert 4 == len(graph["edges"])
    assert {"from": "tell", "to": "close", "type": "dependency"} in graph["edges"]
    assert ("look_up", 3, True) == (
        shown["steps"][0]["handler"],
        shown["steps"][0]["retry"]["max_attempts"],
        shown["steps"][0]["retry"]["retryable"],
    )


async def test_two_versions_can_be_compared(one: ApiClient) -> None:
    await one.call("/v1/templates", NEXT, 201)

    difference = await one.read("/v1/templates/shop/refund/diff?from=1.0.0&to=1.1.0")
    same = await one.read("/v1/templates/shop/refund/diff?from=1.1.0")

    assert ([], ["tell"], ["pay", "close"], False) == (
        difference["steps_added"],
        difference["steps_removed"],
        difference["steps_changed"],
        difference["identical"],
    )
    changes = {
        change["path"]: (change["before"], change["after"]) for change in difference["changes"]
    }
    assert (None, {"max_attempts": 5}) == changes["$.steps.pay.retry"]
    assert ("Gives money back", "Gives money back, quickly") == changes["$.description"]
    assert ("1.1.0", True, []) == (same["to_version"], same["identical"], same["changes"])


async def test_a_new_version_is_pending_if_its_namespace_requires_review(
    api: ApiClient,
) -> None:
    """
    A version waits; who registered it may not decide; the audit has it all.
    """
    policy = {
        "owner_team": "retail",
        "contact_email": "retail@example.com",
        "description": "The shop",
        "requires_approval": True,
        "approvers": ["ann@example.com"],
        "reason": "it was too easy",
    }
    await api.call("/v1/namespaces/shop/policy", policy, method="PUT")

    waiting = await api.call("/v1/templates", NEXT, 201)
    refused = await api.create("shop.refund@1.1.0", status=409)
    review = "/v1/template_versions/shop/refund/1.1.0/review"
    own = await api.call(review, {"approve": True}, 403)
    no_reason = await api.call(review, {"approve": False}, 400)
    namespace = await api.read("/v1/namespaces/shop")
    audit = await api.read("/v1/namespaces/shop/audit")

    assert "pending_review" == waiting["status"]
    assert ("template_not_approved", "pending_review", ["ann@example.com"]) == (
        refused["code"],
        refused["current_status"],
        refused["allowed"],
    )
    assert "not_an_approver" == own["code"]
    assert "$.reason" == no_reason["errors"][0]["path"]
    assert ("retail", True, 1, 2) == (
        namespace["policy"]["owner_team"],
        namespace["policy"]["requires_approval"],
        namespace["pending_review"],
        namespace["approved"],
    )
    assert ["register_template", "put_policy"] == [event["action"] for event in audit["events"][:2]]
    assert "it was too easy" == audit["events"][1]["reason"]
    statuses = await api.read("/v1/template_versions", params={"namespace": "shop"})
    assert {"approved", "pending_review"} == {one["status"] for one in statuses["versions"]}


async def test_a_policy_that_cannot_be_satisfied_is_refused(one: ApiClient) -> None:
    for policy, code in (
        ({"requires_approval": True}, "invalid_input"),
        ({"approvers": ["nobody"], "requires_approval": True}, "invalid_input"),
        ({"contact_email": "@"}, "invalid_input"),
        ({"owner": "x"}, "invalid_request"),
    ):
        problem = await one.call("/v1/namespaces/shop/policy", policy, 400, method="PUT")
        assert code == problem["code"]
    assert None is (await one.read("/v1/namespaces/shop"))["policy"]


async def test_a_retired_version_accepts_no_tasks_until_it_is_restored(api: ApiClient) -> None:
    place = "/v1/templates/shop/refund/1.0.0"

    retired = await api.call(f"{place}/retire", {"reason": "old"})
    refused = await api.create("shop.refund@1.0.0", status=409)
    twice = await api.call(f"{place}/retire", status=409)
    restored = await api.call(f"{place}/restore")

    assert ("retired", "old", "anonymous") == (
        retired["status"],
        retired["reason"],
        retired["decided_by"],
    )
    assert ("template_not_approved", "wrong_status") == (refused["code"], twice["code"])
    assert "approved" == restored["status"]
    await api.create("shop.refund@1.0.0")


async def test_the_audit_is_read_in_pages(one: ApiClient) -> None:
    for no in range(5):
        await one.call("/v1/namespaces/shop/policy", {"description": f"{no}"}, method="PUT")

    seen, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await one.read("/v1/audit", params=query)
        seen += [event["id"] for event in page["events"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert sorted(seen, reverse=True) == seen
    assert len(seen) == len(set(seen)) >= 5
