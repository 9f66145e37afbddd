"""Compiles what `tasker generate` writes, with the compiler of each language."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sdk.conformance.languages import SDK, Language
from sdk.conformance.real_server import compile_typescript, run

GOLDEN = SDK.parent / "tests" / "generate" / "golden"


def compile_ruby(folder: Path) -> None:
    """Parse handlers, and signatures where `rbs` is installed."""
    run(folder, "ruby", "-wc", "process_refund.rb")
    if shutil.which("rbs"):
        run(folder, "rbs", "parse", "process_refund_types.rbs")


def compile_rust(folder: Path) -> None:
    """Compile without a warning, against the crate and its locked dependencies."""
    crate = SDK / "rust"
    (folder / "src").mkdir()
    for file in folder.glob("*.rs"):
        file.rename(folder / "src" / file.name)
    modules = "#![deny(warnings)]\npub mod process_refund;\npub mod process_refund_types;\n"
    (folder / "src" / "lib.rs").write_text(modules)
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "generated"\nversion = "0.1.0"\nedition = "2021"\n'
        f"[dependencies]\ntasker = {{ path = {json.dumps(str(crate))} }}\n"
        'serde = { version = "1", features = ["derive"] }\nserde_json = "1"\n[workspace]\n'
        "[profile.dev]\ndebug = 0\nincremental = false\n"
    )
    shutil.copy(crate / "Cargo.lock", folder)
    target = os.environ.get("CARGO_TARGET_DIR", str(crate / "target"))
    run(folder, "cargo", "check", "--offline", "--quiet", CARGO_TARGET_DIR=target)


def compile_python(folder: Path) -> None:
    """Compile without running."""
    run(folder, sys.executable, "-m", "compileall", "-q", str(folder))


COMPILERS: dict[str, Callable[[Path], None]] = {
    "python": compile_python,
    "ruby": compile_ruby,
    "typescript": partial(compile_typescript, options=["--noEmit"]),
    "rust": compile_rust,
}


def test_generated_code_compiles(language: Language, tmp_path: Path) -> None:
    for file in GOLDEN.glob("*.expected"):
        (tmp_path / file.stem).write_text(file.read_text("utf-8"), "utf-8")
    COMPILERS[language.name](tmp_path)
