"""Handlers that run in processes of their own, which import this module."""

import os
import sys
import time

from tasker import Context, PermanentError, SyncContext, handler

PARENT = os.environ.setdefault("TASKER_TEST_PARENT", str(os.getpid()))


@handler(process=True)
def where(amount: int, give: int) -> object:
    return {"total": amount + give, "elsewhere": str(os.getpid()) != PARENT}


@handler(process=True)
def fail_once(context: Context) -> str:
    if context.attempt == 1:
        raise OSError("once")
    return "second"


@handler(process=True)
def fail() -> None:
    raise PermanentError("no good", code="NO_GOOD")


@handler(process=True)
def die() -> None:
    os._exit(7)


@handler(process=True)
def endless() -> None:
    while True:
        pass


@handler(process=True)
def tick(context: Context) -> int:
    for _ in range(20):
        time.sleep(0.1)
        context.heartbeat()
    return context.attempt


@handler(process=True)
def leave() -> None:
    sys.exit("enough")


@handler(process=True)
def interrupt() -> None:
    raise KeyboardInterrupt


@handler(process=True)
def raise_what_cannot_travel() -> None:
    class Local(BaseException):
        pass

    raise Local("far")


@handler(process=True)
def call_once(context: SyncContext) -> None:
    context.once("only", str)


@handler(process=True)
def code_of_failure(score: int | None, context: SyncContext) -> str | None:
    failure = context.failure_of("score")
    return None if failure is None else failure.code


@handler(process=True)
def chatter(ctx: SyncContext) -> None:
    """Log and print in a process, and leave a line open."""
    ctx.logger.info("computing %d", 7, extra={"row": 1})
    print("printed")
    print("open", end="")
