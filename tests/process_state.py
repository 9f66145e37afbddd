"""The state of the process that all tests share, and that each must leave as it was.

A test that needs what an earlier one has left behind depends on the order of the tests. The
fixtures of this module apply in the folders whose `conftest.py` imports them.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import NullHandler

import pytest

import tasker.engine.step_logs  # noqa: F401  # its loggers have their handlers from here on

_OF_PYTEST = b"PYTEST_CURRENT_TEST"  #: differs in each phase of a test
_OF_SERVERS = "uvicorn"  #: loggers that each server in this process sets up
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@contextmanager
def unchanged_process() -> Iterator[None]:
    """Require that a block leaves the process as it was.

    That is its environment, the current directory, the standard streams, the levels and
    handlers of loggers, and the handlers of signals.

    Raises:
        AssertionError: Something was changed.
    """
    before = _state()
    yield
    after = _state()
    assert before == after, f"left for later tests: {', '.join(_changes(before, after))}"


@pytest.fixture(scope="module", autouse=True)
def unchanged_by_module() -> Iterator[None]:
    """Fail a module whose fixtures leave state of the process to other modules."""
    with unchanged_process():
        yield


@pytest.fixture(autouse=True)
def unchanged_by_test() -> Iterator[None]:
    """Fail a test that leaves state of the process to later tests."""
    with unchanged_process():
        yield


@contextmanager
def restored_logging() -> Iterator[None]:
    """Restore the levels of all loggers, and the handlers of the root, after the block."""
    root = logging.root
    handlers, levels = list(root.handlers), {logger: logger.level for logger in _loggers()}
    yield
    root.handlers[:] = handlers
    for logger in _loggers():
        logger.setLevel(levels.get(logger, logging.NOTSET))


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(each for each in known if isinstance(each, logging.Logger))]


def _state() -> tuple[Mapping[object, object], ...]:
    environment = dict(vars(os.environ)["_data"])  # a hundredth of the time of `copy`
    environment.pop(_OF_PYTEST, None)
    return (
        environment,
        {
            "directory": os.getcwd(),  # noqa: PTH109  # `Path.cwd` takes ten times as long
            "streams": (sys.stdin, sys.stdout, sys.stderr),
            "logging.disable": logging.root.manager.disable,
        },
        {
            f"logger {logger.name}": (logger.level, *logger.handlers)
            for logger in _loggers()
            if logger.level or any(type(each) is not NullHandler for each in logger.handlers)
            if not logger.name.startswith(_OF_SERVERS)
        },
        {number: _handler_of(number) for number in _SIGNALS},
    )


def _handler_of(number: signal.Signals) -> object:
    """Return the handler of a signal; event loops leave Python's own for SIGINT.

    A shell starts its background commands with SIGINT ignored.
    """
    handler = signal.getsignal(number)
    is_ignored = number == signal.SIGINT and handler is signal.SIG_IGN
    return signal.default_int_handler if is_ignored else handler


def _changes(
    before: tuple[Mapping[object, object], ...], after: tuple[Mapping[object, object], ...]
) -> Iterator[str]:
    """List what differs, without the values of variables, which may be secret."""
    for was, now in zip(before, after, strict=True):
        for key in sorted({*was, *now}, key=str):
            if was.get(key) != now.get(key):
                yield os.fsdecode(key) if isinstance(key, bytes) else f"{key}: {now.get(key)}"
