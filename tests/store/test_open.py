"""From a URL to an open store."""

import os
import threading
from pathlib import Path

import asyncpg
import pytest

from tasker.errors import InvalidSettings, SchemaMismatch, StoreUnavailable
from tasker.model import WorkerId
from tasker.store.open import make_store, open_store
from tasker.store.postgres import PostgresStore
from tasker.store.postgres.address import Address as PostgresAddress
from tasker.store.sqlite import SqliteStore
from tasker.store.sqlite.address import Address

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "path", "synchronous"),
    [
        ("sqlite", Path(".tasker/tasker.db"), "full"),
        ("sqlite?synchronous=normal", Path(".tasker/tasker.db"), "normal"),
        ("sqlite:", Path(".tasker/tasker.db"), "full"),
        ("sqlite:some.db", Path("some.db"), "full"),
        ("sqlite:a/b.db?synchronous=NORMAL", Path("a/b.db"), "normal"),
        ("sqlite:/var/lib/t.db", Path("/var/lib/t.db"), "full"),
        ("sqlite:///var/lib/t.db", Path("/var/lib/t.db"), "full"),
        ("sqlite:with%20space#1.db", Path("with space#1.db"), "full"),
        ("sqlite::memory:", None, "full"),
        ("sqlite:///:memory:", None, "full"),
    ],
)
def test_a_sqlite_url_names_the_file(url: str, path: Path | None, synchronous: str) -> None:
    """
    A file, the default one, or memory; and how durable.
    """
    assert Address(path, synchronous) == Address.parse(url)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("sqlite:a.db?synchronous=off", "synchronous=off"),
        ("sqlite:a.db?mode=ro", "mode in the store URL"),
        ("sqlite://[a.db", "write sqlite:FILE"),
        ("sqlitee:a.db", "sqlite or postgresql://, not sqlitee"),
        ("mysql://x", "not mysql"),
        ("tasker.db", "not tasker.db:; for a SQLite file, write sqlite:tasker.db"),
        (
            "localhost:8080",
            "for a server, write http://localhost:8080 or https://localhost:8080",
        ),
        ("", "must start with sqlite or postgresql://, not ''"),
        ("postgresql://u:secret@h/d?schema=A-b", "schema=A-b"),
        ("postgresql://u:sec:ret@h:port/d", "port"),
        ("postgresql://u:secret/x@h/d", "port"),
        ("postgresql://u:secret@[h/d", "host"),
        ("postgresql://u:12/secret@h/d", "percent-encoded"),
        ("postgresql://u:p@secret/w#rd@h/d", "percent-encoded"),
        ("postgresql://u:p#secret@h/d", "percent-encoded"),
    ],
)
def test_an_invalid_url_is_explained(url: str, part: str) -> None:
    """The message has the problem and the known schemes, but no password."""
    with pytest.raises(InvalidSettings) as refusal:
        make_store(url)

    assert part in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "sec" not in str(refusal.value).replace("special", "")


def test_a_postgres_url_names_the_server_and_database() -> None:
    """Server, database and schema; the displayed form has no password."""
    address = PostgresAddress.parse(
        "postgres://us%40er:s%23c%2Fret@db.example:5433/orders?schema=flows&sslmode=require"
        "&password=secret&sslpassword=secret"
    )

    assert "flows" == address.schema
    assert "postgresql://us%40er:s%23c%2Fret@db.example:5433/orders" in address.dsn
    assert "schema" not in address.dsn
    assert "postgresql://us%40er@db.example:5433/orders?sslmode=require" == address.without_password
    assert "tasker" == PostgresAddress.parse("postgresql:///d").schema


def test_the_scheme_selects_the_store() -> None:
    assert isinstance(make_store("sqlite:x.db"), SqliteStore)
    assert isinstance(make_store("postgres://h/d"), PostgresStore)
    assert "postgresql://u@h/d" == make_store("postgresql://u:secret@h/d").url


async def test_the_default_store_is_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file in `.tasker`, with its schema.
    """
    monkeypatch.chdir(tmp_path)

    async with open_store() as store:
        assert (await store.schema_status()).is_ready

    assert (tmp_path / ".tasker" / "tasker.db").is_file()


async def test_an_old_schema_is_upgraded_automatically_only_on_sqlite(
    tmp_path: Path, postgres_schema_url: str
) -> None:
    """SQLite automatically, PostgreSQL only on request."""
    with pytest.raises(SchemaMismatch, match="tasker db upgrade"):
        async with open_store(postgres_schema_url):
            pass
    with pytest.raises(SchemaMismatch, match="is empty"):
        async with open_store(f"sqlite:{tmp_path / 'x.db'}", upgrade=False):
            pass
    async with open_store(postgres_schema_url, upgrade=True):
        pass
    async with open_store(postgres_schema_url) as store:
        assert (await store.schema_status()).is_ready


async def test_an_unreachable_store_is_reported(tmp_path: Path) -> None:
    """The error has the URL, and no task is left running."""
    (tmp_path / "directory.db").mkdir()
    with pytest.raises(StoreUnavailable, match=r"directory\.db"):
        async with open_store(f"sqlite:{tmp_path / 'directory.db'}"):
            pass
    with pytest.raises(StoreUnavailable, match="postgresql://nobody@/none"):
        async with open_store(f"postgresql://nobody:secret@/none?host={tmp_path}"):
            pass

    assert [] == [each.name for each in threading.enumerate() if "directory" in each.name]


async def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    """The file is not changed."""
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but much longer than its header would be" * 100)

    with pytest.raises(Exception, match=r"notes\.txt.*not a database"):
        async with open_store(f"sqlite:{file}"):
            pass

    assert file.read_text().startswith("not a database")


@pytest.mark.parametrize("password", ["ca/rp@", "ca#rp", "ca?rp@fish", "ca@rp/w#rd", "ca@rp/fish"])
def test_an_unquoted_password_is_refused_and_no_part_of_it_is_shown(password: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        PostgresAddress.parse(f"postgresql://tasker:{password}@postgres/tasker")
    message = str(caught.value).replace("special characters", "")
    assert [] == [part for part in ("ca", "rp", "fish", "w#rd") if part in message]


async def test_a_store_closes_after_its_connection_broke(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: object, *, timeout: float | None = None) -> None:
        raise BrokenPipeError("the server is gone")

    async with make_store(postgres_schema_url) as store:
        await store.upgrade_schema()
        await store.claim(WorkerId(1), 1)
        monkeypatch.setattr(asyncpg.Connection, "close", broken)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no modes")
async def test_a_new_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """It contains the data of tasks; one that exists keeps its mode."""
    shared = tmp_path / "shared.db"
    shared.touch()
    shared.chmod(0o660)
    before = os.umask(0o022)
    try:
        for name, mode in (("new/own.db", 0o600), ("shared.db", 0o660)):
            async with open_store(f"sqlite:{tmp_path / name}"):
                files = (tmp_path / name).parent.glob(f"{Path(name).name}*")
                modes = {file.name: file.stat().st_mode & 0o777 for file in files}

            assert {mode} == set(modes.values()), modes
            assert len(modes) > 1  # with the log of writes
    finally:
        os.umask(before)
