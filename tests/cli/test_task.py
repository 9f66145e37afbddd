"""`tasker task ...`"""

import json
from datetime import datetime
from pathlib import Path

import pytest
from tests.cli.conftest import Here, Ran, words


@pytest.fixture
def failed(tasker: Here) -> str:
    """The id of a task whose charge failed permanently."""
    return str(tasker.task('{"sku": "mug", "broke": true}')["id"])


@pytest.fixture
def done(tasker: Here) -> str:
    """The id of a task that is complete."""
    return str(tasker.task()["id"])


def _steps(tasker: Here, task: str) -> dict[str, str]:
    shown = tasker("task", "show", task, "--json").document
    return {step["name"]: step["status"] for step in shown["steps"]}


def test_a_list_is_a_table_with_the_newest_first(tasker: Here, done: str, failed: str) -> None:
    lines = tasker("task", "list").out.splitlines()

    assert ["id", "template", "status", "steps", "created", "took", "error"] == lines[0].split()
    assert [failed, done] == [line.split()[0] for line in lines[1:]]
    assert "✗ error" in lines[1]
    assert "2/4" in lines[1]
    assert lines[1].endswith("step 'charge' failed: the card is expired")
    assert "✓ complete" in lines[2]


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        (["--status", "error"], 1),
        (["--namespace", "shop"], 2),
        (["--namespace", "other"], 0),
        (["--template", "shop.sell"], 2),
        (["--template", "sell@1.0.0"], 2),
        (["--template", "shop.sell@2.0.0"], 0),
        (["--tag", "gift"], 1),
        (["--since", "1h"], 2),
        (["--since", "2100-01-01"], 0),
        (["--until", "1h"], 0),
        (["--created-by", "nobody"], 0),
        (["--idempotency-key", "order-7"], 1),
        (["--failed-step", "charge"], 1),
        (["--failed-step", "ship"], 0),
        (["--error-code", "CARD_EXPIRED", "--failed-step", "charge"], 1),
        (["--error-code", "CARD"], 0),
        (["--parent", "last"], 0),
        (["--limit", "1"], 1),
    ],
)
def test_a_list_is_filtered(tasker: Here, failed: str, flags: list[str], count: int) -> None:
    gift = tasker.run("--json", "--tag", "gift", "--idempotency-key", "order-7").document
    assert failed != gift["id"]

    assert count == len(tasker("task", "list", "--json", *flags).document["tasks"])


def test_a_list_shows_titles_and_is_filtered_by_attributes(tasker: Here) -> None:
    text = Path("sell.yaml").read_text()
    Path("titled.yaml").write_text(
        text.replace("name: sell", "name: sell_more", 1)
        + '\ntitle: "Sell a {input.sku}"\nattributes: {sku: input.sku}\n'
    )
    for sku in ("cup", "mug"):
        tasker("task", "create", "titled.yaml", "-c", json.dumps({"sku": sku}))

    listed = tasker("task", "list", "--attribute", "sku=mug").out
    shown = tasker("task", "show", "last").out
    wrong = tasker("task", "list", "--attribute", "sku")

    assert "Sell a mug" in listed
    assert "Sell a cup" not in listed
    assert "Sell a mug" in shown
    assert "sku=mug" in shown
    assert (2, True) == (wrong.code, "expected NAME=VALUE" in words(wrong.err))


def test_the_next_page_starts_after_the_last_id(tasker: Here) -> None:
    ids = [tasker.task()["id"] for _ in range(3)][::-1]

    first = tasker("task", "list", "--limit", "2", "--json").document
    second = tasker("task", "list", "--limit", "2", "--after", first["next"], "--json").document

    assert ids[:2] == [task["id"] for task in first["tasks"]]
    assert (ids[2:], None) == ([task["id"] for task in second["tasks"]], second["next"])
    assert f"more: --after {ids[1]}" in tasker("task", "list", "--limit", "2").err


def test_an_empty_list_says_so_on_stderr(tasker: Here, done: str) -> None:
    ran = tasker("task", "list", "--status", "cancelled")

    assert (0, "", "no tasks match\n") == ran


