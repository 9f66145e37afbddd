"""`tasker namespace`, `tasker template approve` and its like, `tasker key`."""

import re

import pytest
from tests.cli.conftest import Here, words

SARAH, MARCUS, JAKE = "sarah@growthcorp.com", "marcus@growthcorp.com", "jake@growthcorp.com"
POLICIES = f"""
    namespaces:
      payments:
        owner_team: payments
        contact_email: payments-team@growthcorp.com
      shop:
        owner_team: platform
        description: Cross-team workflows and utilities
        requires_approval: true
        approvers: [{SARAH}, {MARCUS}]
"""
SELL = "shop.sell@1.0.0"


@pytest.fixture
def guarded(tasker: Here) -> Here:
    """A store in which the template's namespace requires an approval."""
    tasker.project.write("policies.yaml", POLICIES)
    assert 0 == tasker("namespace", "apply", "policies.yaml", "--as", "root").code
    return tasker


def test_policies_are_applied_from_a_file(tasker: Here) -> None:
    """
    Again is fine, and says so.
    """
    tasker.project.write("policies.yaml", POLICIES)

    first = tasker("namespace", "apply", "policies.yaml")
    again = tasker("namespace", "apply", "policies.yaml", "--json")

    assert (0, ["declared: payments", "declared: shop"]) == (first.code, first.out.splitlines())
    assert ["unchanged", "unchanged"] == [each["outcome"] for each in again.document["namespaces"]]


def test_an_invalid_policy_is_reported_with_its_position(tasker: Here) -> None:
    """No policy of the file is applied."""
    tasker.project.write("policies.yaml", "namespaces: {good: {}, bad: {contact_email: q}}")

    ran = tasker("namespace", "apply", "policies.yaml")

    assert 2 == ran.code
    assert "policies.yaml:1:45: 'q' is not an e-mail address" in ran.err
    assert 3 == tasker("namespace", "list").code


def test_namespaces_are_listed_and_shown(guarded: Here) -> None:
    """The output has owners, policies and pending versions."""
    guarded("template", "register", "sell.yaml")

    listed = guarded("namespace", "list")
    shown = guarded("namespace", "show", "shop")
    document = guarded("namespace", "show", "shop", "--json").document

    assert re.search(r"^shop +platform +0 +1 +required +Cross-team", listed.out, re.MULTILINE)
    for fact in ("platform", f"{SARAH}, {MARCUS}", "pending_review", "by root"):
        assert fact in shown.out
    assert (1, [SARAH, MARCUS]) == (document["pending_review"], document["policy"]["approvers"])
    assert 2 == guarded("namespace", "show", "nowhere").code


def test_single_fields_of_a_policy_can_be_changed(guarded: Here) -> None:
    """Omitted options keep their values."""
    changed = guarded("namespace", "put", "shop", "--description", "Ours", "--json").document
    open_again = guarded("namespace", "put", "shop", "--no-requires-approval").out
    new = guarded("namespace", "put", "new", "--owner-team", "new").out

    assert ("platform", "Ours", True) == (
        changed["owner_team"],
        changed["description"],
        changed["requires_approval"],
    )
    assert ("changed: shop\n", "declared: new\n") == (open_again, new)
    wrong = guarded("namespace", "put", "new", "--requires-approval")
    assert (2, True) == (wrong.code, "requires_approval needs approvers" in wrong.err)


def test_a_version_is_pending_until_an_approver_approves_it(guarded: Here) -> None:
    """Refused actions have the exit code of refusals."""
    registered = guarded("template", "register", "sell.yaml", "--as", JAKE)
    refused = guarded("template", "approve", SELL, "--as", JAKE)
    waiting = guarded("template", "status", "--waiting", "--json").document["versions"]
    approved = guarded("template", "approve", SELL, "--as", SARAH, "--reason", "fine")
    again = guarded("template", "approve", SELL, "--as", SARAH)

    assert f"registered: {SELL} (pending_review)\n" == registered.out
    assert 5 == refused.code
    assert "sarah@growthcorp.com" in refused.err
    assert [(SELL, JAKE)] == [(each["full_name"], each["registered_by"]) for each in waiting]
    assert (0, f"approved: {SELL}\n") == (approved.code, approved.out)
    assert (5, True) == (again.code, "it is approved, not pending_review" in again.err)
    assert "no versions match" in guarded("template", "status", "--waiting").err


