"""Runs steps: claims them, calls their handlers, settles what came of it.

`Worker` is imported when it is first used: who only names log records after attempts
need not wait for it.
"""

from typing import TYPE_CHECKING, Any

from tasker.engine.logs import AttemptFilter

if TYPE_CHECKING:
    from tasker.engine.worker import Worker

__all__ = ["AttemptFilter", "Worker"]


def __getattr__(name: str) -> Any:  # whatever the name stands for
    if name != "Worker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tasker.engine.worker import Worker

    return Worker
