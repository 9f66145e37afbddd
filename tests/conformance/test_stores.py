"""Both stores keep every law of the suite."""

from pathlib import Path

import pytest

from tasker.store.postgres import claim_cursor
from tasker.testing.store_suite import *  # noqa: F403
from tasker.testing.store_suite import PostgresSubject, SqliteSubject, Subject, TestSchema


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgres"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    """An empty database of each kind."""
    if request.param == "sqlite-memory":
        return SqliteSubject("sqlite::memory:")
    if request.param == "sqlite-file":
        return SqliteSubject(f"sqlite:{tmp_path / 'suite.db'}")
    request.getfixturevalue("monkeypatch").setattr(claim_cursor, "RETURN_AFTER", 0.0)
    request.getfixturevalue("monkeypatch").setattr(claim_cursor, "RETURN_COST", 0.0)
    if request.cls is TestSchema:
        return PostgresSubject(request.getfixturevalue("postgres_schema_url"))
    return PostgresSubject(request.getfixturevalue("postgres_store_url"))
