"""Pages on which people decide, plan, limit and configure: each act reaches the store."""

import re
from typing import Any

import pytest
from tests.browser.conftest import Guard, Site, violations


def act(page: Any, opener: str, button: str, **fields: str) -> None:
    """Open a dialog by its button, fill it in, and press the button that names the act."""
    page.get_by_role("button", name=opener).first.click()
    dialog = page.get_by_role("dialog")
    for label, text in fields.items():
        dialog.get_by_label(re.compile(rf"^{label.replace('_', ' ')}( |$)")).fill(text)
    dialog.get_by_role("button", name=button).click()
    dialog.wait_for(state="detached")


@pytest.mark.both_stores
def test_an_assignee_decides_an_approval(page: Any, site: Site) -> None:
    """The inputs are visible; the decision is listed afterwards."""
    task = site.create("shop.refund", order="R-1")
    site.wait(task, "waiting_for_dependencies")
    page.goto("approvals?show=all")
    row = page.locator("li", has_text=task[:13])
    row.get_by_role("button", name="Approve agree").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("R-1").wait_for()
    dialog.get_by_label("comment").fill("a good customer")
    dialog.get_by_role("button", name="Approve 1 step").click()
    row.wait_for(state="detached")

    assert "complete" == site.wait(task, "complete")["status"]
    page.goto("approvals?show=decided")
    page.locator("li", has_text="a good customer").wait_for()


def test_without_authentication_all_approvals_wait_for_the_viewer(page: Any, site: Site) -> None:
    """Those that are assigned to others too; the navigation counts them."""
    task = site.create("shop.handover", orders=["A", "B"], total=120)
    site.wait(task, "waiting_for_dependencies")
    page.goto("approvals")
    page.locator("li", has_text=task[:13]).get_by_text("for role:managers").wait_for()
    badge = page.get_by_role("navigation", name="Main").get_by_role("link", name="Approvals")
    badge.locator(".n").wait_for()

    site.send("POST", f"/v1/tasks/{task}/cancel", {"reason": "the test ends"})


def test_a_version_is_compared_and_approved(page: Any, site: Site) -> None:
    """Where the policy of its namespace requires a review, which is declared by a form."""
    template = "name: mail\nnamespace_name: reviewed\nversion: {}\nsteps:\n  - name: write\n"
    site.register(template.format("1.0.0"))
    page.goto("namespaces/reviewed")
    page.get_by_role("button", name="Declare…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Owner").fill("Mail team")
    dialog.get_by_label("New versions need a review").select_option("true")
    dialog.get_by_label("Approvers").fill("anonymous@shop.test")
    dialog.get_by_text("requires approval: false → true").wait_for()
    dialog.get_by_label("Reason").fill("a new team")
    dialog.get_by_role("button", name="Declare 1 policy").click()
    page.get_by_text("need a review by anonymous@shop.test").wait_for()

    site.register(template.format("1.1.0") + "  - name: send\n    dependencies: [write]\n")
    page.goto("approvals?show=all")
    page.locator("li", has_text="reviewed.mail").get_by_role("link", name="What changed").click()
    page.get_by_text("1 step added").wait_for()
    page.locator(".node[data-step=send]").get_by_text("added").wait_for()
    page.locator(".diff .new").first.wait_for()
    versions = site.read("/v1/template_versions?namespace=reviewed&status=pending_review")
    assert ["1.1.0"] == [one["version"] for one in versions["versions"]]


