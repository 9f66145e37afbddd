"""A browser for measurements and tests: Debian's Chromium, or the one in `TASKER_CHROMIUM`."""

import importlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def find_chromium() -> str | None:
    """Return the path of a browser, or None."""
    return (
        os.environ.get("TASKER_CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("google-chrome")
    )


def has_playwright() -> bool:
    """Return whether Playwright is installed, as by `make test-ui`."""
    return importlib.util.find_spec("playwright") is not None


@contextmanager
def launched(path: str) -> Iterator[Any]:
    """Run a browser until the block ends; yield Playwright's object for it.

    An event loop of Playwright runs in this thread meanwhile, so the block cannot run another one.
    """
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    playwright_api = importlib.import_module("playwright.sync_api")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