def test_the_actor_may_be_set_in_the_environment(
    guarded: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This applies to all commands."""
    monkeypatch.setenv("TASKER_ACTOR", SARAH)
    guarded("template", "register", "sell.yaml")

    own = guarded("template", "approve", SELL)
    other = guarded("template", "approve", SELL, "--as", MARCUS)

    assert (5, True) == (own.code, "another approver must approve it" in own.err)
    assert 0 == other.code


def test_a_rejection_has_a_reason(guarded: Here) -> None:
    """Without a reason the command is refused."""
    guarded("template", "register", "sell.yaml")

    assert 2 == guarded("template", "reject", SELL, "--as", SARAH).code
    rejected = guarded("template", "reject", SELL, "--as", SARAH, "-r", "no fraud check")

    assert f"rejected: {SELL}\n" == rejected.out
    assert "no fraud check" in guarded("template", "status").out


def test_a_version_is_retired_and_restored(tasker: Here) -> None:
    """It accepts no tasks in between."""
    tasker("template", "register", "sell.yaml")

    retired = tasker("template", "retire", SELL, "--json").document
    run = tasker("run", "shop.sell", "-H", "shop.py", "-c", '{"sku": "mug"}')
    restored = tasker("template", "restore", SELL)

    assert ("retired", SELL) == (retired["status"], retired["full_name"])
    assert (5, True) == (run.code, "is retired" in run.err)
    assert f"approved: {SELL}\n" == restored.out


def test_the_audit_lists_actors_and_actions(guarded: Here) -> None:
    """
    Of one namespace, or of all.
    """
    guarded("template", "register", "sell.yaml", "--as", JAKE)

    mine = guarded("namespace", "audit", "shop", "--json").document["events"]
    page = guarded("namespace", "audit", "--before", str(mine[0]["id"]), "--json").document
    shown = guarded("namespace", "audit").out

    assert [("register_template", JAKE), ("put_policy", "root")] == [
        (each["action"], each["actor"]) for each in mine
    ]
    assert ["shop", "payments"] == [each["subject"] for each in page["events"]]
    assert "register_template" in shown
    assert "no changes recorded" in guarded("namespace", "audit", "nowhere").err


def test_a_key_is_printed_once(tasker: Here) -> None:
    """
    Alone on stdout, for scripts; listings show its prefix only.
    """
    options = ("-s", "tasks:create", "-n", "payments", "--handler", "mail.*", "--expires", "90d")
    made = tasker("key", "create", "ci", *options)
    listed = tasker("key", "list")
    prefix = made.out.split("_")[1]

    assert re.fullmatch(r"tsk_[0-9a-f]{12}_[0-9a-f]{64}\n", made.out)
    assert "it is not shown again" in made.err
    assert re.search(rf"^{prefix} +ci +tasks:create +payments +mail.\* ", listed.out, re.MULTILINE)
    assert made.out.split("_")[2].strip() not in tasker("key", "list", "--json").out


def test_a_key_or_limit_of_an_unknown_namespace_is_made_with_a_warning(tasker: Here) -> None:
    """Namespaces may follow; while there are none, nothing is known to be wrong."""
    create = ("key", "create", "k", "--role", "viewer")
    early = tasker(*create, "-n", "shp")
    assert 0 == tasker("template", "register", "sell.yaml").code
    limit = ("limit", "set", "stripe", "--concurrency", "2")

    wrong = tasker(*create, "-n", "shp"), tasker(*limit, "-n", "shp")
    default = tasker(*limit)
    right = (
        tasker(*create, "-n", "shop", "-n", "*"),
        tasker(*limit, "-n", "shop"),
        tasker("limit", "set", "shared:stripe", "--rate", "5/s"),
    )

    warning = (
        "warning: namespace 'shp' has neither a policy nor a template; did you mean 'shop'?"
        " Known: shop."
    )
    assert "warning" not in early.err
    for ran in wrong:
        assert (0, True) == (ran.code, warning in ran.err), ran.err
    assert "namespace 'default' has neither a policy nor a template. Known: shop." in default.err
    for ran in right:
        assert (0, False) == (ran.code, "warning" in ran.err), ran.err


def test_an_empty_list_of_limits_names_other_namespaces(tasker: Here) -> None:
    assert 0 == tasker("template", "register", "sell.yaml").code

    assert "no limits in namespace default; other namespaces (--namespace): shop" in (
        tasker("limit", "list").err
    )
    assert "no limits in namespace shop\n" == tasker("limit", "list", "-n", "shop").err


def test_a_key_has_the_groups_that_decide_approvals(tasker: Here) -> None:
    options = ("--role", "operator", "-n", "payments", "--group", "heads", "--group", "cfo")
    made = tasker("key", "create", "ana", *options)
    (listed,) = tasker("key", "list", "--json").document["keys"]
    refused = tasker("key", "create", "eve", "--role", "viewer", "-n", "payments", "--group", "")

    assert 0 == made.code
    assert ["heads", "cfo"] == listed["groups"]
    assert "heads cfo" in tasker("key", "list").out
    assert (2, True) == (refused.code, "$.groups: must have 1 to 200" in refused.err)


def test_a_key_is_revoked_by_its_prefix_or_full_text(tasker: Here) -> None:
    """
    Then only `--all` lists it.
    """
    texts = [
        tasker("key", "create", name, "--role", "viewer", "-n", "*").out.strip()
        for name in ("one", "two")
    ]

    revoked = tasker("key", "revoke", texts[0], "-r", "it leaked")
    tasker("key", "revoke", texts[1].split("_")[1])

    assert (0, "revoked: ") == (revoked.code, revoked.out[:9])
    assert 5 == tasker("key", "revoke", texts[0]).code
    assert 2 == tasker("key", "revoke", "0" * 12).code
    assert "no keys" in tasker("key", "list").err
    assert 2 == tasker("key", "list", "--all").out.count("revoked")


def test_a_key_without_permissions_is_refused(tasker: Here) -> None:
    """Unknown permissions are refused too."""
    for arguments in (
        (),
        ("-s", "tasks:create"),
        ("-n", "payments"),
        ("-s", "tasks:crate", "-n", "payments"),
        ("-s", "tasks:create", "-n", "pay ments"),
    ):
        ran = tasker("key", "create", "ci", *arguments)
        assert (2, "") == (ran.code, ran.out)
    assert "tasks:create" in tasker("key", "create", "x", "-s", "tasks:crate", "-n", "p").err


def test_a_key_with_an_unknown_role_is_refused(tasker: Here) -> None:
    ran = tasker("key", "create", "program", "--role", "viewwer", "-n", "*")

    assert 2 == ran.code
    assert "unknown role 'viewwer'; did you mean 'viewer'?" in words(ran.err)
    assert not (tasker.project.root / ".tasker").exists()


def test_a_key_may_have_a_role_from_the_settings(tasker: Here) -> None:
    tasker.project.write("tasker.toml", '[auth]\nenabled = false\nroles.wizard = ["tasks:read"]\n')

    assert 0 == tasker("key", "create", "program", "--role", "wizard", "-n", "*").code
