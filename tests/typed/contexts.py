"""What type checkers say of handlers and their contexts."""

from datetime import datetime
from typing import Any, assert_type

from tasker import (
    AsyncContext,
    Client,
    Context,
    Step,
    StepHandler,
    SyncClient,
    SyncContext,
    Task,
    handler,
)
from tasker.testing import make_context


@handler
async def awaited(order: str, ctx: AsyncContext) -> int:
    assert_type(ctx.client, Client)
    assert_type(await ctx.client.create_task("n.t", {"order": order}, delay="5m"), Task)
    assert_type(await ctx.client.run("n.t"), Task)
    assert_type(await ctx.client.steps("id"), list[Step])
    await ctx.checkpoint({"row": 1})
    await ctx.client.create_task("n.t", idempotncy_key="k")  # type: ignore[call-overload]  # pyright: ignore
    await ctx.client.create_task("n.t", delay=[5])  # type: ignore[call-overload]  # pyright: ignore
    ctx.client.creat_task("n.t")  # type: ignore[attr-defined]  # pyright: ignore
    ctx.checkpoint(1)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    return 1


@handler("payments.charge", version="1.0.0")
def blocking(ctx: SyncContext) -> str:
    assert_type(ctx.client, SyncClient)
    assert_type(ctx.client.create_task("n.t"), Task)
    assert_type(ctx.client.run("n.t", timeout=5), Task)
    assert_type(ctx.checkpoint(1), None)
    ctx.client.creat_task("n.t")  # type: ignore[attr-defined]  # pyright: ignore
    return ctx.task_id


def facts(ctx: Context) -> None:
    task_id: str = ctx.task_id
    assert_type(ctx.now(), datetime)
    assert_type(ctx.get_input(task_id), Any)
    print(ctx.client)  # type: ignore[attr-defined]  # pyright: ignore


class Plain(StepHandler):
    def call(self, context: Context) -> dict[str, object]:
        return {"order": context.get_input("order")}


class Awaited(StepHandler):
    async def call(self, order: str, context: AsyncContext) -> int:
        return await awaited(order, context)


async def decorated_functions_keep_their_signatures() -> None:
    assert_type(make_context(), AsyncContext)
    assert_type(make_context(blocking=True, attempt=2), SyncContext)
    assert_type(await awaited("o1", make_context()), int)
    assert_type(blocking(make_context(blocking=True)), str)
    blocking(make_context())  # type: ignore[arg-type]  # pyright: ignore
    await awaited(7, make_context())  # type: ignore[arg-type]  # pyright: ignore
