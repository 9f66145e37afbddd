"""`tasker worker`: real processes, real signals."""

import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Here, Project, command
from tests.ports import two_reserved_ports

SLOW = """
    import asyncio
    import os
    import signal
    from pathlib import Path

    from tasker import Workflow

    flow = Workflow("slow.sleep")


    @flow.step
    async def nap(until: str) -> str:
        print("napping", flush=True)
        while not Path(until).exists():
            await asyncio.sleep(0.01)
        return "rested"
"""

HELD_UP = """
    import time

    from tasker import Workflow

    flow = Workflow("held.up")


    @flow.step
    async def sleep() -> None:
        time.sleep(3600)
"""


@pytest.fixture
def slow(project: Project) -> Project:
    project.write("slow.py", SLOW)
    return project


@pytest.fixture
def task(slow: Project, tasker: Here) -> None:
    """A task that naps until the morning."""
    assert 0 == tasker("template", "register", "--handlers", "slow.py").code
    assert 0 == tasker("task", "create", "slow.sleep", "-c", '{"until": "morning"}').code


def _states(project: Project) -> list[tuple[str, int]]:
    """Return (state, attempt) of all steps, from the file itself."""
    with closing(sqlite3.connect(project.root / ".tasker" / "tasker.db")) as connection:
        rows = connection.execute("select state, attempt from step order by task_id, no")
        names = ["pending", "enqueued", "in_progress", "waiting", "complete"]
        return [(names[state], attempt) for state, attempt in rows]


@pytest.mark.usefixtures("task")
def test_sigterm_lets_running_steps_finish(slow: Project) -> None:
    with slow.starting("worker", "-H", "slow.py") as worker:
        worker.until("napping")
        worker.send(signal.SIGTERM)
        worker.until("stopping")
        (slow.root / "morning").touch()
        code = worker.end()

    assert 0 == code
    assert "worker_stopped" in worker.output[-1]
    assert [("complete", 1)] == _states(slow)


@pytest.mark.usefixtures("task")
def test_a_second_signal_releases_running_steps_immediately(slow: Project) -> None:
    """
    Here the log is for programs: a JSON object per line.
    """
    flags = ("--grace", "1h", "--log-format", "json")
    with slow.starting("worker", "-H", "slow.py", *flags) as worker:
        started = worker.until("worker_started")
        worker.until("napping")
        worker.send(signal.SIGTERM)
        worker.until('"at_once":false')
        worker.send(signal.SIGINT)
        code = worker.end()

    assert 0 == code
    assert [("enqueued", 1)] == _states(slow)
    assert re.match(r'\{"at":".+","level":"info","logger":"tasker.worker"', started)


def test_a_second_signal_stops_a_worker_whose_loop_is_blocked(slow: Project, tasker: Here) -> None:
    """A blocked event loop prevents a graceful stop."""
    slow.write("held.py", HELD_UP)
    with slow.starting("worker", "-H", "held.py") as worker:
        worker.until("worker_started")
        assert 0 == tasker("task", "create", "held.up").code
        worker.until("loop_blocked")
        worker.send(signal.SIGTERM)
        code = worker.insist(signal.SIGTERM)  # one that follows at once is ignored

    assert -signal.SIGTERM == code


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_files_may_be_closed(project: Project, closed: str) -> None:
    line = shlex.join(command("run", "sell.yaml", "-H", "shop.py", "-c", '{"sku": "mug"}'))
    done = subprocess.run(["sh", "-c", f"exec {line} {closed}"], cwd=project.root, check=False)

    assert 0 == done.returncode


def test_several_processes_are_supervised_and_stop_together(slow: Project) -> None:
    """A killed process is restarted; the signal reaches all processes."""
    with slow.starting("worker", "-H", "slow.py", "--processes", "2") as supervisor:
        pids = [_pid(supervisor.until("worker_process_started")) for _ in range(2)]
        supervisor.until("worker_started")
        os.kill(pids[1], signal.SIGKILL)
        died = supervisor.until("worker_process_died")
        _pid(supervisor.until("worker_process_started"))
        supervisor.until("worker_started")
        supervisor.send(signal.SIGTERM)
        code = supervisor.end()

    assert f"pid={pids[1]} exit_code=-9" in died
    assert 0 == code
    assert 2 == sum("worker_stopped" in line for line in supervisor.output)
    assert "supervisor_stopped" in supervisor.output[-1]


def test_processes_end_when_their_supervisor_is_killed(slow: Project) -> None:
    with slow.starting("worker", "-H", "slow.py", "--processes", "2") as supervisor:
        for _ in range(2):
            supervisor.until(" worker_started")
        supervisor.send(signal.SIGKILL)
        for _ in range(2):
            supervisor.until("worker_stopped")

    assert 2 == sum("supervisor_gone" in line for line in supervisor.output)


def test_several_processes_report_an_error_once(project: Project) -> None:
    ran = project.tasker("worker", "-H", "nosuch.py", "-p", "3")

    assert 2 == ran.code
    assert 1 == ran.err.count("error: nosuch.py does not exist")


