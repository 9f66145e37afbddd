"""Plants defects one at a time and runs the tests that should catch them.

    python -m mutants                     all defects
    python -m mutants settler claim-3     those whose file name or id matches
    python -m mutants --check             only check that every defect still applies

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasker.testing.postgres import temporary_postgres

ROOT = Path(__file__).parents[1]
DEFECTS = Path(__file__).parent / "defects"
COPIED = ("src", "tests", "docs", "examples", "bench", "pyproject.toml", "README.md", "Makefile")
PRELOADED = ("asyncpg", "fastapi", "httpx", "jsonschema_rs", "pydantic")
TIMEOUT = 300.0  #: seconds for the tests of one defect; running into it counts as caught
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


def caught(defect: Defect, tree: Path) -> bool:
    """Run a defect's tests in a copy of the tree; return whether any fails."""
    original = defect.apply(tree)
    output = tree / "pytest.log"
    process = multiprocessing.get_context("fork").Process(
        target=_run_tests, args=(tree, defect.tests, output)
    )
    process.start()
    try:
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
            return True
    finally:
        _write(tree / defect.path, original)
    if process.exitcode not in (_PASSED, _FAILED):  # none were run
        raise RuntimeError(f"{defect.id}: pytest exited {process.exitcode}\n{output.read_text()}")
    return process.exitcode == _FAILED


def _run_tests(tree: Path, tests: Sequence[str], output: Path) -> None:
    """Run tests in a process forked from one that has imported the libraries already."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tasker"]:
        del sys.modules[name]
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree / "src")
    sys.path[:0] = [str(tree / "src"), str(tree)]
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    options = ["-q", "-x", "-p", "no:cacheprovider", "-W", "ignore:Module already imported"]
    verdict = pytest.main([*options, *tests])
    os._exit({0: _PASSED, 1: _FAILED}.get(verdict, verdict))


def copy(target: Path) -> None:
    """Copy what the tests need into an empty folder."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        elif source.exists():
            shutil.copy(source, target / name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", help="parts of ids or file names")
    parser.add_argument("--check", action="store_true", help="only check that all still apply")
    options = parser.parse_args()
    defects = load(options.patterns)
    problems = stale(defects)
    if problems or options.check:
        print("\n".join(problems) or f"{len(defects)} defects apply")
        return 1 if problems else 0
    survivors: list[Defect] = []
    for name in PRELOADED:
        importlib.import_module(name)
    with (
        tempfile.TemporaryDirectory(prefix="tasker-mutants-") as folder,
        temporary_postgres(settings={"fsync": "off", "full_page_writes": "off"}) as url,
    ):
        os.environ["TASKER_TEST_POSTGRES"] = url
        copy(Path(folder))
        for number, defect in enumerate(defects, start=1):
            began = time.monotonic()
            verdict = caught(defect, Path(folder))
            if not verdict:
                survivors.append(defect)
            word = "caught" if verdict else "SURVIVED"
            taken = time.monotonic() - began
            print(
                f"{number:>3}/{len(defects)} {word:8} {taken:5.1f} s  {defect.id}: {defect.what}",
                flush=True,
            )
    share = 1 - len(survivors) / max(len(defects), 1)
    print(f"{len(defects) - len(survivors)} of {len(defects)} caught ({share:.0%})")
    for defect in survivors:
        print(f"survived: {defect.id}: {defect.what} ({defect.survives or 'UNEXPECTED'})")
    return 0 if share >= GOAL and all(defect.survives for defect in survivors) else 1


if __name__ == "__main__":
    sys.exit(main())
