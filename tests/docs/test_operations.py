"""The page on operations answers why a workflow was slow: its commands and its SQL run."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
from tests.docs.test_examples import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
SECTION = PAGE.partition("## Why was checkout slow\n")[2].partition("\n## ")[0]
COMMANDS = [
    line.partition("#")[0].strip() for line in re.findall(r"^    (tasker .*)$", SECTION, re.M)
]
(QUERY,) = re.findall(r"```sql\n(.*?)```", SECTION, re.DOTALL)

HANDLERS = """
import time
from tasker import RetryableError, SyncContext, handler

@handler("reserve")
def reserve() -> None: ...

@handler("charge")
def charge(ctx: SyncContext) -> None:
    time.sleep(0.2)
    if ctx.attempt == 1:
        raise RetryableError("bank: Service Unavailable", code="UNAVAILABLE", retry_after=0.01)
"""
TEMPLATE = """
name: checkout
namespace_name: shop
version: 1.0.0
steps:
  - name: reserve
  - name: charge
    dependencies: [reserve]
"""


def test_the_page_finds_the_step_that_made_checkout_slow(
    postgres_schema_url: str, tmp_path: Path
) -> None:
    """The commands run as printed against a store with a slow and a retried step."""
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "checkout.yaml").write_text(TEMPLATE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TASKER_STORE": postgres_schema_url}

    def run(command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    run("tasker db upgrade")
    run("tasker run shop.checkout --handlers handlers.py --templates checkout.yaml")
    outputs = {command: run(command) for command in COMMANDS}

    assert 5 == len(outputs)
    slow = next(text for command, text in outputs.items() if "analytics" in command)
    assert "charge" in slow and "UNAVAILABLE" in slow
    assert "charge" in next(text for command, text in outputs.items() if "--timeline" in command)
    (first, second) = asyncio.run(select(postgres_schema_url, QUERY))
    assert ("charge", 2, 1) == (first["step"], first["attempts"], first["repeated"])
    assert ("reserve", 1, 0) == (second["step"], second["attempts"], second["repeated"])
    assert first["ran"].total_seconds() > 0.4


async def select(url: str, query: str) -> list[asyncpg.Record]:
    """Run a query in the schema of a store's URL."""
    (schema,) = re.findall(r"schema=(\w+)", url)
    connection = await asyncpg.connect(re.sub(r"[?&]schema=\w+", "", url))
    try:
        return await connection.fetch(query.replace("tasker.", f"{schema}."))
    finally:
        await connection.close()
