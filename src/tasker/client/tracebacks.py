"""Short tracebacks for errors that concern the call, not the code of the store or its driver."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tasker.errors import Misuse, Rejected

P = ParamSpec("P")
T = TypeVar("T")


def shorten_tracebacks(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Remove the frames below a client's method from the traceback of `Rejected` and `Misuse`."""

    @wraps(method)
    async def call_with_short_traceback(*args: P.args, **options: P.kwargs) -> T:
        try:
            return await method(*args, **options)
        except (Rejected, Misuse) as error:
            raise error.with_traceback(None) from None

    return call_with_short_traceback