def test_a_step_without_a_handler_is_left_to_other_workers_with_a_warning(project: Project) -> None:
    source = (project.root / "shop.py").read_text()
    project.write("part.py", source.replace("def ship", "def shipp"))
    with project.starting("worker", "-H", "part.py", "-T", "sell.yaml") as worker:
        warning = worker.until("step_without_handler")
        worker.until("worker_started")
        created = project.tasker("task", "create", "shop.sell", "-c", '{"sku": "mug"}')
        assert 0 == created.code, created.err
        for ended in range(60):
            steps = project.tasker("task", "show", "last", "--json").document["steps"]
            statuses = {step["name"]: step["status"] for step in steps}
            if statuses["charge"] == statuses["pack"] == "complete":
                break
            assert ended < 59, statuses
        done = project.tasker("task", "complete", "last", "ship", "--result", '"by hand"')
        worker.send(signal.SIGTERM)
        assert 0 == worker.end()

    assert "step=ship" in warning
    assert "did you mean 'shipp'?" in warning
    assert "complete  shop.sell@1.0.0" in done.out


def test_a_broken_file_in_a_folder_does_not_affect_other_templates(project: Project) -> None:
    (project.root / "shared").mkdir()
    (project.root / "sell.yaml").rename(project.root / "shared" / "sell.yaml")
    project.write("shared/broken.yaml", "name: x\nsteps: 7\n")
    with project.starting("worker", "-H", "shop.py", "-T", "shared") as worker:
        skipped = worker.until("template_file_skipped")
        worker.until("worker_started")
        listed = project.tasker("template", "list", "--json").document["templates"]
        worker.send(signal.SIGTERM)
        assert 0 == worker.end()

    assert "ERROR" in skipped
    assert "shared/broken.yaml:2" in skipped
    assert ["sell"] == [template["name"] for template in listed]


def test_a_broken_file_that_is_named_prevents_the_start(tasker: Here) -> None:
    tasker.project.write("broken.yaml", "name: x\nsteps: 7\n")
    ran = tasker("worker", "-H", "shop.py", "-T", "broken.yaml")

    assert 2 == ran.code
    assert "broken.yaml:2" in ran.err


def _pid(line: str) -> int:
    match = re.search(r"pid=(\d+)", line)
    assert match is not None
    return int(match[1])


def test_each_process_serves_its_metrics_at_a_port_of_its_own(slow: Project) -> None:
    with (
        two_reserved_ports() as port,
        slow.starting(
            "worker", "-H", "slow.py", "--processes", "2", "--metrics", f"127.0.0.1:{port}"
        ) as worker,
    ):
        for _ in range(2):
            worker.until("worker_started")
        for own in (port, port + 1):
            with urllib.request.urlopen(f"http://127.0.0.1:{own}/metrics", timeout=60) as response:
                assert "tasker_" in response.read().decode()
        worker.send(signal.SIGTERM)
        assert 0 == worker.end()


def test_a_process_with_invalid_settings_ends_the_others(slow: Project) -> None:
    """Starting it again would not help: the second port is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] - 1
        flags = ("--processes", "2", "--metrics", f"127.0.0.1:{port}")
        with slow.starting("worker", "-H", "slow.py", *flags) as worker:
            assert 2 == worker.end()


PLAIN = """
    from tasker import handler


    @handler
    def pack() -> str:
        print("packing", flush=True)
        return "packed"
"""


def test_handlers_without_a_namespace_are_refused_with_instructions(
    project: Project, tasker: Here
) -> None:
    project.write("plain.py", PLAIN)
    refused = tasker("worker", "-H", "plain.py")

    assert 2 == refused.code
    assert "not bound to any namespace" in refused.err
    assert "--namespace payments" in " ".join(refused.err.split())


@pytest.mark.parametrize("flags", [("-H", "plain.py", "-n", "shop"), ("-H", "shop=plain.py")])
def test_handlers_are_bound_on_the_command_line(
    project: Project, tasker: Here, flags: tuple[str, ...]
) -> None:
    project.write("plain.py", PLAIN)
    project.write("t.yaml", "name: send\nnamespace_name: shop\nsteps: [{name: pack}]\n")
    assert 0 == tasker("template", "register", "t.yaml").code
    assert 0 == tasker("task", "create", "shop.send").code
    assert "no live worker has handler 'pack'" in tasker("task", "show", "last").out

    with project.starting("worker", *flags) as worker:
        worker.until("packing")
        worker.send(signal.SIGTERM)
        assert 0 == worker.end()
    assert [("complete", 1)] == _states(project)


def test_the_worker_of_the_readme_starts_without_warnings(project: Project) -> None:
    root = Path(__file__).parents[2]
    lines = (root / "README.md").read_text().splitlines()
    (command,) = [line for line in lines if line.strip().startswith("tasker worker ")]
    arguments = shlex.split(command.replace("examples/", f"{root}/examples/").rstrip(" &"))[1:]

    with project.starting(*arguments) as worker:
        worker.until("worker_started")
        worker.send(signal.SIGTERM)
        assert 0 == worker.end()
    assert [] == [line for line in worker.output if "WARNING" in line]


def test_a_label_without_a_value_is_refused(project: Project, tasker: Here) -> None:
    project.write("plain.py", PLAIN)
    refused = tasker("worker", "-H", "plain.py", "-n", "shop", "--label", "gpu")
    assert 2 == refused.code
    assert "gpu=true" in refused.err
