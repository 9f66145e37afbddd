"""What the documentation says of the command line."""

import re
import shlex
from pathlib import Path

from tests.cli.conftest import Here
from tests.cli.test_help import COMMANDS

from tasker.cli.exits import ExitCode
from tasker.cli.render.style import LOOKS

DOCS = Path(__file__).parents[2] / "docs"


def _blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _write_the_quickstart(tasker: Here) -> None:
    tasker.project.write("orders.py", _blocks("quickstart.md", "python")[0])
    tasker.project.write("fulfil_order.yaml", _blocks("quickstart.md", "yaml")[0])


def _run(tasker: Here, lines: list[str]) -> None:
    failed = {}
    for line in lines:
        ran = tasker(*shlex.split(line, comments=True)[1:])
        if ran.code != 0:
            failed[line] = ran
    assert {} == failed


def test_the_commands_of_the_page_run_in_order(tasker: Here) -> None:
    _write_the_quickstart(tasker)
    lines = [line for block in _blocks("cli.md", "sh") for line in block.splitlines()]

    assert len(lines) > 15
    _run(tasker, lines)


def test_the_commands_of_the_quickstart_run(tasker: Here) -> None:
    _write_the_quickstart(tasker)
    lines = (DOCS / "quickstart.md").read_text().splitlines()
    commands = [line.strip() for line in lines if line.startswith("    tasker ")]

    assert [] != commands
    _run(tasker, commands)


def test_the_graph_on_the_page_matches_the_output(tasker: Here) -> None:
    _write_the_quickstart(tasker)
    drawn = tasker("template", "draw", "fulfil_order.yaml").out

    assert _blocks("cli.md", "text")[0] in drawn


def test_every_command_exit_code_and_symbol_is_on_the_page() -> None:
    page = (DOCS / "cli.md").read_text()
    commands = [" ".join(("tasker", *path)) for path in COMMANDS]
    ends = [
        name for name in commands if not any(other.startswith(f"{name} ") for other in commands)
    ]

    assert [] == [name for name in ends if f"`{name}`" not in page]
    assert [] == [code for code in ExitCode if not re.search(rf"^\|.*\b{code.value}\b", page, re.M)]
    assert [] == [
        state for state, look in LOOKS.items() if f"`{look.symbol}` | {state}" not in page
    ]
