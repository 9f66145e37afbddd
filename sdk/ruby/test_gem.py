"""The Ruby gem: its own tests, its package, and the examples of its documentation."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from sdk.conformance.languages import missing_ruby, selected
from sdk.founding.serving import SOON, serving, wait_for_line

GEM = Path(__file__).parent
PAGE = GEM.parents[1] / "docs" / "ruby.md"

pytestmark = pytest.mark.skipif("ruby" not in selected(), reason="TASKER_SDK names other languages")


@pytest.fixture(autouse=True, scope="module")
def ruby() -> None:
    """Skip where Ruby is missing; fail under TASKER_REQUIRE=all."""
    if problem := missing_ruby():
        if os.environ.get("TASKER_REQUIRE") == "all":
            pytest.fail(problem)
        pytest.skip(problem)


def run(*command: str, folder: Path = GEM, **environment: str) -> str:
    """Run a command, and return its output."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in GEM.glob("test/test_*.rb")))
def test_the_gem_passes_its_own_tests(name: str) -> None:
    assert "0 failures, 0 errors, 0 skips" in run("ruby", "-Ilib", f"test/{name}")


def test_handlers_of_the_earlier_packages_need_no_active_support() -> None:
    without = (
        "alias old_require require;"
        ' def require(n) = n.start_with?("active_support") ? raise(LoadError) : old_require(n)'
    )
    script = f'{without}; load "test/test_handlers.rb"'
    out = run("ruby", "-Ilib", "-e", script, MT_NO_PLUGINS="1")  # that of Rails loads it
    assert "0 failures, 0 errors, 0 skips" in out


def test_the_built_gem_can_be_installed_and_loaded(tmp_path: Path) -> None:
    gem = str(tmp_path / "tasker.gem")
    run("gem", "build", "--quiet", "tasker.gemspec", "--output", gem)
    home = str(tmp_path / "gems")
    run("gem", "install", "--local", "--no-document", "--install-dir", home, gem)
    check = 'require "tasker_core"; require "tasker/testing"; print $LOADED_FEATURES.grep(/tasker/)'
    loaded = json.loads(run("ruby", "-e", check, folder=tmp_path, GEM_HOME=home, GEM_PATH=home))
    assert {True} == {name.startswith(home) for name in loaded}


def examples(language: str) -> list[str]:
    """Return the blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    _, worker, create, *unit_tests = examples("ruby")
    for block in unit_tests:
        run("ruby", "-w", "-I", str(GEM / "lib"), "-rtasker/testing", "-e", block, folder=tmp_path)

    (tmp_path / "orders.yaml").write_text(examples("yaml")[0])
    with serving(tmp_path) as url:
        command = ["ruby", "-I", str(GEM / "lib"), "-e"]
        environment = {**os.environ, "TASKER_URL": url}
        log = tmp_path / "worker.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, worker], cwd=tmp_path, env=environment, stderr=out
            )
        try:
            wait_for_line(process, log, "tasker: worker .* registered")
            assert "receipt-500\n" == run(*command, create, folder=tmp_path, TASKER_URL=url)
        finally:
            process.terminate()
            assert 0 == process.wait(SOON)