def test_an_empty_list_names_an_unknown_template(tasker: Here, done: str) -> None:
    ran = tasker("task", "list", "--template", "shop.sel")
    counted = tasker("task", "count", "--template", "shop.sel")
    known = tasker("task", "list", "--template", "shop.sell", "--status", "cancelled")

    assert "no tasks match: template shop.sel not found; did you mean 'shop.sell'?" == words(
        ran.err
    )
    assert words(ran.err) == words(counted.err)
    assert (0, 0) == (ran.code, counted.code)
    assert "no tasks match\n" == known.err


def test_an_unknown_status_is_refused_with_the_allowed_ones(tasker: Here) -> None:
    ran = tasker("task", "list", "--status", "complet")

    assert 2 == ran.code
    assert "Invalid value for '--status' / '-s': 'complet' is not a task status" in words(ran.err)
    assert "did you mean 'complete'?" in words(ran.err)


def test_a_task_is_shown_with_graph_attempts_and_errors(tasker: Here, failed: str) -> None:
    shown = tasker("task", "show", failed).out

    assert "✗ error  shop.sell@1.0.0" in shown
    assert 'context  {"sku":"mug","broke":true}' in shown
    lines = shown.splitlines()
    start = next(at for at, line in enumerate(lines) if line.split()[:2] == ["step", "status"])
    assert ["✓    reserve  complete", "├─╮", "✗ │  charge   error", "│ ✓  pack     complete"] == [
        line[:22].rstrip() for line in lines[start + 1 : start + 5]
    ]
    assert "the card is expired" in shown
    assert "Attempts" in shown
    assert [] == [line for line in lines if line != line.rstrip()]


def test_a_task_is_shown_in_full_on_request(tasker: Here, failed: str) -> None:
    shown = tasker("task", "show", failed, "--full").out

    assert "charge: error" in shown
    assert '"code": "CARD_EXPIRED"' in shown
    assert '"reservation": "r-mug"' in shown


def test_a_task_as_json_has_all_its_details(tasker: Here, failed: str) -> None:
    shown = tasker("task", "show", failed, "--json").document

    assert ("error", "shop", "sell", "1.0.0") == (
        shown["status"], shown["namespace"], shown["name"], shown["version"],
    )  # fmt: skip
    assert 1 == shown["counts"]["error"]
    assert ["complete", "complete", "error"] == sorted(
        attempt["outcome"] for attempt in shown["attempts"]
    )
    assert [] == shown["audit"]
    assert datetime.fromisoformat(shown["created_at"]).tzinfo is not None


def test_a_task_is_given_by_id_unique_prefix_or_last(tasker: Here, done: str) -> None:
    for reference in (done, done[:20], done.upper(), done.replace("-", "")[:30], "last"):
        assert done == tasker("task", "show", reference, "--json").document["id"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("01900000-0000-7000-8000-000000000000", "8000-000000000000 not found"),
        ("0190", "no task id starts with '0190'"),
        ("../x", "no task matches '../x'"),
    ],
)
def test_a_reference_that_matches_no_task_exits_with_2(
    tasker: Here, done: str, reference: str, message: str
) -> None:
    ran = tasker("task", "show", reference)

    assert (2, "") == ran[:2]
    assert message in ran.err


def test_an_ambiguous_prefix_is_refused(tasker: Here, done: str, failed: str) -> None:
    ran = tasker("task", "show", done[:4])

    assert 2 == ran.code
    assert "several task ids start with" in ran.err


def test_watching_an_ended_task_exits_with_its_outcome(
    tasker: Here, done: str, failed: str
) -> None:
    assert 0 == tasker("task", "show", done, "--watch").code
    ran = tasker("task", "show", failed, "--watch")

    assert 1 == ran.code
    assert "charge error (attempt 1): the card is expired" in ran.out


def _acted(ran: Ran) -> str:
    assert 0 == ran.code, ran.err
    return str(ran.document["status"])


def test_logs_are_shown_and_searched(tasker: Here, done: str) -> None:
    [printed] = tasker("task", "logs", "last", "--follow").out.splitlines()
    [record] = tasker("task", "logs", done, "--step", "reserve", "--json").document

    assert printed.endswith("reserve#1  printed by a handler")
    assert ("stdout", "info") == (record["source"], record["level"])
    assert "" == tasker("task", "logs", done, "--text", "absent").out
    assert 2 == tasker("task", "logs", done, "--level", "loud").code


