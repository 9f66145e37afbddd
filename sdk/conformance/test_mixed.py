"""One workflow with steps in Python, TypeScript, Rust and Ruby, each in a worker of its own."""

import sys
from contextlib import ExitStack
from pathlib import Path

from sdk.conformance.languages import SDK, Language
from sdk.conformance.real_server import RealServer, real_server, rust_program

MIXED = Path(__file__).parent / "mixed"
TEMPLATE = """
name: add
namespace_name: mixed
version: 1.0.0
steps:
  - {name: python, handler: {callable: python.begin}}
  - {name: typescript, handler: {callable: typescript.add}, dependencies: [python]}
  - {name: rust, handler: {callable: rust.add}, dependencies: [typescript]}
  - {name: ruby, handler: {callable: ruby.add}, dependencies: [rust]}
  - {name: end, handler: {callable: python.end}, dependencies: [ruby]}
"""
TASKS = 20


def test_a_workflow_runs_in_four_languages(every_language: list[Language], tmp_path: Path) -> None:
    rust = rust_program(tmp_path / "rust", "mixed_worker", (MIXED / "worker.rs").read_text())
    typescript = tmp_path / "typescript"
    (typescript / "node_modules").mkdir(parents=True)
    (typescript / "node_modules" / "tasker").symlink_to(SDK / "typescript")
    (typescript / "worker.mjs").write_text((MIXED / "worker.mjs").read_text())
    assert {"python", "ruby", "rust", "typescript"} == {
        language.name for language in every_language
    }
    with real_server(tmp_path) as server, ExitStack() as workers:
        server.register(TEMPLATE)
        store = f"sqlite:{tmp_path}/tasker.db"
        python = [sys.executable, "-m", "tasker", "worker", "--store", store]
        workers.enter_context(server.running(*python, "--handlers", "mixed=worker.py", cwd=MIXED))
        for command, cwd in (
            (["node", "worker.mjs"], typescript),
            ([str(rust)], tmp_path),
            (["ruby", "worker.rb"], MIXED),
        ):
            workers.enter_context(server.running(*command, cwd=cwd, TASKER_URL=server.url))
        check(server)


def check(server: RealServer) -> None:
    """Run tasks, and expect the work of all languages under one correlation id each."""
    tasks = {start: server.create("mixed.add", start=start) for start in range(TASKS)}
    for start, task in tasks.items():
        results = server.results(task)
        languages = ["python", "typescript", "rust", "ruby"]
        assert {"sum": start + 4, "languages": languages} == results["end"]
        assert 1 == len({results[language]["correlation_id"] for language in languages})
    workers = {name: step["worker"] for name, step in server.steps(tasks[0]).items()}
    assert ("typescript", "rust", "ruby") == (
        workers["typescript"],
        workers["rust"],
        workers["ruby"],
    )
