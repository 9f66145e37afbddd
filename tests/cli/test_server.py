"""`tasker server`: a real process, asked with curl's means and with the command line."""

import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.conftest import Here, Process, Project, words

SERVE = ("server", "--port", "0", "--with-worker", "-H", "shop.py", "-T", "sell.yaml")


def url_of(server: Process) -> str:
    """Wait until a server answers; return its URL."""
    match = re.search(r"url=(\S+)", server.until("server_started"))
    assert match is not None
    return match[1]


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    """Serve the project's store, with a worker."""
    with project.starting(*SERVE) as server:
        yield url_of(server)
        server.send(signal.SIGTERM)
        assert 0 == server.end()


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as response:
        return json.load(response)


def test_a_server_without_a_worker_lists_the_differences_of_templates(tasker: Here) -> None:
    assert 0 == tasker("template", "register", "sell.yaml").code
    source = (tasker.project.root / "sell.yaml").read_text()
    tasker.project.write("sell.yaml", source.replace("initial_delay: 0.01", "initial_delay: 2"))

    refused = tasker("server", "--port", "0", "-T", "sell.yaml")

    assert 5 == refused.code
    assert "differs in $.steps.charge.retry.initial_delay: 0.01 -> 2" in refused.err


def test_a_server_with_a_worker_runs_the_tasks_that_it_receives(url: str, tasker: Here) -> None:
    """The command line follows the task without access to the store."""
    made = post(f"{url}/v1/tasks", {"name": "shop.sell", "context": {"sku": "mug"}})
    ended = get(f"{url}/v1/tasks/{made['id']}/wait?timeout=60")

    assert "complete" == ended["status"]
    shown = tasker("task", "show", made["id"], "--server", url, "--json").document
    assert "complete" == shown["status"]
    listed = tasker("task", "list", "--store", url, "--json").document
    assert [made["id"]] == [task["id"] for task in listed["tasks"]]
    created = tasker(
        "task", "create", "shop.sell", "-c", '{"sku": "cup"}', "--json",
        environment={"TASKER_URL": url},
    )  # fmt: skip
    assert 0 == created.code, created.err


def test_a_server_accepts_the_name_of_the_operator_for_actions(url: str, tasker: Here) -> None:
    """The audit has both names; for templates only the caller's is accepted."""
    body = {"name": "shop.sell", "context": {"sku": "mug"}, "delay_seconds": 3600}
    task = post(f"{url}/v1/tasks", body)["id"]

    cancelled = tasker("task", "cancel", task, "--as", "ann", "--server", url)
    refused = tasker("template", "retire", "shop.sell@1.0.0", "--as", "ann", "--server", url)

    assert 0 == cancelled.code, cancelled.err
    assert "anonymous (as ann)" == get(f"{url}/v1/tasks/{task}/audit")[0]["actor"]
    assert 2 == refused.code
    assert "omit --as" in refused.err


def test_commands_that_need_a_store_refuse_a_server(url: str, tasker: Here) -> None:
    ran = tasker("key", "list", "--server", url)

    assert 2 == ran.code
    assert "needs the URL of a store" in ran.err


def test_an_unreachable_server_is_reported(tasker: Here) -> None:
    ran = tasker("task", "list", "--server", "http://127.0.0.1:9", "--json")

    assert 3 == ran.code
    assert "http://127.0.0.1:9" in ran.err


def test_a_server_listens_on_the_loopback_interface_by_default(project: Project) -> None:
    """Without authentication it needs `--insecure`."""
    refused = project.tasker("server", "--host", "0.0.0.0", "--port", "0")
    with project.starting("server", "--host", "0.0.0.0", "--port", "0", "--insecure") as server:
        assert url_of(server).startswith("http://0.0.0.0:")

    assert 2 == refused.code
    assert "without authentication" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-H", "shop.py"), "--handlers needs a worker"),
        (("--port", "70000"), "less than or equal to 65535"),
        (("--policies", "gone.yaml"), "gone.yaml: cannot be read"),
        (("--config", "gone.toml"), "gone.toml cannot be read"),
        (("--with-worker", "-H", "gone.py"), "gone.py"),
        (("--with-worker", "-T", "sell.yaml"), "a worker needs handlers: pass --handlers"),
        (("--store", "mysql://x"), "a store URL must start with"),
    ],
)
def test_errors_are_reported_at_the_start(
    tasker: Here, arguments: tuple[str, ...], message: str
) -> None:
    ran = tasker("server", "--port", "0", *arguments)

    assert 2 == ran.code
    assert message in words(ran.err)


