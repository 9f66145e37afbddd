"""Both stores keep every law of the suite.

SQLite runs in memory. What several store objects see of each other runs on a file as well, since a
file is also watched for the commits of others; what concerns the file itself runs on a file alone.
"""

import asyncio
import shutil
from pathlib import Path

import pytest

from tasker.store.open import make_store
from tasker.store.postgres import claim_cursor
from tasker.testing.store_suite import *  # noqa: F403
from tasker.testing.store_suite import PostgresUnderTest, SqliteUnderTest, StoreUnderTest

ON_FILE = {"TestCallersTransaction", "TestFence", "TestLeases", "TestSchema", "TestValues"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a law on PostgreSQL and on SQLite, in memory, on a file or both."""
    if metafunc.cls and "subject" in metafunc.fixturenames:
        of_file = metafunc.cls.__name__ in ON_FILE
        kinds = ["postgres"] if of_file else ["sqlite-memory", "postgres"]
        if of_file or "stores" in metafunc.fixturenames:
            kinds.insert(-1, "sqlite-file")
        metafunc.parametrize("subject", kinds, indirect=True)


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with an empty store, to be copied."""
    path = tmp_path_factory.mktemp("suite") / "empty.db"

    async def upgrade() -> None:
        async with make_store(f"sqlite:{path}") as store:
            await store.upgrade_schema()

    asyncio.run(upgrade())
    return path


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> StoreUnderTest:
    """An empty database of each kind, without tables where the laws are about them."""
    bare = request.cls.__name__ == "TestSchema"
    match request.param:
        case "sqlite-memory":
            return SqliteUnderTest("sqlite::memory:")
        case "sqlite-file":
            path = request.getfixturevalue("tmp_path") / "suite.db"
            if not bare:
                shutil.copy(request.getfixturevalue("sqlite_file"), path)
            return SqliteUnderTest(f"sqlite:{path}")
    patch = request.getfixturevalue("monkeypatch")
    patch.setattr(claim_cursor, "RESTART_AFTER", 0.0)
    patch.setattr(claim_cursor, "RESTART_COST", 0.0)
    if bare:
        return PostgresUnderTest(request.getfixturevalue("postgres_schema_url"))
    return PostgresUnderTest(
        request.getfixturevalue("postgres_store_url"),
        request.getfixturevalue("postgres_connection"),
    )
