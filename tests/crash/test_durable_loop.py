"""A loop of durable calls survives deaths between any two of its statements."""

import asyncio
import random
import signal
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.crash.durable_loop import ROUNDS

from tasker import LocalClient, TaskStatus, open_store
from tasker.model import AttemptOutcome
from tasker.testing.postgres import temporary_schema

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
MOST_DEATHS, LEAST_DEATHS = 12, 5
UNHARMED = 10**9  #: boundaries of the process that survives
STATEMENTS = {"sqlite": (250, 380), "postgres": (130, 190)}
"""Boundaries that a process passes before it dies; the loop takes over 2,000 and 1,000."""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_loop_of_sleeps_and_signals_survives_a_kill_between_any_two(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, seed: int
) -> None:
    """
    Each signal is received once and in order. An effect is repeated only if its attempt is lost
    between the effect and its record.
    """
    rng = random.Random(seed)
    url = f"sqlite:{tmp_path / 'loop.db'}"
    with ExitStack() as stack:
        if kind == "postgres":
            server = str(request.getfixturevalue("postgres_url"))
            url = await asyncio.to_thread(stack.enter_context, temporary_schema(server))
        await survive_deaths(url, tmp_path, rng, STATEMENTS[kind], seed)
        await asyncio.to_thread(stack.close)


async def survive_deaths(
    url: str, tmp_path: Path, rng: random.Random, statements: tuple[int, int], seed: int
) -> None:
    effects = tmp_path / "effects"
    deaths = 0

    while True:
        boundaries = rng.randint(*statements) if deaths < MOST_DEATHS else UNHARMED
        code = await run_victim(url, effects, boundaries)
        if code == 0:
            break
        assert -signal.SIGKILL == code
        deaths += 1

    async with open_store(url) as store:
        task = await LocalClient(store).create_task("crash.loop", idempotency_key="loop")
        calls = Counter(effects.read_text().split())
        assert TaskStatus.COMPLETE is task.status, f"TASKER_SEED={seed}, {deaths} deaths"
        assert [[number, number] for number in range(ROUNDS)] == task.result
        assert {str(number) for number in range(ROUNDS)} == set(calls)
        lost = [
            row for row in await store.list_attempts(task.id) if row.outcome is AttemptOutcome.LOST
        ]
        assert calls.total() <= ROUNDS + len(lost)
        [step] = await LocalClient(store).steps(task.id)
        assert step.lost_attempts + step.counted_attempts >= 1
        assert deaths >= LEAST_DEATHS, "the process died too rarely to prove anything"


async def run_victim(url: str, effects: Path, statements: int) -> int:
    """Run the process until it dies or its task is complete; return its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash.durable_loop", url, str(effects), str(statements)),
        cwd=ROOT,
    )
    async with asyncio.timeout(120):
        return await process.wait()
