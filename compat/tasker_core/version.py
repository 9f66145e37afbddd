"""The version of this package."""

from importlib.metadata import version as installed_version

__version__ = "0.1.0"


def get_version() -> str:
    """Return the version of this package."""
    return __version__


def get_rust_version() -> str:
    """Return the version of the engine, which is Tasker's."""
    return f"tasker-workflows {installed_version('tasker-workflows')}"


def health_check() -> bool:
    """Return True: the package is imported."""
    return True


def version() -> str:
    """Return the version of this package."""
    return __version__