def test_a_retried_task_is_open_again(tasker: Here, failed: str) -> None:
    ran = tasker("task", "retry", failed, "--step", "charge", "--reason", "new card", "--json")

    assert "in_progress" == _acted(ran)
    assert "enqueued" == _steps(tasker, failed)["charge"]
    assert "retry" in tasker("task", "show", failed).out
    assert "new card" in tasker("task", "show", failed).out


def test_a_step_is_resolved_with_a_result(tasker: Here, failed: str) -> None:
    result = '{"receipt": 9}'
    ran = tasker("task", "resolve", failed, "charge", "--result", result, "-r", "paid in cash")
    shown = tasker("task", "show", failed, "--json").document

    assert 0 == ran.code
    assert ("resolved_manually", {"receipt": 9}) == (
        shown["steps"][1]["status"], shown["steps"][1]["result"],
    )  # fmt: skip
    assert "enqueued" == shown["steps"][3]["status"]
    assert ["paid in cash"] == [entry["reason"] for entry in shown["audit"]]


def test_a_whole_task_is_resolved(tasker: Here, failed: str) -> None:
    assert "resolved_manually" == _acted(tasker("task", "resolve", failed, "--json"))

    ran = tasker("task", "resolve", failed, "--result", "1")
    assert 2 == ran.code
    assert "name the step" in words(ran.err)


def test_a_step_is_completed_with_a_result(tasker: Here, failed: str) -> None:
    ran = tasker("task", "complete", failed, "charge", "--result", "7", "--json")

    assert "in_progress" == _acted(ran)
    assert "complete" == _steps(tasker, failed)["charge"]


def test_a_step_is_skipped(tasker: Here, failed: str) -> None:
    ran = tasker("task", "skip", failed, "charge", "--as", "ann", "--reason", "a gift", "--json")

    assert (0, "in_progress") == (ran.code, ran.document["status"])
    assert "resolved_manually" == _steps(tasker, failed)["charge"]
    [entry] = tasker("task", "show", failed, "--json").document["audit"]
    assert ("skip", "ann", "a gift") == (entry["action"], entry["actor"], entry["reason"])


def test_an_unknown_step_is_reported_with_the_existing_ones(tasker: Here, failed: str) -> None:
    ran = tasker("task", "complete", failed, "chrge", "--result", "7")

    assert 2 == ran.code
    assert "shop.sell@1.0.0 has no step 'chrge'; did you mean 'charge'? It has " in ran.err


def test_only_an_open_task_can_be_cancelled(tasker: Here, done: str) -> None:
    created = tasker("task", "create", "shop.sell", "-c", '{"sku": "cup"}').out.strip()

    assert "cancelled" == _acted(tasker("task", "cancel", created, "-r", "wrong cup", "--json"))
    ran = tasker("task", "cancel", done)
    assert 5 == ran.code
    assert f"cannot cancel task {done}: it is complete" in ran.err


def test_a_task_is_created_for_workers(tasker: Here) -> None:
    """
    From a file, which is registered, or by name; the id alone is on stdout.
    """
    first = tasker("task", "create", "sell.yaml", "-c", '{"sku": "cup"}', "--tag", "gift")
    flags = ["--idempotency-key", "k", "--delay", "1h", "--deadline", "1d", "--json"]
    second = tasker("task", "create", "sell@1.0.0", "-n", "shop", "-c", '{"sku": "cup"}', *flags)
    again = tasker("task", "create", "shop.sell", "-c", '{"sku": "cup"}', *flags)

    task = tasker("task", "show", first.out.strip(), "--json").document
    assert ("pending", ["gift"]) == (task["status"], task["tags"])
    assert (True, False) == (second.document["created"], again.document["created"])
    assert second.document["id"] == again.document["id"]
    later = tasker("task", "show", second.document["id"]).out
    assert "starts in 59 min" in later or "starts in 1 h" in later
    assert "deadline" in later


