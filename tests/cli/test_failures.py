"""Causes of failures, search, counts, series and the system on the command line."""

import signal
from datetime import UTC, datetime

from tests.cli.conftest import Here
from tests.cli.test_server import url_of

from tasker.cli.render.style import draw_sparkline


def test_a_cause_is_listed_assigned_noted_and_muted(tasker: Here) -> None:
    """It is named by the beginning of its fingerprint."""
    tasker.task('{"sku": "mug", "broke": true}')
    (cause,) = tasker("failure", "list", "--json").document["failures"]
    key, start = cause["fingerprint"], cause["fingerprint"][:6]

    for expected, arguments in (
        (f"{key}: assigned to ann", ("assign", start, "ann", "--as", "bob")),
        (f"{key}: note saved", ("note", start, "asked the bank")),
        (f"{key}: muted for 2 d", ("mute", start, "--for", "49h")),
        (f"{key}: muted below 2.0.0", ("mute", start, "--below", "2.0.0")),
    ):
        ran = tasker("failure", *arguments)
        assert (0, True) == (ran.code, ran.out.startswith(expected)), ran
    shown = tasker("failure", "list").out
    for part in (key[:8], "charge of shop.sell", "CARD_EXPIRED", "ann", "muted below 2.0.0"):
        assert part in " ".join(shown.split())
    triage = tasker("failure", "unmute", start, "--json").document
    assert ("ann", "asked the bank", None) == (
        triage["assignee"],
        triage["note"],
        triage["muted_below"],
    )
    assert 0 == tasker("task", "retry", "last").code
    assert "is stopped by a failure" in tasker("failure", "list").err


def test_what_names_no_cause_or_mutes_for_no_time_is_refused(tasker: Here) -> None:
    tasker.task('{"sku": "mug", "broke": true}')
    for expected, arguments in (
        ("no cause of failures matches 'ffff0'", ("assign", "ffff0", "ann")),
        ("give at least one of --for, --until and --below", ("mute", "0")),
        ("only one of --for and --until", ("mute", "0", "--for", "1h", "--until", "2099-01-01")),
    ):
        ran = tasker("failure", *arguments)
        assert (True, True) == (ran.code != 0, expected in ran.err), ran


def test_counts_search_series_and_system_agree_with_a_server(tasker: Here) -> None:
    task = tasker.task()
    commands = {
        "task count": ("task", "count", "--template", "shop.sell"),
        "search": ("search", task["id"][:13]),
        "series": ("series", "ended", "--by", "status", "--last", "1h"),
        "system": ("system",),
    }
    local = {name: tasker(*command) for name, command in commands.items()}
    with tasker.project.starting("server", "--port", "0") as server:
        url = ("--server", url_of(server))
        remote = {name: tasker(*command, *url) for name, command in commands.items()}
        counts = tasker(*commands["task count"], *url, "--json").document
        server.send(signal.SIGTERM)
        assert 0 == server.end()

    for name, ran in local.items():
        assert (0, 0) == (ran.code, remote[name].code), (ran, remote[name])
    assert {"complete": 1} == {key: n for key, n in counts["by_status"].items() if n}
    assert ["complete", "1"] == local["task count"].out.split()[-2:]
    assert task["id"] in local["search"].out
    assert local["search"].out == remote["search"].out
    assert "complete" in local["series"].out
    assert "sqlite" in local["system"].out
    assert datetime.fromisoformat(counts["as_of"]) <= datetime.now(UTC)


def test_a_sparkline_has_one_bar_per_value() -> None:
    """The highest is full; zero is empty."""
    assert "▁▅█ " == draw_sparkline([0.1, 5, 10, 0])
    assert ".+# " == draw_sparkline([0.1, 5, 10, 0], plain=True)
    assert "" == draw_sparkline([])
