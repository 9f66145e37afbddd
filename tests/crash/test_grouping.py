"""A process whose workers claim and settle in groups dies at each boundary to its database."""

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from tests.crash.fleet import prove
from tests.crash.grouping import create
from tests.crash.worker import SETTINGS, handlers
from tests.waiting import eventually

from tasker import LocalClient, Worker, open_store
from tasker.testing.postgres import temporary_schema

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run() -> Iterator[Callable[..., int]]:
    """Return a function that runs `tests.crash.grouping` and returns its exit code."""
    command = [sys.executable, "-m", "tests.crash.grouping"]
    with Popen(command, stdin=PIPE, stdout=PIPE, cwd=ROOT, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        requests, codes = process.stdin, process.stdout

        def run(*arguments: str | int) -> int:
            print(json.dumps(arguments), file=requests, flush=True)
            return int(codes.readline())

        yield run


async def survive(url: str, effects: Path) -> None:
    """Let the leases of dead workers end, do what they left, and compare it with the effects."""
    async with open_store(url) as store:
        _, tasks = await create(LocalClient(store))
        for dead in await store.list_workers():
            await store.retire_worker(dead.id)

        async def all_ended() -> bool:
            return all([(await store.get_task(task.id)).has_ended for task in tasks])

        async with Worker(store, [handlers(effects)], namespaces="*", settings=SETTINGS):
            await eventually(all_ended)
        await prove(store, tasks, effects)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_groups_survive_a_kill_at_any_boundary_to_the_database(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    seed: int,
    run: Callable[..., int],
) -> None:
    """The tasks complete, and no attempt is used twice."""
    rng = random.Random(seed)

    async def attempt(folder: Path, *death: str | int) -> int:
        folder.mkdir()  # noqa: ASYNC240 - once, before anything runs
        effects = folder / "effects"
        with ExitStack() as stack:
            url = f"sqlite:{folder / 'crash.db'}"
            if kind == "postgres":
                server = str(request.getfixturevalue("postgres_url"))
                url = await asyncio.to_thread(stack.enter_context, temporary_schema(server))
            async with open_store(url, upgrade=True) as store:
                await create(LocalClient(store))
            code = await asyncio.to_thread(
                run, url, str(effects), str(folder / "boundaries"), *death
            )
            await survive(url, effects)
            await asyncio.to_thread(stack.close)
        return code

    assert 0 == await attempt(tmp_path / "whole")
    lines = (tmp_path / "whole" / "boundaries").read_text().splitlines()
    passed = Counter(lines)
    assert len(passed) > 3

    for no, (at, times) in enumerate(sorted(passed.items())):
        occurrence = rng.randint(1, times)
        code = await attempt(tmp_path / f"{no}", at, occurrence)
        assert code == -signal.SIGKILL, f"{at}, occurrence {occurrence}, TASKER_SEED={seed}"