def test_policies_are_applied_at_the_start(project: Project) -> None:
    """
    Templates are registered as well, if no worker does it; versions that need a review are pending.
    """
    project.write(
        "namespaces.yaml",
        """
        namespaces:
          shop:
            owner_team: retail
            requires_approval: true
            approvers: [ann@example.com]
        """,
    )
    with project.starting(
        "server", "--port", "0", "--policies", "namespaces.yaml", "-T", "sell.yaml"
    ) as server:
        url = url_of(server)
        shop = get(f"{url}/v1/namespaces/shop")

    assert ("retail", 1) == (shop["policy"]["owner_team"], shop["pending_review"])


def test_settings_are_read_from_the_file_and_the_environment(project: Project) -> None:
    """
    Logs are as they say, too; the command line has the last word.
    """
    project.write("tasker.toml", 'log_format = "json"\n[server]\nport = 1\nburst = 7\n')

    with project.starting("server", TASKER_SERVER__PORT="0") as server:
        started = json.loads(server.until("server_started"))
        shown = project.tasker("config", "show", "--json", TASKER_SERVER__PORT="2")

    assert started["url"].startswith("http://127.0.0.1:")
    assert (2, 7) == (shown.document["server"]["port"], shown.document["server"]["burst"])


def test_settings_are_shown_as_toml_without_secrets(tasker: Here) -> None:
    import tomllib

    ran = tasker("config", "show", environment={"TASKER_STORE": "postgresql://t:swordfish@db/t"})

    shown = tomllib.loads(ran.out)
    assert "swordfish" not in ran.out
    assert ("postgresql://t:********@db/t", 8080) == (shown["store"], shown["server"]["port"])


def test_a_second_signal_stops_the_server_immediately(project: Project) -> None:
    """A long step may be running."""
    project.write(
        "slow.py",
        """
        import asyncio
        from tasker import Workflow

        flow = Workflow("slow.sleep")

        @flow.step
        async def nap() -> None:
            print("napping", flush=True)
            await asyncio.sleep(600)
        """,
    )
    with project.starting("server", "--port", "0", "--with-worker", "-H", "slow.py") as server:
        post(f"{url_of(server)}/v1/tasks", {"name": "slow.sleep"})
        server.until("napping")
        server.send(signal.SIGINT)
        server.until("stopping")
        server.send(signal.SIGINT)

        assert 0 == server.end()


def test_a_worker_reads_the_settings_too(project: Project, tasker: Here, free_port: int) -> None:
    """Including the address of its metrics."""
    project.write(
        "tasker.toml",
        f"""
        store = "sqlite:other.db"

        [worker]
        handlers = ["shop.py"]
        templates = ["sell.yaml"]
        slots = 7
        metrics = "127.0.0.1:{free_port}"
        """,
    )
    with project.starting("worker") as worker:
        assert "slots=7" in worker.until("worker_started")
        store = ("--store", "sqlite:other.db")
        ran = tasker("task", "create", "shop.sell", "-c", '{"sku": "mug"}', *store)
        assert 0 == tasker("task", "show", "last", "--watch", *store).code
        url = f"http://127.0.0.1:{free_port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as response:
            metrics = response.read().decode()

    assert 0 == ran.code, ran.err
    assert (
        'tasker_tasks_ended_total{namespace="shop",status="complete",template="sell"} 1.0'
        in metrics
    )


def test_a_worker_without_handlers_is_refused(tasker: Here) -> None:
    ran = tasker("worker")

    assert 2 == ran.code
    assert "a worker needs handlers" in words(ran.err)
