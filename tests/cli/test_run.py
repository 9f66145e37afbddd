"""`tasker run` in a separate process."""

import os
import pty
import re
import signal
import subprocess

import pytest
from tests.cli.conftest import PATIENCE, TEMPLATE, Here, Project, command, words

ESCAPE = "\x1b"


def test_a_task_runs_to_its_end_with_a_summary(tasker: Here) -> None:
    ran = tasker.run()

    assert 0 == ran.code
    assert "charge failed" in ran.out
    assert "the bank is busy" in ran.out
    assert "complete  shop.sell@1.0.0  4/4 steps, 5 attempts" in ran.out
    assert "ship parcel shipped" in ran.out
    assert "tasker task show " in ran.out


def test_output_without_a_terminal_is_plain_lines(project: Project) -> None:
    ran = project.sell()

    assert 0 == ran.code
    assert "complete  shop.sell@1.0.0  4/4 steps, 5 attempts" in ran.out
    assert set() == {ESCAPE, "\r"} & set(ran.out + ran.err)
    assert "" == ran.err


def test_json_output_is_one_document_whatever_handlers_print(project: Project) -> None:
    """Progress and output of handlers go to stderr, including output that bypasses Python."""
    project.write("noisy.py", "import os\n\nos.write(1, b'written at import\\n')\n")
    ran = project.sell("--json", "--handlers", "noisy.py")

    assert 0 == ran.code
    assert ("shop.sell@1.0.0", "complete") == (ran.document["full_name"], ran.document["status"])
    assert ["reserve", "charge", "pack", "ship"] == [step["name"] for step in ran.document["steps"]]
    assert "parcel shipped" == ran.document["steps"][3]["result"]
    assert "printed by a handler" in ran.err
    assert "written at import" in ran.err


def test_a_failed_task_exits_with_1_and_prints_the_cause_and_the_next_command(tasker: Here) -> None:
    ran = tasker.run(context='{"sku": "mug", "broke": true}')

    assert 1 == ran.code
    assert "charge failed after 1 attempt: the card is expired" in ran.out
    assert "tasker task retry " in ran.out


def test_a_registered_template_is_found_by_name_and_range(tasker: Here) -> None:
    assert 0 == tasker.run().code

    ran = tasker(
        "run", "shop.sell@^1", "-H", "shop.py", "-c", '{"sku": "cup"}', "--json"
    )  # fmt: skip

    assert 0 == ran.code
    assert "1.0.0" == ran.document["version"]


def test_the_context_may_come_from_a_file_or_from_stdin(tasker: Here) -> None:
    tasker.project.write("context.json", '{"sku": "from a file"}')
    ran = tasker.run("--json", context="@context.json")
    piped = tasker.run("--json", context="@-", input='{"sku": "from stdin"}')

    assert "from a file" == ran.document["context"]["sku"]
    assert "from stdin" == piped.document["context"]["sku"]


def test_a_timeout_exits_with_4_and_the_same_key_continues_the_task(project: Project) -> None:
    project.write(
        "slow.py",
        """
        import asyncio
        import os

        from tasker import handler


        @handler("pack")
        async def pack(reserve: dict) -> str:
            if not os.environ.get("READY"):
                await asyncio.Event().wait()
            return "parcel"
        """,
    )
    project.write("rest.py", (project.root / "shop.py").read_text().replace("def pack", "def p"))
    arguments = (
        "run", "sell.yaml", "-H", "slow.py", "-H", "rest.py", "-c", '{"sku": "mug"}',
        "--idempotency-key", "order-7", "--json",
    )  # fmt: skip
    first = project.tasker(*arguments, "--timeout", "500ms")
    second = project.tasker(*arguments, "--timeout", "20s", READY="1")

    assert (4, "in_progress") == (first.code, first.document["status"])
    assert "did not end within 500 ms" in first.err
    assert (0, "complete") == (second.code, second.document["status"])
    assert first.document["id"] == second.document["id"]


def test_an_interrupt_leaves_the_task_in_the_store(project: Project) -> None:
    project.write(
        "hang.py",
        """
        import asyncio

        from tasker import Workflow

        flow = Workflow("shop.hang")


        @flow.step
        async def hang() -> None:
            print("hanging", flush=True)
            await asyncio.Event().wait()
        """,
    )
    with project.starting("run", "shop.hang", "-H", "hang.py") as process:
        process.until("hanging")
        process.send(signal.SIGINT)
        process.until("SIGINT received before the task ended")
        process.send(signal.SIGINT)  # the second one does not wait for the step
        code = process.end()
    shown = project.tasker("task", "show", "last", "--json")

    assert 130 == code
    assert "in_progress" == shown.document["status"]
    assert ["enqueued"] == [step["status"] for step in shown.document["steps"]]


def test_child_tasks_run_to_their_end_too(tasker: Here) -> None:
    tasker.project.write(
        "family.py",
        """
        from tasker import Context, Workflow

        parent = Workflow("family.parent")
        child = Workflow("family.child")


        @parent.step
        async def spawn(context: Context) -> str:
            return (await context.client.create_task("family.child")).id


        @child.step
        def work() -> str:
            return "done"
        """,
    )
    ran = tasker("run", "family.parent", "-H", "family.py")
    listed = tasker("task", "list", "--json")

    assert 0 == ran.code
    assert "work complete" in ran.out
    assert ["complete", "complete"] == [task["status"] for task in listed.document["tasks"]]