def test_a_taken_key_is_rejected_or_its_task_replaced(tasker: Here) -> None:
    """
    A rejection is exit 5; the replaced task is cancelled.
    """
    create = ["task", "create", "sell.yaml", "-c", '{"sku": "cup"}', "--idempotency-key", "k"]
    first = tasker(*create).out.strip()

    rejected = tasker(*create, "--if-exists", "reject")
    second = tasker(*create, "--if-exists", "replace", "--unique-while", "open").out.strip()
    without_key = tasker("task", "create", "sell.yaml", "--if-exists", "reject")

    assert (5, True) == (rejected.code, f"belongs to task {first}" in rejected.err)
    assert "cancelled" == tasker("task", "show", first, "--json").document["status"]
    assert "pending" == tasker("task", "show", second, "--json").document["status"]
    assert (2, True) == (without_key.code, "needs an idempotency_key" in without_key.err)
    assert "context is not valid" not in words(without_key.err)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("{]", "not valid JSON"),
        ("[1]", "the context must be a JSON object"),
        ("@nosuch.json", "cannot read nosuch.json: No such file"),
        ('{"quantity": 0, "sku": 5}', "the context is not valid for shop.sell"),
        (json.dumps({"sku": "x" * 2_000_000}), "the limit is"),
    ],
    ids=["broken", "array", "absent", "unfit", "huge"],
)
def test_an_invalid_context_exits_with_2_and_stores_nothing(
    tasker: Here, context: str, message: str
) -> None:
    tasker.task()
    ran = tasker("task", "create", "shop.sell", "-c", context)

    assert 2 == ran.code
    assert message in words(ran.err)
    assert 1 == len(tasker("task", "list", "--json").document["tasks"])


def test_json_errors_show_the_position(tasker: Here) -> None:
    ran = tasker("task", "create", "shop.sell", "-c", '{"sku": mug}')

    assert "Invalid value for '--context' / '-c'" in words(ran.err)
    lines = [line.strip("│ ") for line in ran.err.splitlines()]
    assert '{"sku": mug}' in lines
    assert "^" in lines


def test_reading_commands_create_no_store(tasker: Here) -> None:
    ran = tasker("task", "list")

    assert (3, "") == ran[:2]
    assert "no store at .tasker/tasker.db" in ran.err
    assert not (tasker.project.root / ".tasker").exists()


def test_control_codes_in_tasks_do_not_reach_the_terminal(tasker: Here) -> None:
    escape = "\x1b[31m"
    flags = ["--reason", f"red {escape}", "--tag", f"tag {escape}", "--correlation-id", escape]
    created = tasker(
        "task", "create", "sell.yaml", "-c", json.dumps({"sku": escape}), *flags
    ).out.strip()  # fmt: skip

    output = tasker("task", "show", created).out + tasker("task", "list").out
    assert "\x1b" not in output
    assert "red �[31m" in output


def test_failed_tasks_are_retried_by_filter_after_a_dry_run(tasker: Here, failed: str) -> None:
    dry = tasker("task", "retry", "--error-code", "CARD_EXPIRED", "--dry-run")
    none = tasker("task", "retry", "--error-code", "OTHER", "--dry-run")
    retried = tasker(
        "task", "retry", "--template", "sell", "--since", "1h", "--as", "ann", "--json"
    )
    again = tasker("task", "retry", "--template", "shop.sell")

    assert (0, "would retry 1 task") == (dry.code, dry.out.splitlines()[-1])
    assert (0, "would retry 0 tasks") == (none.code, none.out.splitlines()[-1])
    assert ("complete", 1, {}) == tuple(
        retried.document[key] for key in ("status", "changed", "rejected")
    )
    assert "retried 0 tasks of 0" == again.out.strip()
    assert "ann" == tasker("task", "show", failed, "--json").document["audit"][0]["actor"]


def test_open_tasks_are_cancelled_by_filter(tasker: Here, done: str) -> None:
    tasker("task", "create", "shop.sell", "-c", '{"sku": "mug"}', "--tag", "old")
    cancelled = tasker("task", "cancel", "--tag", "old")

    assert (0, "cancelled 1 task of 1") == (cancelled.code, cancelled.out.strip())
    assert "complete" == tasker("task", "show", done, "--json").document["status"]


