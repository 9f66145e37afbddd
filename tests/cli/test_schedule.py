"""`tasker schedule`."""

import json

from tests.cli.conftest import Here


def test_a_schedule_is_created_shown_paused_and_deleted(tasker: Here) -> None:
    """The next ten ticks are shown before it is saved."""
    assert 0 == tasker("template", "register", "sell.yaml").code
    options = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--context", '{"sku": "mug"}')
    create = ("schedule", "create", "nightly", "--template", "shop.sell@^1", *options)

    planned = tasker(*create, "--dry-run")
    none = tasker("schedule", "list")
    created = tasker(*create)
    again = tasker(*create)
    replaced = tasker(*create, "--replace", "--jitter", "5m")
    paused = tasker("schedule", "pause", "shop.nightly", "--reason", "stocktaking")
    listed = tasker("schedule", "list")
    resumed = tasker("schedule", "resume", "shop.nightly")
    shown = tasker("schedule", "show", "shop.nightly")
    deleted = tasker("schedule", "delete", "shop.nightly")

    assert 10 == len(planned.out.splitlines())
    assert all("02:30:00" in line for line in planned.out.splitlines())
    assert "no schedules" in none.err
    assert planned.out + "created: schedule shop.nightly\n" == created.out
    assert "already exists" in again.err
    assert replaced.out.endswith("replaced: schedule shop.nightly\n")
    assert "paused: schedule shop.nightly\n" == paused.out
    assert "shop.nightly" in listed.out
    assert "paused" in listed.out
    assert "resumed: schedule shop.nightly\n" == resumed.out
    for fact in ("shop.sell@^1", "30 2 * * * Europe/Berlin", "skip", "5m", "mug"):
        assert fact in shown.out
    assert planned.out in shown.out
    assert "deleted: schedule shop.nightly\n" == deleted.out


def test_past_ticks_are_backfilled(tasker: Here) -> None:
    assert 0 == tasker("template", "register", "sell.yaml").code
    create = ("schedule", "create", "s", "-t", "shop.sell", "-c", '{"sku": "mug"}')
    assert 0 == tasker(*create, "--every", "1h").code
    past = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T02:00:00Z")

    planned = tasker("schedule", "backfill", "shop.s", *past, "--dry-run")
    first = tasker("schedule", "backfill", "shop.s", *past)
    second = tasker("schedule", "backfill", "shop.s", *past, "--json")

    assert 2 == len(planned.out.splitlines())
    assert "2 tasks created\n" == first.out
    assert (0, 2) == (json.loads(second.out)["created"], json.loads(second.out)["existing"])


def test_errors_are_reported_by_field(tasker: Here) -> None:
    assert 0 == tasker("template", "register", "sell.yaml").code
    wrong = tasker("schedule", "create", "s", "-t", "shop.sell", "--cron", "61 * * * *")
    both = tasker("schedule", "create", "s", "-t", "shop.sell")

    assert 0 != wrong.code
    assert "is not a cron expression" in wrong.err
    assert "exactly one of 'cron' and 'every'" in both.err
