"""Importing handlers: from where, under which name, and the error when it fails."""

import asyncio
import sys
import textwrap
from pathlib import Path

import pytest
from tests.handlers.attempts import call
from tests.handlers.conftest import Write

from tasker.errors import HandlerImportError
from tasker.handlers import Handlers


def test_a_single_file_can_import_its_siblings(write: Write) -> None:
    write("gateway.py", "fee = 3")
    handlers = Handlers.collect(
        write("loose.py", "import gateway\ndef charge(): return gateway.fee")
    )
    match = handlers.find_handler("loose.charge")
    assert match is not None
    assert 3 == call(match)


def test_a_file_in_a_package_is_imported_as_its_module(write: Write) -> None:
    write("shop/__init__.py")
    write("shop/pay/__init__.py", "fee = 3")
    file = write("shop/pay/steps.py", "from . import fee\nfrom .. import pay\ndef charge(): ...")
    assert Handlers.collect(file).find_handler("shop.pay.steps.charge") is not None


def test_a_package_gives_all_modules_except_tests_and_private_ones(write: Write) -> None:
    folder = write("shop/__init__.py", "def top(): ...").parent
    write("shop/pay/__init__.py")
    write("shop/pay/steps.py", "def charge(): ...")
    for name in ("_hidden", "__main__", "test_pay", "tests/__init__", "conftest"):
        write(f"shop/{name}.py", "raise AssertionError('imported')")
    handlers = Handlers.collect(folder)
    assert handlers.find_handler("shop.top") is not None
    assert handlers.find_handler("shop.pay.steps.charge") is not None
    assert Handlers.collect("shop").find_handler("charge") is not None


def test_a_directory_without_init_gives_its_files(write: Write) -> None:
    write("steps/a.py", "def one(): ...")
    write("steps/b.py", "import a\ndef two(): ...")
    handlers = Handlers.collect(write("steps/_c.py", "1/0").parent)
    assert {True} == {handlers.find_handler(name) is not None for name in ("a.one", "b.two")}


def test_files_with_the_same_name_in_two_directories_are_separate_modules(write: Write) -> None:
    one, two = write("one/steps.py", "def a(): ..."), write("two/steps.py", "def b(): ...")
    handlers = Handlers.collect(one, two)
    first, second = handlers.find_handler("a"), handlers.find_handler("b")
    assert first is not None
    assert second is not None
    assert "steps" == first.module
    assert second.module.startswith("steps_")
    assert second.module == reloaded(one, two).module


def reloaded(one: Path, two: Path):  # type: ignore[no-untyped-def]
    return Handlers.collect(one, two, reload=True).find_handler("b")


@pytest.mark.parametrize("name", ["calendar", "logging", "this"])
def test_a_file_named_like_a_standard_module_does_not_replace_it(write: Write, name: str) -> None:
    before = sys.modules.get(name)
    match = Handlers.collect(write(f"{name}.py", "def charge(): ...")).find_handler("charge")
    assert match is not None
    assert match.module.startswith(f"{name}_")
    assert before is sys.modules.get(name)


def test_the_name_of_a_file_need_not_be_an_identifier(write: Write) -> None:
    assert Handlers.collect(write("my-steps.v2.py", "def charge(): ...")).find_handler(
        "my_steps_v2.charge"
    )


def test_modules_are_searched_in_the_current_directory_too(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write("nearby.py", "def charge(): ...").parent)
    assert Handlers.collect("nearby").find_handler("nearby.charge") is not None


# ------------------------------------------------------------------------------- failures


def error_of(source: object) -> str:
    with pytest.raises(HandlerImportError) as caught:
        Handlers.collect(source)
    return str(caught.value)


def test_an_error_of_tasker_is_reported_without_its_class(write: Write) -> None:
    file = write("unnamed.py", "from tasker import handler\n\nhandler('')\n")
    assert f"{file}:3: the name given to @handler must not be empty (while importing" in (
        error_of(file)
    )


def test_a_syntax_error_is_reported_with_file_line_and_column(write: Write) -> None:
    file = write("broken.py", "a = 1\ndef b(:\n")
    assert f"{file}:2:7: SyntaxError: invalid syntax (while importing handlers from {file})" == (
        error_of(file)
    )


def test_an_error_at_import_is_reported_with_the_line_in_the_users_code(write: Write) -> None:
    helper = write("settings.py", "import json\n\ndef read():\n    return json.loads('{')\n")
    file = write("broken.py", "import settings\n\nsettings.read()\n")
    message = error_of(file)
    assert message.startswith(f"{helper}:4: JSONDecodeError: Expecting property name")
    assert message.endswith(f"(while importing handlers from {file})")


def test_a_missing_module_is_reported_where_it_is_imported(
    write: Write,
) -> None:
    file = write("broken.py", "\nimport nowhere_at_all\n")
    assert f"{file}:2: ModuleNotFoundError: No module named 'nowhere_at_all'" in error_of(file)


def test_an_error_in_a_submodule_stops_the_whole_package(write: Write) -> None:
    folder = write("shop/__init__.py").parent
    file = write("shop/pay.py", "charge = undefined")
    assert f"{file}:1: NameError: name 'undefined' is not defined" in error_of(folder)


def test_a_module_that_exits_is_reported(write: Write) -> None:
    file = write("broken.py", "import sys\nsys.exit(3)")
    assert f"{file}:2: SystemExit: importing it exits the program" in error_of(file)


