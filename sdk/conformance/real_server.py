"""A real server on a SQLite file, and programs against it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sdk.conformance.languages import SDK, environment
from sdk.founding.serving import SOON, serving, wait_for_end


class RealServer:
    """The API of a running server."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.api = httpx.Client(base_url=url, timeout=SOON)

    def register(self, template: str) -> None:
        """Register a template in YAML."""
        headers = {"Content-Type": "text/yaml"}
        answer = self.api.post("/v1/templates", content=template, headers=headers)
        assert answer.status_code in (200, 201), answer.text

    def create(self, name: str, **context: Any) -> str:
        """Create a task; return its id."""
        answer = self.api.post("/v1/tasks", json={"name": name, "context": context})
        assert 201 == answer.status_code, answer.text
        task: str = answer.json()["id"]
        return task

    def steps(self, task: str) -> dict[str, Any]:
        """Return a task's steps by name."""
        answer = self.api.get(f"/v1/tasks/{task}/steps").json()
        listed = answer["steps"] if isinstance(answer, dict) else answer
        return {step["name"]: step for step in listed}

    def ended(self, task: str) -> dict[str, Any]:
        """Return a task when it has ended."""
        return wait_for_end(self.api, task)

    def results(self, task: str) -> dict[str, Any]:
        """Return the results of the steps of a task that completes, by name."""
        fields, steps = self.ended(task), self.steps(task)
        assert "complete" == fields["status"], [step["error"] for step in steps.values()]
        return {name: step["result"] for name, step in steps.items()}

    @contextmanager
    def running(self, *command: str | Path, cwd: Path, **values: str) -> Iterator[None]:
        """Run a program while the block runs; `values` are variables of its environment."""
        log = self.folder / f"{Path(command[-1]).name}.log"
        variables = environment(**values)
        if "TASKER_NAMESPACE" not in values:
            del variables["TASKER_NAMESPACE"]
        with log.open("w") as out:
            process = subprocess.Popen(command, cwd=cwd, env=variables, stdout=out, stderr=out)
        try:
            yield
        except BaseException as error:
            error.add_note(log.read_text()[-3000:])
            raise
        finally:
            process.terminate()
            process.wait(SOON)


@contextmanager
def real_server(folder: Path) -> Iterator[RealServer]:
    """Run a server on a SQLite file in a folder."""
    with serving(folder) as url:
        server = RealServer(folder, url)
        with server.api:
            yield server


def rust_program(folder: Path, name: str, source: str) -> Path:
    """Build a program that uses the crate, with its locked dependencies; return its path."""
    crate = SDK / "rust"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "main.rs").write_text(source)
    (folder / "Cargo.toml").write_text(
        f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n'
        f'[dependencies]\ntasker = {{ path = "{crate}" }}\nserde_json = "1"\n'
        'serde = { version = "1", features = ["derive"] }\n'
        'tokio = { version = "1", features = ["macros", "rt-multi-thread", "time"] }\n'
        'chrono = { version = "0.4", default-features = false, features = ["clock"] }\n'
        "[profile.dev]\ndebug = 0\nincremental = false\n"
    )
    shutil.copy(crate / "Cargo.lock", folder)
    target = os.environ.get("CARGO_TARGET_DIR", str(crate / "target"))
    run(folder, "cargo", "build", "--offline", "--quiet", CARGO_TARGET_DIR=target)
    return Path(target) / "debug" / name


def compile_typescript(folder: Path, options: Sequence[str] = ()) -> None:
    """Compile the TypeScript in a folder under strict settings, against the built package."""
    package = SDK / "typescript"
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "tasker").symlink_to(package)
    (folder / "package.json").write_text('{"type": "module"}')
    compiler = json.loads((package / "tsconfig.json").read_text())["compilerOptions"]
    for name in ("rootDir", "outDir", "declaration"):
        del compiler[name]
    compiler["typeRoots"] = [str(package / "node_modules" / "@types")]
    config = {"compilerOptions": compiler, "include": ["*.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    run(folder, str(package / "node_modules" / ".bin" / "tsc"), *options)


def run(folder: Path, *command: str, **values: str) -> None:
    """Run a command, and fail with its output if it does."""
    variables = {**os.environ, **values}
    ended = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
