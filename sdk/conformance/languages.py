"""How the worker of each language is started, and what it needs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SDK = Path(__file__).resolve().parents[1]
HONO = SDK.parent / "examples" / "polyglot" / "hono"


@dataclass(frozen=True)
class Language:
    """A language with an SDK."""

    name: str
    command: Callable[[], Sequence[str]]
    """Returns the command of its conformance worker, built if necessary."""
    folder: Path
    missing: Callable[[], str | None]
    """Returns what this machine lacks, or None."""
    sdk: str = ""
    """The language whose SDK it runs, if it has none of its own."""
    differs: frozenset[str] = frozenset()
    """`claims_ahead`: it claims short steps before it has slots for them. `frees_early`: it asks
    for steps in place of those whose settlement is under way. `durable_calls`: its durable calls
    use other routes, and are tested with a server of ours. `large_integers`: JSON integers beyond
    2^53 are rounded. `invalid_input`: the error of a result without a JSON form has this code.
    `path_of_result`: the error of such a result does not name the place."""


def version_of(program: str, *arguments: str) -> tuple[int, ...] | None:
    """Return the version that a program prints, or None if it is not installed."""
    if shutil.which(program) is None:
        return None
    text = subprocess.run([program, *arguments], capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)\.(\d+)", text)
    return match and tuple(map(int, match.groups()))


@cache
def missing_ruby() -> str | None:
    """Return what a machine without Ruby needs."""
    found = version_of("ruby", "--version")
    return None if found and found >= (3, 1) else "needs ruby >= 3.1 (apt-get install ruby)"


@cache
def missing_node() -> str | None:
    """Return what a machine without Node, or without the built package, needs."""
    found = version_of("node", "--version")
    if not found or found < (20,):
        return "needs node >= 20 (apt-get install nodejs npm)"
    built = SDK / "typescript" / "dist"
    return None if built.exists() else "needs the built package (make sdk-typescript)"


def bun() -> str:
    """Return the path of Bun: the system's, or that of the Hono application."""
    return shutil.which("bun") or str(HONO / "node_modules" / ".bin" / "bun")


@cache
def missing_bun() -> str | None:
    """Return what a machine without Bun needs."""
    if problem := missing_node():
        return problem
    return None if Path(bun()).exists() else "needs bun (make sdk-typescript)"


@cache
def missing_rust() -> str | None:
    """Return what a machine without Rust needs."""
    found = version_of("cargo", "--version")
    return None if found and found >= (1, 80) else "needs cargo >= 1.80 (rustup)"


@cache
def rust_worker() -> Sequence[str]:
    """Build the conformance worker in Rust, and return its command."""
    folder = SDK / "rust"
    build = ["cargo", "build", "--locked", "--quiet", "--example", "conformance_worker"]
    subprocess.run(build, cwd=folder, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", folder / "target"))
    return [str(target / "debug" / "examples" / "conformance_worker")]


def python_worker() -> Sequence[str]:
    """Return the command of the conformance worker in Python."""
    command = """unset TASKER_NAMESPACE # an option of the command instead
        exec "$PYTHON" -m tasker worker --server "$TASKER_URL" --handlers python_worker.py \\
        --namespace conformance --slots "${SLOTS:-4}" --grace "${GRACE:-5}s" """
    return ["sh", "-c", command]


LANGUAGES = {
    language.name: language
    for language in (
        Language(
            "python",
            python_worker,
            SDK / "conformance",
            lambda: None,
            differs=frozenset({"claims_ahead", "frees_early", "durable_calls", "invalid_input"}),
        ),
        Language("ruby", lambda: ["ruby", "conformance_worker.rb"], SDK / "ruby", missing_ruby),
        Language(
            "typescript",
            lambda: ["node", "conformance_worker.mjs"],
            SDK / "typescript",
            missing_node,
            differs=frozenset({"large_integers"}),
        ),
        Language(
            "bun",
            lambda: [bun(), "conformance_worker.mjs"],
            SDK / "typescript",
            missing_bun,
            sdk="typescript",
            differs=frozenset({"large_integers"}),
        ),
        Language(
            "rust",
            rust_worker,
            SDK / "rust",
            missing_rust,
            differs=frozenset({"path_of_result"}),
        ),
    )
}


def selected() -> list[str]:
    """Return the languages to test: those of TASKER_SDK, separated by commas, or all."""
    names = os.environ.get("TASKER_SDK", "")
    return names.split(",") if names else list(LANGUAGES)


def environment(**values: str) -> dict[str, str]:
    """Return the environment for a worker's process."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ
    }
    return {**kept, "PYTHON": sys.executable, "TASKER_NAMESPACE": "conformance", **values}
