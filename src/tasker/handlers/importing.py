"""Imports modules that contain handlers: by name, from a file, from a directory."""

import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tasker.errors import HandlerImportError, InvalidTemplate, TaskerError
from tasker.suggest import did_you_mean_file

_SKIPPED = ("test", "tests", "conftest")  #: submodules that contain no handlers
_TEMPLATES = (".yaml", ".yml", ".json")


class ModuleOrigin(NamedTuple):
    """The origin of a module, sufficient for another process to import it."""

    name: str  #: its name in `sys.modules`
    file: str | None = None  #: path of a module that cannot be imported by name
    root: str | None = None  #: directory that must be on the import path

    def load(self) -> ModuleType:
        """Import the module. Exceptions of the module propagate."""
        if self.root is not None and self.root not in sys.path:
            sys.path.insert(0, self.root)
        importlib.invalidate_caches()
        return importlib.import_module(self.name) if self.file is None else _import_file(self)


def _import_file(origin: ModuleOrigin) -> ModuleType:
    module = sys.modules.get(origin.name)
    if module is not None:
        return module
    spec = importlib.util.spec_from_file_location(origin.name, origin.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{origin.file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[origin.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[origin.name]
        raise
    return module


def find_module_origin(module: ModuleType) -> ModuleOrigin:
    """Return the origin from which another process can import `module`."""
    name, file = module.__name__, getattr(module, "__file__", None)
    if file is None or name == "__main__":
        return ModuleOrigin(name)
    path = Path(file)
    levels = name.count(".") + (path.name == "__init__.py")
    root = path.parents[levels]
    by_name = root.joinpath(*name.split(".")).with_suffix(".py") == path or levels
    return ModuleOrigin(name, None if by_name else file, str(root))


# ------------------------------------------------------------------ locating sources


def is_path_source(source: str) -> bool:
    """Return whether a source given as text is a file or directory rather than a module name."""
    return bool(source) and (
        source.endswith((".py", *_TEMPLATES))
        or "/" in source
        or os.sep in source
        or Path(source).is_dir()
    )


def locate_modules(source: str | Path) -> list[ModuleOrigin]:
    """Return the modules of a source.

    Args:
        source: A dotted module name, or the path of a file or directory.

    Raises:
        HandlerImportError: The source does not exist.
    """
    if isinstance(source, str) and not is_path_source(source):
        return [_find_origin_by_name(source)]
    path = Path(source).resolve()
    if path.is_dir():
        if (path / "__init__.py").exists():
            return [_package_origin(path / "__init__.py")]
        files = sorted(file for file in path.glob("*.py") if not _is_skipped_module(file.stem))
        if not files:
            raise HandlerImportError(f"{source} has no handlers: it contains no .py files")
        return [_single_file_origin(file) for file in files]
    if not path.is_file():
        raise HandlerImportError(f"{source} does not exist{did_you_mean_file(path, ('.py',))}")
    if path.suffix in _TEMPLATES:
        raise HandlerImportError(
            f"{source} is a template, not a Python file with handlers; pass it as a template"
        )
    if path.suffix != ".py":
        raise HandlerImportError(f"{source} is not a Python file; its name must end in .py")
    return [
        _package_origin(path)
        if (path.parent / "__init__.py").exists()
        else _single_file_origin(path)
    ]


def _find_origin_by_name(name: str) -> ModuleOrigin:
    if not all(part.isidentifier() for part in name.split(".")):
        raise HandlerImportError(f"{name!r} is neither the name of a module nor a path that exists")
    top = name.partition(".")[0]
    known = top in sys.modules or importlib.util.find_spec(top) is not None
    return ModuleOrigin(name, root=None if known else str(Path.cwd()))


def _package_origin(file: Path) -> ModuleOrigin:
    """Return the origin of a package's module, named from the topmost directory with an
    `__init__.py`.
    """
    names = [] if file.name == "__init__.py" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return ModuleOrigin(".".join(names), root=str(folder))


def _single_file_origin(file: Path) -> ModuleOrigin:
    """Return the origin of a file outside packages, named by its stem if that name is free."""
    name, root = file.stem.replace("-", "_").replace(".", "_"), str(file.parent)
    taken = sys.modules.get(name)
    same = taken is not None and _module_file(taken) == file
    if not same and (taken is not None or name in sys.stdlib_module_names):
        name = f"{name}_{zlib.crc32(str(file).encode()):08x}"
    return ModuleOrigin(name, str(file), root)


def _module_file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _is_skipped_module(name: str) -> bool:
    return name.startswith(("_", "test_")) or name in _SKIPPED


# ----------------------------------------------------------------------- importing


def import_with_submodules(origin: ModuleOrigin, *, source: object) -> list[ModuleType]:
    """Import a module. If it is a package, import all of its modules except tests and private ones.

    Args:
        origin: The module.
        source: The source as given, for error messages.

    Raises:
        HandlerImportError: A module cannot be imported; the message has the file, line and reason.
    """
    module = _import_origin(origin, source)
    return [module, *_import_submodules(module, source)]


def _import_submodules(package: ModuleType, source: object) -> Iterator[ModuleType]:
    for entry in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
        if not _is_skipped_module(entry.name.rpartition(".")[2]):
            module = _import_origin(ModuleOrigin(entry.name), source)
            yield module
            yield from _import_submodules(module, source)


def _import_origin(origin: ModuleOrigin, source: object) -> ModuleType:
    try:
        module = origin.load()
    except (Exception, SystemExit) as error:  # a module's code may raise anything
        reason = _import_error_reason(origin, source, error)
        _close_coroutines_in_traceback(error)
        raise HandlerImportError(reason) from error
    expected = _expected_module_files(origin)
    if expected is not None and _module_file(module) not in expected:
        raise HandlerImportError(
            f"cannot import {source} as module {origin.name!r}: that name already refers to"
            f" {display_path(_module_file(module))}"
        )
    return module


def _expected_module_files(origin: ModuleOrigin) -> set[Path] | None:
    """Return the files from which a module below a root may be imported, or None for any."""
    if origin.root is None or origin.file is not None:
        return None
    path = Path(origin.root).joinpath(*origin.name.split("."))
    if not path.exists() and not path.with_suffix(".py").exists():
        return None
    return {path.with_suffix(".py"), path / "__init__.py"}


def _import_error_reason(origin: ModuleOrigin, source: object, error: BaseException) -> str:
    """Return the error on one line, with its location in the user's code."""
    absent = error.name if isinstance(error, ModuleNotFoundError) else None
    if absent is not None and f"{origin.name}.".startswith(f"{absent}."):
        return f"module {absent!r} not found (needed by the handlers from {source})"
    if isinstance(error, InvalidTemplate):  # its problems include the location
        return f"{_join_error_lines(error)} (while importing handlers from {source})"
    if isinstance(error, SyntaxError) and error.filename:
        where, what = _format_position(error.filename, error.lineno, error.offset), error.msg
    else:
        where = _last_user_line(error, origin)
        what = _describe_error(error)
    kind = "" if isinstance(error, TaskerError) else f"{type(error).__name__}: "
    return f"{where}{kind}{what} (while importing handlers from {source})"


def _describe_error(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "importing it exits the program"
    if isinstance(error, RuntimeError) and "running event loop" in str(error):
        return f'{error}: move the call below `if __name__ == "__main__":`, so that imports skip it'
    return str(error)


def _join_error_lines(error: InvalidTemplate) -> str:
    return "; ".join(
        str(replace(problem, file=display_path(Path(problem.file))) if problem.file else problem)
        for problem in error.problems
    )


def _close_coroutines_in_traceback(error: BaseException) -> None:
    """Close coroutines left by a failed `asyncio.run`, so Python does not warn about them."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in list(frame.f_locals.values()):
            if inspect.iscoroutine(value):
                value.close()


def _last_user_line(error: BaseException, origin: ModuleOrigin) -> str:
    """Return the last line of user code in the traceback."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
        and frame.filename != __file__
        and f"{os.sep}importlib{os.sep}" not in frame.filename
    ]
    own = [frame for frame in frames if origin.root and frame.filename.startswith(origin.root)]
    best = next(
        (frame for frame in reversed(own or frames) if "site-packages" not in frame.filename), None
    )
    return _format_position(best.filename, best.lineno, None) if best else ""


def _format_position(file: str, line: int | None, column: int | None) -> str:
    return ":".join(str(part) for part in (display_path(Path(file)), line, column) if part) + ": "


def display_path(path: Path | None) -> str:
    """Return a path for messages, relative to the current directory if it is below that."""
    if path is None:
        return "code without a file"
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


# ------------------------------------------------------------------------ reloading


def find_reload_roots(module: ModuleType) -> set[Path]:
    """Return the directory whose modules are reloaded with `module`: its package's or its own."""
    file = _module_file(module)
    if file is None or module.__name__ == "__main__":
        return set()
    levels = module.__name__.count(".") + (file.name == "__init__.py")
    return {file.parents[max(levels - 1, 0)]}


def find_imported_files(roots: set[Path]) -> dict[str, Path]:
    """Return the files of the imported modules below `roots`, by module name.

    Installed packages, Tasker itself and the main program are excluded.
    """
    modules = {}
    for name, module in list(sys.modules.items()):
        file = _module_file(module)
        if (
            file is not None
            and name != "__main__"
            and name.partition(".")[0] != "tasker"
            and not {"site-packages", "dist-packages"} & set(file.parts)
            and any(file.is_relative_to(root) for root in roots)
        ):
            modules[name] = file
    return modules


class UnloadedModules:
    """Modules removed from `sys.modules` to be imported again.

    As a context manager: if the block fails, the previous modules are restored.
    """

    def __init__(self, names: set[str]) -> None:
        self._before = {name: sys.modules[name] for name in names if name in sys.modules}

    def __enter__(self) -> None:
        for name, module in self._before.items():
            del sys.modules[name]
            cached = getattr(module, "__cached__", None)
            if cached:  # a file changed twice within a second looks unchanged
                Path(cached).unlink(missing_ok=True)

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is not None:
            sys.modules.update(self._before)
