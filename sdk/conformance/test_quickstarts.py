"""The examples of the quickstarts compile and run."""

import os
import re
from pathlib import Path

import pytest
from sdk.conformance.conftest import require
from sdk.conformance.languages import LANGUAGES, SDK, selected
from sdk.conformance.real_server import (
    RealServer,
    compile_typescript,
    real_server,
    run,
    rust_program,
)

DOCS = SDK.parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Return the examples of a page in a language."""
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def need(name: str) -> None:
    """Skip where a language is missing or not selected."""
    if name not in selected():
        pytest.skip("TASKER_SDK names other languages")
    require(LANGUAGES[name])


def check(server: RealServer) -> None:
    """Expect what the worker of the page does."""
    task = server.create("shop.checkout", cents=500)
    results = server.results(task)
    assert {"cents": 500} == results["validate"]
    assert {"charged": 500, "key": f"{task}:charge"} == results["charge"]
    failed = server.create("shop.checkout")
    assert "error" == server.ended(failed)["status"]
    assert "cents must be a number" == server.steps(failed)["validate"]["error"]["message"]


BILL = """\
name: bill_{version}
namespace_name: billing
version: 1.0.0
steps:
  - name: bill
    handler: {{callable: invoice, version: {version}.0.0}}
"""
VERSIONS_WORKER = """\
import { Worker } from 'tasker';
import { handlers } from './versions.js';

await new Worker({ namespaces: ['billing'], handlers }).run();
"""


def test_the_typescript_quickstart_runs(tmp_path: Path) -> None:
    need("typescript")
    code = tmp_path / "code"
    code.mkdir()
    names = ["handlers", "worker", "reserve", "versions", "index", "settle", "visit"]
    names += ["handlers.test", "client"]
    for name, text in zip(names, blocks("typescript.md", "typescript"), strict=True):
        (code / f"{name}.ts").write_text(text)
    (code / "versions_worker.ts").write_text(VERSIONS_WORKER)
    compile_typescript(code)
    run(code, "node", "--test", "handlers.test.js")
    with real_server(tmp_path) as server:
        server.register(blocks("typescript.md", "yaml")[0])
        with server.running("node", "worker.js", cwd=code, TASKER_URL=server.url):
            check(server)
            run(code, "node", "client.js", TASKER_URL=server.url)
        for version in (1, 2):
            server.register(BILL.format(version=version))
        with server.running("node", "versions_worker.js", cwd=code, TASKER_URL=server.url):
            tasks = [server.create(f"billing.bill_{version}", amount=5) for version in (1, 2)]
            bills = [server.results(task)["bill"] for task in tasks]
            assert [{"cents": 500}, {"cents": 5}] == bills


def test_the_rust_quickstart_runs(tmp_path: Path) -> None:
    need("rust")
    main, index, settle, visit, tests, client = blocks("rust.md", "rust")
    parts = {"index": index, "settle": settle, "visit": visit, "client": client}
    modules = "".join(f"pub mod {name} {{\n{text}}}\n" for name, text in parts.items())
    code = tmp_path / "code"
    program = rust_program(code, "quickstart_worker", f"{main}{modules}{tests}")
    target = os.environ.get("CARGO_TARGET_DIR", str(SDK / "rust" / "target"))
    run(code, "cargo", "test", "--offline", "--quiet", CARGO_TARGET_DIR=target)
    with real_server(tmp_path) as server:
        server.register(blocks("rust.md", "yaml")[0])
        with server.running(str(program), cwd=tmp_path, TASKER_URL=server.url):
            check(server)
