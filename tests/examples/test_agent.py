"""The agent of the examples, with a model that follows a script."""

from typing import Any

import pytest
from examples.agent.agent import MOST_TURNS, Message, make_agent

from tasker import TaskStatus
from tasker.testing import WorkflowRun, run_workflow_sync


class ScriptedModel:
    """A model that gives the replies of a script, and fails at given calls."""

    def __init__(self, *replies: Message, failing: int = 0) -> None:
        self.replies = replies
        self.failing = failing
        self.seen: list[list[Message]] = []

    async def __call__(self, messages: list[Message]) -> Message:
        self.seen.append(messages)
        if self.failing:
            self.failing -= 1
            raise ConnectionError("overloaded")
        turn = len([message for message in messages if message["role"] == "tool"])
        return self.replies[min(turn, len(self.replies) - 1)]


LOOK_UP: Message = {"role": "assistant", "tool": "look_up", "arguments": {"order": "o-1"}}
REFUND: Message = {"role": "assistant", "tool": "refund", "arguments": {"cents": 500}}
ANSWER: Message = {"role": "assistant", "answer": "It is refunded."}


class Tools:
    """The tools of the agent, which count their calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def look_up(self, order: str) -> dict[str, Any]:
        self.calls.append(f"look_up {order}")
        return {"order": order, "cents": 500}

    async def refund(self, cents: int) -> str:
        self.calls.append(f"refund {cents}")
        return "refunded"

    def run(self, model: ScriptedModel, *signals: tuple[str, Any]) -> WorkflowRun[Any]:
        flow = make_agent(model, {"look_up": self.look_up, "refund": self.refund})
        return run_workflow_sync(flow, {"question": "Where is my money?"}, signals=signals)


def test_an_agent_calls_tools_waits_for_a_person_and_answers() -> None:
    """No model call and no tool call is repeated, though the handler starts again."""
    model, tools = ScriptedModel(LOOK_UP, REFUND, ANSWER), Tools()

    run = tools.run(model, ("approval", {"approved": True}))

    assert "It is refunded." == run.result
    assert ["look_up o-1", "refund 500"] == tools.calls
    assert 3 == len(model.seen)
    assert 2 == run.steps["converse"].attempts
    assert ["user", "assistant", "tool", "assistant", "tool"] == [
        message["role"] for message in model.seen[-1]
    ]


@pytest.mark.parametrize("signals", [(), (("approval", {"approved": False}),)])
def test_without_an_approval_nothing_is_refunded(signals: tuple[tuple[str, Any], ...]) -> None:
    """A person refuses, or does not answer within two days."""
    model, tools = ScriptedModel(LOOK_UP, REFUND, ANSWER), Tools()

    run = tools.run(model, *signals)

    assert TaskStatus.COMPLETE is run.task.status
    assert ["look_up o-1"] == tools.calls
    assert "a person refused this call" == model.seen[-1][-1]["content"]


def test_a_failed_model_call_is_retried_without_repeating_tools() -> None:
    model, tools = ScriptedModel(LOOK_UP, ANSWER, failing=2), Tools()

    run = tools.run(model)

    assert "It is refunded." == run.result
    assert ["look_up o-1"] == tools.calls
    assert 3 == run.steps["converse"].attempts


def test_an_agent_without_an_answer_fails() -> None:
    model, tools = ScriptedModel(LOOK_UP), Tools()

    run = tools.run(model)

    error = run.steps["converse"].error
    assert error is not None
    assert "TURNS" == error["code"]
    assert MOST_TURNS == len(tools.calls)