def test_a_failed_module_is_removed_and_the_cause_is_kept(write: Write) -> None:
    with pytest.raises(HandlerImportError) as caught:
        Handlers.collect(write("broken.py", "1 / 0"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "broken" not in sys.modules


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "nowhere.at.all",
            "module 'nowhere' not found (needed by the handlers from nowhere.at.all)",
        ),
        ("tasker.nowhere", "module 'tasker.nowhere' not found"),
        ("nowhere.py", "nowhere.py does not exist"),
        ("no/where", "no/where does not exist"),
        ("not a name", "'not a name' is neither the name of a module nor a path that exists"),
        ("", "'' is neither"),
    ],
)
def test_a_missing_source_is_reported(source: str, message: str) -> None:
    assert error_of(source).startswith(message)


def test_other_files_and_empty_directories_are_reported(write: Write) -> None:
    text = write("some/handlers.txt", "hello")
    assert f"{text} is not a Python file; its name must end in .py" == error_of(text)
    assert f"{text.parent} has no handlers: it contains no .py files" == error_of(text.parent)


def test_a_package_whose_name_is_taken_is_reported(write: Write) -> None:
    assert "as module 'pydantic': that name already refers to" in error_of(
        write("pydantic/__init__.py").parent
    )


def test_paths_are_shown_relative_to_the_current_directory(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write("app/broken.py", "1/0").parent.parent)
    assert error_of("app/broken.py").startswith("app/broken.py:1: ZeroDivisionError")


# ------------------------------------------------------------------------------- reloading


def result(handlers: Handlers) -> object:
    match = handlers.find_handler("charge")
    assert match is not None
    return call(match)


def test_without_reload_a_changed_file_is_not_imported_again(write: Write) -> None:
    file = write("steps.py", "def charge(): return 1")
    assert 1 == result(Handlers.collect(file))
    write("steps.py", "def charge(): return 2")
    assert 1 == result(Handlers.collect(file))


def test_reload_imports_changed_files_and_their_siblings(write: Write) -> None:
    write("gateway.py", "fee = 1")
    file = write("steps.py", "from gateway import fee\ndef charge(): return fee")
    before = Handlers.collect(file)
    assert {file, file.parent / "gateway.py"} == before.watched_files()
    write("gateway.py", "fee = 2")
    after = Handlers.collect(file, reload=True)
    assert (1, 2) == (result(before), result(after))


@pytest.mark.parametrize("source", ["shop", "shop.pay", "shop/pay.py", "shop"])
def test_reload_finds_modules_of_packages_by_name_and_path(
    write: Write, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    root = write("shop/__init__.py").parent.parent
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    write("shop/gateway.py", "fee = 1")
    write("shop/pay.py", "from shop.gateway import fee\ndef charge(): return fee")
    assert 1 == result(Handlers.collect(source))
    write("shop/gateway.py", "fee = 2")
    assert 2 == result(Handlers.collect(source, reload=True))


def test_reload_of_a_module_object_returns_the_new_module(write: Write) -> None:
    Handlers.collect(write("steps.py", "def charge(): return 1"))
    old = sys.modules["steps"]
    write("steps.py", "def charge(): return 2")
    assert 2 == result(Handlers.collect(old, reload=True))


def test_a_failed_reload_keeps_the_old_modules(write: Write) -> None:
    file = write("steps.py", "def charge(): return 1")
    handlers = Handlers.collect(file)
    module = sys.modules["steps"]
    write("steps.py", "def charge(:")
    with pytest.raises(HandlerImportError, match="SyntaxError"):
        Handlers.collect(file, reload=True)
    assert module is sys.modules["steps"]
    assert 1 == result(handlers)


def test_a_program_that_runs_at_import_is_reported_with_a_fix(write: Write) -> None:
    """
    A pattern of every first example; the coroutine it leaves causes no warning.
    """
    file = write("program.py", "import asyncio\nasync def main(): ...\nasyncio.run(main())")

    async def load() -> None:
        with pytest.raises(HandlerImportError, match='below `if __name__ == "__main__":`'):
            Handlers.collect(file)

    asyncio.run(load())


def test_a_missing_file_is_reported_with_a_similar_name(write: Write) -> None:
    file = write("orders.py", "def charge(): ...")

    with pytest.raises(HandlerImportError, match=r"order.py does not exist; did you mean 'orders"):
        Handlers.collect(file.with_name("order.py"))


def test_a_template_given_as_handlers_is_reported(write: Write) -> None:
    file = write("sell.yaml", "name: sell")

    with pytest.raises(HandlerImportError, match=r"sell\.yaml is a template"):
        Handlers.collect(file)


def test_an_invalid_workflow_is_reported_once_with_its_position(write: Write) -> None:
    text = """
        from tasker import Workflow
        sell = Workflow("shop.sell", version="1.0.0")
        @sell.step(retry=3)
        def charge(): ...
    """
    file = write("sell.py", textwrap.dedent(text))

    with pytest.raises(HandlerImportError) as raised:
        Handlers.collect(file)

    place = f"{file}:4: "
    assert str(raised.value).startswith(
        f"{place}retry must be a Retry such as Retry(max_attempts=3)"
    )
    assert 1 == str(raised.value).count(place)
