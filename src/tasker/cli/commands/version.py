"""`tasker version`: the versions of Tasker and its dependencies."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import typer

from tasker.cli.app import Invocation, register_command

app = typer.Typer(add_completion=False)

_OPTIONAL = ("asyncpg", "uvloop", "pebble", "watchfiles", "fastapi", "httpx")


@register_command(app, "version", store=None)
def print_versions(invocation: Invocation) -> None:
    """Print the versions of Tasker and its dependencies."""
    versions = {
        "tasker": _installed_version("tasker-workflows"),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        **{package: _installed_version(package) for package in _OPTIONAL},
    }
    if invocation.as_json:
        invocation.print_json(versions)
        return
    for name, value in versions.items():
        invocation.stdout_console.print(f"{name} {value or '(not installed)'}")


def _installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version_of(package)
    except PackageNotFoundError:
        return None
