"""Help, completion, version, and how quickly the command line is there."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Here

from tasker.cli import COMMANDS as ENTRIES
from tasker.cli import load_command


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*path, name))


COMMANDS = [(), *(path for name in ENTRIES for path in _commands(load_command(name), (name,)))]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_text(tasker: Here, path: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        ran = tasker(*path, flag)
        assert 0 == ran.code
        assert f"tasker {' '.join(path)}".strip() in ran.out.replace("root", "tasker")


@pytest.mark.parametrize("path", COMMANDS[1:], ids=" ".join)
def test_every_option_and_argument_has_a_help_text(path: tuple[str, ...]) -> None:
    command = load_command(path[0])
    for name in path[1:]:
        command = command.commands[name]

    without = [one.name for one in command.params if not one.hidden and not one.help]

    assert [] == without


def test_a_mistyped_command_or_flag_exits_with_2_and_a_suggestion(tasker: Here) -> None:
    command, flag = tasker("tsk"), tasker("task", "list", "--limt", "3")

    assert (2, 2) == (command.code, flag.code)
    assert "Did you mean 'task'?" in command.err
    assert "--limit" in flag.err


def test_without_a_command_the_help_is_shown(tasker: Here) -> None:
    ran = tasker()

    assert "Commands" in ran.out + ran.err
    assert 2 == ran.code


def test_the_command_line_starts_without_optional_imports() -> None:
    heavy = [
        "asyncio",
        "rich",
        "pydantic",
        "yaml",
        "orjson",
        "asyncpg",
        "uvloop",
        "sqlite3",
        "jsonschema_rs",
    ]
    code = f"import sys, tasker.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


def test_the_list_of_commands_has_the_first_line_of_each_help_text() -> None:
    assert {name: entry.help for name, entry in ENTRIES.items()} == {
        name: load_command(name).get_short_help_str(200) for name in ENTRIES
    }


def test_garbage_is_collected_again_after_a_command_was_imported() -> None:
    load_command("version")

    assert gc.isenabled()


def test_the_version_can_be_printed_by_a_flag(tasker: Here) -> None:
    assert tasker("--version").out.strip() == tasker("version").out.splitlines()[0]


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError(name='fastapi')")
    done = subprocess.run(
        [sys.executable, "-m", "tasker", "server"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == done.returncode
    assert "pip install 'tasker-workflows[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_reported(tasker: Here) -> None:
    assert tasker("version").out.startswith("tasker ")
    assert {"tasker", "python"} <= set(tasker("version", "--json").document)


def _completed(tasker: Here, line: str) -> str:
    return tasker(
        environment={
            "_TASKER_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - 1),
        }
    ).out


def test_the_shell_completes_templates_tasks_and_statuses(tasker: Here) -> None:
    task = tasker.task()["id"]

    assert "shop.sell" in _completed(tasker, "tasker template show sh")
    assert task in _completed(tasker, f"tasker task show {task[:6]}")
    assert "cancelled" in _completed(tasker, "tasker task list --status ca")


def test_completion_creates_no_store_and_prints_no_errors(tasker: Here) -> None:
    assert "" == _completed(tasker, "tasker template show sh").strip()
    assert not (tasker.project.root / ".tasker").exists()
