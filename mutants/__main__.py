"""Plants defects one at a time and runs the tests that should catch them.

    python -m mutants                     all defects
    python -m mutants settler claim-3     those whose file name or id matches
    python -m mutants --check             only check that every defect still applies
    python -m mutants --clean             run the same tests without any defect: all must pass

As many at once as there are processors, each in a copy of the tree with its own PostgreSQL.

Exit code 0 when at least 95 % are caught and no known-caught defect survived, else 1.
"""

import argparse
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from tasker.testing.postgres import temporary_postgres

ROOT = Path(__file__).parents[1]
DEFECTS = Path(__file__).parent / "defects"
COPIED = ("src", "tests", "docs", "examples", "bench", "pyproject.toml", "README.md", "Makefile")
PRELOADED = ("asyncpg", "fastapi", "httpx", "jsonschema_rs", "pydantic")
TIMEOUT = 120.0  #: seconds for the tests of one defect; reaching it counts as caught, and is shown
GOAL = 0.95
_PASSED, _FAILED = 100, 101  #: exit codes that no error of the process itself has


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One planted change.

    Attributes:
        id: Unique, `<file of defects>-<number or word>`.
        file: Path below `src/tasker`.
        what: What goes wrong, in one line.
        old: Text that occurs exactly once in the file.
        new: What replaces it.
        tests: Arguments for pytest that select the tests expected to fail.
        survives: Why no test catches it, for those that are known to survive.
    """

    id: str
    file: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str | None = None

    @property
    def path(self) -> Path:
        """Return the file's path below the root."""
        return Path("src/tasker") / self.file

    def apply(self, tree: Path) -> str:
        """Plant the defect in a copy of the tree; return the original text of the file.

        Raises:
            ValueError: The old text does not occur exactly once.
        """
        path = tree / self.path
        original = path.read_text(encoding="utf-8")
        if original.count(self.old) != 1:
            raise ValueError(
                f"{self.id}: its text occurs {original.count(self.old)} times in {path}"
            )
        _write(path, original.replace(self.old, self.new))
        return original


def _write(path: Path, text: str) -> None:
    """Write a file with a time of its own, so that no compiled form of it is taken for current."""
    before = path.stat().st_mtime
    path.write_text(text, encoding="utf-8")
    os.utime(path, (before + 2, before + 2))


def load(patterns: Sequence[str] = ()) -> list[Defect]:
    """Read the defects whose id or file matches any of the patterns, or all."""
    return [
        defect
        for path in sorted(DEFECTS.glob("*.toml"))
        for defect in _read(path)
        if not patterns or any(word in defect.id or word in defect.file for word in patterns)
    ]


def _read(path: Path) -> Iterator[Defect]:
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("defect", []):
        fields = {**entry, "id": f"{path.stem}-{entry['id']}", "tests": tuple(entry["tests"])}
        yield Defect(**fields)


