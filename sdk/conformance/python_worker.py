"""The handlers of the conformance worker in Python: see README.md."""

import asyncio
import time
from typing import Any

from tasker import (
    AsyncContext,
    Decision,
    Item,
    PermanentError,
    RetryableError,
    SyncContext,
    handler,
)

FIELDS = (
    "step",
    "task_id",
    "namespace",
    "attempt",
    "counted_attempts",
    "max_attempts",
    "idempotency_key",
    "correlation_id",
    "parent_id",
)


@handler("echo")
async def echo(ctx: AsyncContext) -> Any:
    return ctx.input


@handler("describe")
async def describe(ctx: AsyncContext) -> Any:
    fields = {name: getattr(ctx, name) for name in FIELDS}
    template = {"template": ctx.template.name, "version": ctx.template.version}
    data = {"config": ctx.config, "results": dict(ctx.results), "context": ctx.input}
    return fields | template | data | {"checkpoint": ctx.last_checkpoint}


@handler("add")
async def add(ctx: AsyncContext) -> Any:
    return {"sum": ctx.input["a"] + ctx.input["b"]}


@handler("fail_permanent")
async def fail_permanent() -> None:
    raise PermanentError("the card is stolen", code="STOLEN", details={"card": "c-1"})


@handler("fail_retryable")
async def fail_retryable() -> None:
    raise RetryableError("try later", code="LATER", retry_after=7)


@handler("raise")
async def raise_() -> None:
    raise ValueError("boom")


@handler("sleep")
async def sleep(ctx: AsyncContext) -> Any:
    await asyncio.sleep(ctx.input["ms"] / 1000)
    return {"slept": ctx.input["ms"]}


@handler("hangs")
def hangs(ctx: SyncContext) -> Any:
    time.sleep(ctx.input["ms"] / 1000)
    return {"hung": ctx.input["ms"]}


@handler("checkpointing")
async def checkpointing(ctx: AsyncContext) -> Any:
    if ctx.last_checkpoint is None:
        await ctx.checkpoint({"done": 1})
        raise RetryableError("again")
    return {"from": ctx.last_checkpoint}


@handler("checkpoint_twice")
def checkpoint_twice(ctx: SyncContext) -> Any:
    ctx.checkpoint(1)
    time.sleep(0.3)
    ctx.checkpoint(2)
    return {"stored": 2}


@handler("hands_back")
async def hands_back(ctx: AsyncContext) -> Any:
    if ctx.last_checkpoint is None:
        await ctx.hand_back({"row": 5})
    return {"from": ctx.last_checkpoint}


@handler("parent")
async def parent(ctx: AsyncContext) -> Any:
    try:
        return {"child": await ctx.run_task("conformance.child", {"n": 1})}
    except PermanentError:
        raise
    except Exception:
        return {"child": "caught"}


@handler("creates")
async def creates(ctx: AsyncContext) -> Any:
    task = await ctx.client.create_task("child", {"n": 2}, namespace="conformance")
    return {"id": task.id}


@handler("reads_ancestor")
async def reads_ancestor(ctx: AsyncContext) -> Any:
    return {"got": ctx.results[ctx.input["step"]]}


@handler("big")
async def big(ctx: AsyncContext) -> Any:
    return {"text": "x" * ctx.input["n"]}


@handler("no_json")
async def no_json() -> Any:
    return {"list": [1, object()]}


@handler("once")
async def once(ctx: AsyncContext) -> Any:
    value = await ctx.once("draw", lambda: {"drawn": ctx.attempt})
    if ctx.attempt == 1:
        raise RetryableError("again")
    return value


@handler("sleeps")
async def sleeps(ctx: AsyncContext) -> Any:
    await ctx.sleep(60)
    await ctx.sleep(120)
    return {"attempt": ctx.attempt}


@handler("waits")
async def waits(ctx: AsyncContext) -> Any:
    return {"paid": await ctx.wait_signal("paid", timeout=3600)}


@handler("waits_on")
async def waits_on(ctx: AsyncContext) -> Any:
    return {"paid": await ctx.wait_signal("paid", timeout=1, on_timeout="continue")}


@handler("decide")
async def decide() -> Decision:
    return Decision.choose("left", "right")


@handler("decide_none")
async def decide_none() -> Decision:
    return Decision.none("nothing to do")


@handler("which", version="1.0.0")
async def first() -> Any:
    return {"code": "first"}


@handler("which", version="2.0.0")
async def second() -> Any:
    return {"code": "second"}


@handler("which", namespace="elsewhere")
async def elsewhere() -> Any:
    return {"code": "elsewhere"}


@handler("spawns")
async def spawns(page: Item[str], ctx: AsyncContext) -> str:
    await ctx.spawn("step", ctx.input["links"].get(page, []))
    return page


running_attempts = 0


@handler("running")
async def running(ctx: AsyncContext) -> Any:
    global running_attempts
    running_attempts += 1
    counted = running_attempts
    await asyncio.sleep(ctx.input["ms"] / 1000)
    running_attempts -= 1
    return {"running": counted}


@handler("logs")
async def logs(ctx: AsyncContext) -> Any:
    ctx.logger.info("begun", extra={"page": 12})
    ctx.logger.warning("slow")
    ctx.progress(0.25)
    ctx.progress(0.4, "page 12")
    await asyncio.sleep(ctx.input["ms"] / 1000)
    return {"logged": 2}


@handler("logs_many")
async def logs_many(ctx: AsyncContext) -> Any:
    for number in range(ctx.input["n"]):
        ctx.logger.info("record %d", number)
    return {"logged": ctx.input["n"]}


@handler("cursor")
async def cursor(ctx: AsyncContext) -> Any:
    return {"rows": ctx.cursor.end - ctx.cursor.start}
