import inspect
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

import tasker
import tasker.testing


def _in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_public_name_exists() -> None:
    assert [] == [name for name in tasker.__all__ if not hasattr(tasker, name)]
    assert sorted([*tasker.__all__, "__version__"]) == sorted(dir(tasker))


@pytest.mark.parametrize("name", tasker.testing.__all__)
def test_every_public_name_of_the_testing_package_exists(name: str) -> None:
    assert callable(getattr(tasker.testing, name))


def _public_classes() -> Iterator[tuple[str, type]]:
    for module in (tasker, tasker.testing):
        for name in module.__all__:
            kind = getattr(module, name)
            if inspect.isclass(kind) and name != "VirtualTimeStore":  # see the store's protocol
                yield name, kind


def _undocumented(kind: type) -> Iterator[str]:
    """Yield the public methods and properties without a docstring, their own or inherited."""
    for name, member in inspect.getmembers_static(kind):
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        if not function.__module__.startswith("tasker"):
            continue
        if not inspect.getdoc(member if isinstance(member, property) else getattr(kind, name)):
            yield name


def test_every_public_class_method_and_property_has_a_docstring() -> None:
    missing = [
        f"{name}.{member}" for name, kind in _public_classes() for member in _undocumented(kind)
    ]

    assert [] == [name for name, kind in _public_classes() if not inspect.getdoc(kind)] + missing


def test_the_types_in_the_signatures_of_the_client_are_public() -> None:
    named = {
        name.rpartition(".")[2]
        for _, method in inspect.getmembers(tasker.Client, inspect.isfunction)
        for name in re.findall(r"tasker\.[\w.]+", str(inspect.signature(method)))
    }

    assert set() == named - {*tasker.__all__}


def test_a_star_import_imports_the_public_names() -> None:
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
