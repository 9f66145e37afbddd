"""Creates instances of the classes named in the settings."""

import importlib
import sys
from pathlib import Path
from typing import TypeVar

from tasker.errors import InvalidSettings

T = TypeVar("T")


def create_configured_instance(setting: str, path: str, base: type[T]) -> T:
    """Create an instance of the class that a setting names.

    Args:
        setting: The name of the setting, for error messages.
        path: The class, as `package.module:Class`; the current directory is searched as well.
        base: The class that it must extend.

    Raises:
        InvalidSettings: The class does not exist or does not extend `base`.
    """

    def invalid_setting_error(why: str) -> InvalidSettings:
        return InvalidSettings(f"{setting} = {path!r}: {why}")

    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise invalid_setting_error("write it as package.module:Class")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        loaded = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # a user's module may raise anything on import
        message = f"{type(error).__name__}: {error}"
        raise invalid_setting_error(f"{module} cannot be imported ({message})") from error
    if loaded is None:
        raise invalid_setting_error(f"{module} has no {name}")
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise invalid_setting_error(f"{name} is not a subclass of tasker.api.auth.{base.__name__}")
    try:
        return loaded()
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise invalid_setting_error(
            f"calling {name}() without arguments failed: {message}"
        ) from error