def stale(defects: Sequence[Defect]) -> list[str]:
    """List defects whose text no longer occurs exactly once."""
    counts = {d.id: (ROOT / d.path).read_text(encoding="utf-8").count(d.old) for d in defects}
    return [
        f"{name}: its text occurs {count} times" for name, count in counts.items() if count != 1
    ]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one defect is planted at a time."""

    tree: Path
    postgres: str


class Trial:
    """The tests of one defect, running in a copy of the tree."""

    def __init__(self, defect: Defect, place: Place) -> None:
        self.defect = defect
        self.place = place
        self.began = time.monotonic()
        self._original = defect.apply(place.tree)
        self._output = place.tree / "pytest.log"
        self._process = multiprocessing.get_context("fork").Process(
            target=_run_tests, args=(place, defect.tests, self._output)
        )
        self._process.start()

    @property
    def sentinel(self) -> int:
        """What is ready when the tests have ended."""
        return self._process.sentinel

    @property
    def left(self) -> float:
        """Return the seconds until the tests have taken too long."""
        return self.began + TIMEOUT - time.monotonic()

    def caught(self) -> bool | None:
        """Return whether a test failed, or None while tests run. Removes the defect."""
        late = self.left <= 0
        if self._process.is_alive() and not late:
            return None
        self.end()
        if late:
            return True
        code = self._process.exitcode
        if code not in (_PASSED, _FAILED):  # none were run
            text = self._output.read_text(encoding="utf-8")
            raise RuntimeError(f"{self.defect.id}: pytest exited {code}\n{text}")
        return code == _FAILED

    def end(self) -> None:
        """End the tests, and remove the defect."""
        self._process.kill()
        self._process.join()
        _write(self.place.tree / self.defect.path, self._original)


def trials(defects: Sequence[Defect], places: Sequence[Place]) -> Iterator[tuple[Trial, bool]]:
    """Run the tests of each defect, as many at once as there are places; yield what ended."""
    left, free = deque(defects), list(places)
    running: list[Trial] = []
    try:
        while left or running:
            while left and free:
                running.append(Trial(left.popleft(), free.pop()))
            wait([trial.sentinel for trial in running], min(trial.left for trial in running))
            for trial in list(running):
                verdict = trial.caught()
                if verdict is not None:
                    running.remove(trial)
                    free.append(trial.place)
                    yield trial, verdict
    finally:
        for trial in running:
            trial.end()


def _run_tests(place: Place, tests: Sequence[str], output: Path) -> None:
    """Run tests in a process forked from one that has imported the libraries already."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tasker"]:
        del sys.modules[name]
    os.chdir(place.tree)
    os.environ["PYTHONPATH"] = str(place.tree / "src")
    os.environ["TASKER_TEST_POSTGRES"] = place.postgres
    sys.path[:0] = [str(place.tree / "src"), str(place.tree)]
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    options = ["-q", "-x", "-p", "no:cacheprovider", "-W", "ignore:Module already imported"]
    verdict = pytest.main([*options, *tests])
    os._exit({0: _PASSED, 1: _FAILED}.get(verdict, verdict))


@contextmanager
def places(count: int) -> Iterator[list[Place]]:
    """Make copies of the tree, each with a PostgreSQL of its own."""
    settings = {"fsync": "off", "full_page_writes": "off"}
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tasker-mutants-"))
            copy(Path(folder))
            url = stack.enter_context(temporary_postgres(settings=settings))
            made.append(Place(Path(folder), url))
        yield made


def copy(target: Path) -> None:
    """Copy what the tests need into an empty folder."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        elif source.exists():
            shutil.copy(source, target / name)


def without_defects(defects: Sequence[Defect]) -> list[Defect]:
    """Return one that changes nothing for each selection of tests."""
    by_tests = {defect.tests: defect for defect in defects}
    return [
        replace(defect, id=" ".join(tests), what="no defect", new=defect.old)
        for tests, defect in by_tests.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", help="parts of ids or file names")
    parser.add_argument("--check", action="store_true", help="only check that all still apply")
    parser.add_argument("--clean", action="store_true", help="run the tests without any defect")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, metavar="N")
    options = parser.parse_args()
    defects = load(options.patterns)
    problems = stale(defects)
    if problems or options.check:
        print("\n".join(problems) or f"{len(defects)} defects apply")
        return 1 if problems else 0
    if options.clean:
        defects = without_defects(defects)
    survivors: list[Defect] = []
    for name in PRELOADED:
        importlib.import_module(name)
    with places(options.at_once) as made:
        for number, (trial, caught) in enumerate(trials(defects, made), start=1):
            defect, taken = trial.defect, time.monotonic() - trial.began
            if not caught:
                survivors.append(defect)
            word = "SURVIVED" if not caught else "TIMEOUT" if trial.left <= 0 else "caught"
            print(
                f"{number:>3}/{len(defects)} {word:8} {taken:5.1f} s  {defect.id}: {defect.what}",
                flush=True,
            )
    if options.clean:
        return 0 if len(survivors) == len(defects) else 1
    share = 1 - len(survivors) / max(len(defects), 1)
    print(f"{len(defects) - len(survivors)} of {len(defects)} caught ({share:.0%})")
    for defect in survivors:
        print(f"survived: {defect.id}: {defect.what} ({defect.survives or 'UNEXPECTED'})")
    return 0 if share >= GOAL and all(defect.survives for defect in survivors) else 1


if __name__ == "__main__":
    sys.exit(main())
