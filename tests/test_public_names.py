import subprocess
import sys

import pytest

import tasker
import tasker.testing


def _in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_public_name_is_there() -> None:
    assert [] == [name for name in tasker.__all__ if not hasattr(tasker, name)]
    assert sorted([*tasker.__all__, "__version__"]) == sorted(dir(tasker))


@pytest.mark.parametrize("name", tasker.testing.__all__)
def test_every_public_name_of_the_testing_kit_is_there(name: str) -> None:
    assert callable(getattr(tasker.testing, name))


def test_a_star_import_gives_the_public_names() -> None:
    output = _in_a_fresh_process("from tasker import *\nprint(handler.__name__, Worker.__name__)")

    assert "handler Worker" == output


def test_the_decorator_keeps_its_name_when_the_package_behind_it_is_imported() -> None:
    output = _in_a_fresh_process("import tasker.engine\nfrom tasker import handler\nprint(handler)")

    assert output.startswith("<function handler")


def test_importing_tasker_imports_nothing_heavy() -> None:
    output = _in_a_fresh_process(
        "import sys, tasker\nprint({'pydantic', 'yaml'} & set(sys.modules))"
    )

    assert "set()" == output
