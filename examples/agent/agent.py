"""An agent that answers a customer: a loop of durable calls in one handler.

Each turn asks the model what to do next, and does it: calls a tool, waits for a person, or ends.
Every model call and every tool call is recorded, so that a crash, a retry or a wait of days repeats
none of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tasker import AsyncContext, PermanentError, Workflow

MOST_TURNS = 20
NEEDS_APPROVAL = {"refund"}  #: tools that a person must allow

Message = Mapping[str, Any]
Tools = Mapping[str, Callable[..., Any]]


class Model(Protocol):
    """A language model. Its answer has either a `tool` with `arguments`, or an `answer`."""

    async def __call__(self, messages: list[Message]) -> Message: ...


def make_agent(model: Model, tools: Tools) -> Workflow:
    """Return the workflow of an agent with a model and its tools."""
    flow = Workflow("support.agent", version="1.0.0", description="Answers a customer.")

    @flow.step
    async def converse(ctx: AsyncContext, question: str) -> str:
        messages: list[Message] = [{"role": "user", "content": question}]
        for turn in range(MOST_TURNS):
            reply = await ctx.once(f"model-{turn}", model, messages)
            if "answer" in reply:
                return str(reply["answer"])
            tool, arguments = reply["tool"], reply.get("arguments", {})
            if tool in NEEDS_APPROVAL and not await approved(ctx, turn):
                result: Any = "a person refused this call"
            else:
                result = await ctx.once(f"tool-{turn}", tools[tool], **arguments)
            messages = [*messages, reply, {"role": "tool", "name": tool, "content": result}]
        raise PermanentError(f"the agent gave no answer within {MOST_TURNS} turns", code="TURNS")

    return flow


async def approved(ctx: AsyncContext, turn: int) -> bool:
    """Wait up to two days for a person's decision, the signal `approval`."""
    decision = await ctx.wait_signal(
        "approval", timeout="2d", on_timeout="continue", call_name=f"approval-{turn}"
    )
    return bool(decision and decision["approved"])