@pytest.mark.both_stores
def test_a_schedule_is_triggered_previewed_and_paused(page: Any, site: Site) -> None:
    """Its next ticks are shown in its zone; a backfill lists its ticks before it creates tasks."""
    page.goto("schedules")
    page.get_by_role("link", name="nightly").click()
    page.locator(".rows li").nth(11).wait_for()
    assert all(
        "02:30" in line or "03:30" in line for line in page.locator(".rows .sp").all_inner_texts()
    )
    act(page, "Pause…", "Pause 1 schedule")
    page.get_by_text("None until it is resumed").wait_for()
    assert site.read("/v1/schedules/shop/refund.nightly")["paused"]

    page.get_by_role("button", name="Backfill…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("From").fill("2026-01-01T00:00:00")
    dialog.get_by_label("To").fill("2026-01-04T00:00:00")
    dialog.get_by_text("3 ticks: 2026-01-01 01:30:00").or_(
        dialog.get_by_text("3 ticks: 01-01 01:30:00")
    ).wait_for()
    dialog.get_by_role("button", name="Back", exact=True).click()
    act(page, "Trigger now…", "Create 1 task")
    page.wait_for_url(re.compile("/ui/tasks/"))
    assert "refund" == site.read(f"/v1/tasks/{page.url.rsplit('/', 1)[1]}")["name"]


def test_a_schedule_is_changed_after_its_next_ticks_were_shown(
    page: Any, site: Site, guard: Guard
) -> None:
    """What another operator changed meanwhile is shown before it is replaced."""
    guard.allow("status of (400.*/v1/schedules/preview|412.*/v1/schedules/shop/weekly)")
    path = "/v1/schedules/shop/weekly"
    schedule = {"namespace": "shop", "name": "weekly", "template": "refund", "cron": "0 6 * * 1"}
    site.send("POST", "/v1/schedules", schedule | {"context": {"order": "R-9"}})
    page.goto("schedules/shop/weekly")
    page.get_by_role("button", name="Change…").click()
    dialog = page.get_by_role("dialog")
    save = dialog.get_by_role("button", name="Save 1 schedule")
    dialog.get_by_label("Cron expression").fill("61 * * * *")
    dialog.locator(".fault").first.wait_for()
    assert "true" == save.get_attribute("aria-disabled")
    dialog.get_by_label("Cron expression").fill("15 7 * * *")
    dialog.get_by_label("Time zone").fill("Asia/Tokyo")
    ticks = dialog.get_by_text("Next ticks, in Asia/Tokyo")
    ticks.wait_for()
    assert 10 == ticks.inner_text().count("07:15")

    site.send("PATCH", path, {"jitter": "20s", "reason": "another operator"})
    save.click()
    dialog.get_by_role("alert").wait_for()
    dialog.get_by_text("Someone else has changed it in the meantime").wait_for()
    assert "0 6 * * 1" == site.read(path)["cron"]
    dialog.get_by_label("Jitter").fill("40s")
    dialog.get_by_text("Someone else has changed it in the meantime").wait_for()
    save.click()
    dialog.wait_for(state="detached")

    stored = site.read(path)
    assert ("15 7 * * *", "Asia/Tokyo", "40s", {"order": "R-9"}) == (
        stored["cron"],
        stored["timezone"],
        stored["jitter"],
        stored["context"],
    )
    site.send("DELETE", path)
    page.goto("schedules/shop/refund.nightly")
    change = page.get_by_role("button", name="Change…")
    change.wait_for()
    assert "true" == change.get_attribute("aria-disabled")


def test_a_limit_is_set_and_removed(page: Any, site: Site) -> None:
    """The key may be one from a template or a pattern."""
    page.goto("limits?namespace=shop")
    page.get_by_text("order:R-0").wait_for()
    act(
        page,
        "Set a limit…",
        "Set 1 limit",
        Key="order:*",
        Concurrency="7",
        Reason="a sale",
    )
    setting = page.locator("section", has_text="Set by operators").locator("tr", has_text="order:*")
    setting.wait_for()
    (stored,) = site.read("/v1/limits?namespace=shop")["settings"]
    assert ("order:*", 7) == (stored["pattern"], stored["concurrency"])
    act(page, "Remove the setting for order:*", "Remove 1 setting")
    setting.wait_for(state="detached")


def test_deliveries_of_a_webhook_can_be_repeated(page: Any, site: Site, closed_port: int) -> None:
    """The secret is shown once; failed deliveries show their error."""
    page.goto("events?namespace=shop")
    page.get_by_text("refund.checked").first.wait_for()
    url = f"http://127.0.0.1:{closed_port}/"
    act(page, "New webhook…", "Create 1 webhook", Name="crm", URL=url, Events="refund.*")
    page.get_by_text("is shown only once").wait_for()
    task = site.create("shop.refund", order="R-2")
    page.get_by_role("link", name="crm").click()
    row = page.locator("tr", has_text="refund.checked").first
    row.get_by_text("pending, next attempt in").wait_for()
    act(page, "Send refund.checked again", "Send 1 event")
    row.get_by_role("button", name="refund.checked", exact=True).click()
    page.get_by_text(task).first.wait_for()
    act(page, "Pause…", "Pause 1 webhook")
    page.locator(".pill", has_text="Paused").wait_for()
    act(page, "Delete…", "Delete 1 webhook", Reason="a test")
    page.wait_for_url(re.compile("/ui/events$"))
    assert [] == site.read("/v1/webhooks?namespace=shop")["webhooks"]


@pytest.mark.both_stores
def test_a_queue_and_a_workflow_are_paused_and_the_audit_says_why(page: Any, site: Site) -> None:
    """All of them are resumed too."""
    queue = ("Pause the queue of nobody in shop", "Resume the queue of nobody in shop")
    page.goto("workers")
    act(page, queue[0], "Pause 1 queue", Reason="the bank is closed")
    page.get_by_role("button", name=queue[1]).wait_for()
    act(page, queue[1], "Resume 1 queue")
    page.goto("workflows/shop/markup")
    act(page, "Pause…", "Pause 1 template", Reason="a wrong text")
    page.get_by_text("paused by anonymous").wait_for()
    act(page, "Resume…", "Resume 1 template")
    page.get_by_text("paused by anonymous").wait_for(state="detached")
    page.goto("audit?namespace=shop")
    row = page.locator("tr", has_text="a wrong text")
    row.get_by_text("anonymous").wait_for()
    titles = page.locator("thead").inner_text().split()
    assert ["Who", "Via", "Action", "Object", "Reason"] == [one for one in titles if one.isalpha()][
        1:6
    ]
    row.get_by_role("button").click()
    page.get_by_role("group", name="After").wait_for()


def test_settings_are_kept_in_the_browser(page: Any, guard: Guard) -> None:
    page.goto("settings")
    page.get_by_role("button", name="Dark", exact=True).click()
    page.get_by_role("group", name="Times").get_by_role("button").nth(1).click()
    page.get_by_label("Enable single-key shortcuts").uncheck()
    page.reload()
    page.get_by_text("tasks: cancel, create").wait_for()
    kept = page.evaluate("Object.entries(localStorage).sort()")

    assert [["tasker.keys", "off"], ["tasker.theme", "dark"], ["tasker.zone", "local"]] == kept
    assert "dark" == page.evaluate("document.documentElement.dataset.theme")


@pytest.mark.both_stores
def test_what_a_handler_printed_is_shown_with_its_step(page: Any, site: Site) -> None:
    """As text, and searched in its messages."""
    page.goto(f"tasks/{site.tasks['complete']}?step=check_order")
    page.get_by_role("tab", name="Logs").click()
    page.get_by_text("checking A-1").wait_for()
    page.get_by_text("<b>found</b> A-1").wait_for()
    page.get_by_label("Search in messages").fill("FOUND")
    page.get_by_text("checking A-1").wait_for(state="detached")
    page.get_by_text("<b>found</b> A-1").wait_for()
    assert 1 == page.locator(".log li").count()
    page.get_by_label("Search in messages").fill("absent")
    page.get_by_text("No message contains this text.").wait_for()
    assert [] == violations(page)


def test_a_cause_of_failures_is_assigned_and_muted(page: Any, site: Site) -> None:
    """Until a version of its workflow; it then counts no more as what needs attention."""
    page.goto("failures")
    row = page.locator(".fp li").first
    row.get_by_role("button", name="Triage").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Assignee").fill("ann")
    dialog.get_by_label("Note").fill("the bank knows")
    dialog.get_by_label("Muted below version").fill("99.0.0")
    dialog.get_by_role("button", name="Save 1 cause").click()
    dialog.wait_for(state="detached")
    muted = page.locator(".fp li", has_text="Muted below 99.0.0.")
    muted.get_by_text("the bank knows").wait_for()
    assert [] == violations(page)

    last = site.read("/v1/failures")[-1]
    assert ("ann", True) == (last["triage"]["assignee"], last["muted"])