def test_a_changed_template_exits_with_5_unless_replacing_is_allowed(tasker: Here) -> None:
    assert 0 == tasker.run().code
    text = (tasker.project.root / "sell.yaml").read_text().replace("ship\n", "ship it\n", 1)
    tasker.project.write("sell.yaml", text)

    refused, replaced = tasker.run(), tasker.run("--replace")

    assert 5 == refused.code
    assert "already exists in namespace 'shop' with version 1.0.0" in refused.err
    assert "template shop.sell@1.0.0 differs in $.description: " in refused.err
    assert 0 == replaced.code


def test_an_unreachable_store_exits_with_3(tasker: Here) -> None:
    ran = tasker.run("--store", "postgresql://user:hidden@127.0.0.1:1/none")

    assert 3 == ran.code
    assert ran.err.startswith("error: the store cannot be reached")
    assert "hidden" not in ran.err
    assert "Traceback" not in ran.err


def test_an_unreachable_server_is_called_a_server(tasker: Here) -> None:
    listed = tasker("task", "list", "--server", "http://127.0.0.1:1")

    assert 3 == listed.code
    assert listed.err.startswith("error: the server http://127.0.0.1:1 cannot be reached: ")


@pytest.mark.parametrize("arguments", [("task", "list"), ("worker", "--handlers", "shop.py")])
def test_the_url_of_a_server_needs_a_scheme(tasker: Here, arguments: tuple[str, ...]) -> None:
    ran = tasker(*arguments, "--server", "localhost:8080")

    assert 2 == ran.code
    assert "http://" in ran.err
    assert "https://" in ran.err


def _on_a_terminal(project: Project, *arguments: str, **environment: str) -> str:
    """Run a command on a pseudo terminal; return all that it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        cwd=project.root,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        output += part
    os.close(ours)
    assert 0 == process.wait(PATIENCE)
    return output.decode()


def _colours(text: str) -> list[str]:
    codes = re.findall(r"\x1b\[([\d;]+)m", text)
    return [code for code in codes if any(30 <= int(part) <= 97 for part in code.split(";"))]


def test_progress_on_a_terminal_is_in_place_and_in_colour(project: Project) -> None:
    project.write("sell.yaml", TEMPLATE.replace("0.01", "0.4"))
    output = _on_a_terminal(
        project, "run", "sell.yaml", "-H", "shop.py", "-c", '{"sku": "mug"}'
    )  # fmt: skip

    assert f"{ESCAPE}[1A" in output  # the cursor goes up
    assert [] != _colours(output)
    assert "attempt 2" in output


def test_the_actor_is_recorded_as_the_creator_of_a_task(
    tasker: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tasker.run("--json", "--as", "ann").document
    monkeypatch.setenv("TASKER_ACTOR", "bob")
    default = tasker.run("--json").document

    assert ("ann", "bob") == (named["created_by"], default["created_by"])


def test_no_color_is_honoured_on_a_terminal(project: Project) -> None:
    output = _on_a_terminal(
        project, "run", "sell.yaml", "-H", "shop.py", "-c", '{"sku": "mug"}', NO_COLOR="1"
    )  # fmt: skip

    assert [] == _colours(output)
    assert "complete" in words(output)


FAILING = """
    from tasker import handler


    @handler
    def reserve(sku: str) -> str:
        return {}["nothing"]
"""


def test_an_exception_is_reported_once_with_its_position(project: Project) -> None:
    """
    The log records that repeat a line of progress are left out; -v shows them.
    """
    project.write("failing.py", FAILING)
    project.write("once.yaml", "name: once\nsteps: [{name: reserve, retry: {max_attempts: 1}}]\n")
    given = ("run", "once.yaml", "-H", "failing.py", "-c", '{"sku": "mug"}')
    ran, verbose = project.tasker(*given), project.tasker(*given, "-v")

    assert (1, "") == (ran.code, ran.err)
    assert "reserve failed after 1 attempt: KeyError: 'nothing' (at failing.py:6)" in ran.out
    assert "attempt_failed" in verbose.err


def test_the_json_of_a_failed_task_has_the_cause(tasker: Here) -> None:
    document = tasker.run("--json", context='{"sku": "mug", "broke": true}').document

    assert ("charge", "CARD_EXPIRED") == (document["failure"]["step"], document["failure"]["code"])


def test_no_command_is_suggested_for_a_store_in_memory(tasker: Here) -> None:
    ran = tasker.run("--store", "sqlite::memory:")

    assert 0 == ran.code
    assert "tasker task show" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("shop.py",), "shop.py is a Python file, not a template: pass the file with --handlers"),
        (("sell.yml",), "sell.yml: cannot be read: No such file or directory; did you mean"),
        (("sell.yaml",), """pass the inputs as --context '{"NAME": VALUE}'"""),
        (("sell.yaml", "-c", '{"skuu": 1}'), "$.sku: is required; 'skuu' may be a misspelling"),
        (("sell.yaml", "-c", '{"sku": "a"}', "--store", "k.db"), "write sqlite:k.db"),
    ],
)
def test_invalid_input_is_refused_with_the_allowed_values(
    tasker: Here, arguments: tuple[str, ...], error: str
) -> None:
    ran = tasker("run", *arguments, "-H", "shop.py")

    assert 2 == ran.code
    assert error in ran.err


def test_a_changed_template_is_refused_with_the_option_to_replace_it(tasker: Here) -> None:
    tasker.run()
    tasker.project.write("sell.yaml", TEMPLATE.replace("max_attempts: 3", "max_attempts: 4"))
    refused, replaced = tasker.run(), tasker.run("--replace")

    assert (5, 0) == (refused.code, replaced.code)
    assert "or replace this one during development (--replace on" in refused.err