def test_an_operation_on_many_tasks_is_listed_watched_and_stopped(
    tasker: Here, failed: str
) -> None:
    """Once detached, it is carried on by whoever watches it."""
    for tag in ("old", "older"):
        tasker("task", "create", "shop.sell", "-c", '{"sku": "mug"}', "--tag", tag)
    cancel = ["task", "cancel", "--detach", "--per-second", "5", "--reason", "wrong", "--json"]
    old, older = (tasker(*cancel, "--tag", tag).document["id"] for tag in ("old", "older"))

    stopped = tasker("bulk", "stop", older)
    again = tasker("bulk", "stop", older)
    watched = tasker("bulk", "watch", old)
    listed = tasker("bulk", "list", "--json").document["operations"]

    assert (0, 5) == (stopped.code, again.code)
    assert stopped.out.strip().startswith("cancelled 0 tasks of 1; stopped by ")
    assert (0, "cancelled 1 task of 1") == (watched.code, watched.out.strip())
    assert [(older, "stopped", 0), (old, "complete", 1)] == [
        (one["id"], one["status"], one["changed"]) for one in listed
    ]
    assert f"{old}  cancel" in tasker("bulk", "list").out
    assert watched.out == tasker("bulk", "show", old).out


@pytest.mark.parametrize("verb", ["retry", "cancel"])
def test_an_action_without_id_and_filter_is_refused(tasker: Here, done: str, verb: str) -> None:
    assert 2 == tasker("task", verb).code
    assert 2 == tasker("task", verb, done, "--tag", "x").code


def test_a_failed_task_shows_the_failed_step_and_its_cause_first(tasker: Here, failed: str) -> None:
    shown = tasker("task", "show", failed).out

    assert "step 'charge' failed: the card is expired (CARD_EXPIRED)" in shown


def test_the_timeline_separates_queued_running_and_backoff(tasker: Here, done: str) -> None:
    shown = tasker("task", "show", done, "--timeline")
    timeline = tasker("task", "show", done, "--timeline", "--json").document["timeline"]
    charge = next(step for step in timeline["steps"] if step["step"] == "charge")

    assert ["step", "started", "after", "queued", "ran", "backoff", "parked"] in [
        line.split() for line in shown.out.splitlines()
    ]
    starts = [step["started_after"] for step in timeline["steps"]]
    assert sorted(starts) == starts
    assert 0.009 <= charge["backoff"] < 5  # 0.01 s, spread by a tenth
    assert 0 == charge["parked"]
    assert timeline["task"]["backoff"] <= charge["backoff"]  # `pack` may run meanwhile


def test_an_unquoted_word_as_json_is_refused_with_the_quoted_form(
    tasker: Here, failed: str
) -> None:
    ran = tasker("task", "complete", failed, "charge", "--result", "yes")

    assert 2 == ran.code
    assert """to pass a string, write '"yes"'""" in words(ran.err)


def test_a_step_that_no_worker_can_run_shows_what_workers_lack(tasker: Here) -> None:
    tasker("template", "register", "sell.yaml")
    created = tasker("task", "create", "shop.sell", "-c", '{"sku": "mug"}', "--json").document
    shown = tasker("task", "show", created["id"])

    assert "no live worker has handler 'reserve'" in words(shown.out)


def test_an_action_with_an_outdated_etag_is_refused(tasker: Here, failed: str) -> None:
    """The ETag of `show --json` is accepted; filters accept none."""
    etag = tasker("task", "show", failed, "--json").document["etag"]
    tasker("task", "retry", failed)

    old = tasker("task", "cancel", failed, "--if-match", etag)
    step = tasker("task", "complete", failed, "charge", "--result", "1", "--if-match", etag)
    now = tasker("task", "show", failed, "--json").document["etag"]
    current = tasker("task", "cancel", failed, "--if-match", now)
    many = tasker("task", "retry", "--template", "sell", "--if-match", now)

    assert (5, 5, 0, 2) == (old.code, step.code, current.code, many.code)
    assert "changed since it was read" in words(old.err)
    assert "allowed only for a single task: give its ID" in words(many.err)
