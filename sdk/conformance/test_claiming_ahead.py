"""Case 57: a worker keeps within the limits of its slots and of its server's answers."""

from collections.abc import Sequence
from typing import Any

import pytest
from sdk.conformance.server import Request, ScriptedServer, Step

Start = Any

SLOTS = 4
LONG = {"ms": 60_000}


@pytest.mark.parametrize(
    ("claim_ahead", "settlements"), [(None, None), (0, 1), (10, 2)], ids=["absent", "0", "10"]
)
def test_case_57_a_worker_keeps_within_its_limits(
    server: ScriptedServer, start: Start, claim_ahead: int | None, settlements: int | None
) -> None:
    """Those that claim ahead and those that do not: of short steps, and then of long ones."""
    server.claim_ahead, server.settlements = claim_ahead, settlements
    server.settle_takes = 0.02
    with start(slots=SLOTS):
        short = [Step("running", {"ms": 2}) for _ in range(200)]
        server.add(*short)
        server.wait_for_outcomes(*short)
        earlier = len(asks_of(server))
        server.add(*[Step("sleep", LONG) for _ in range(30)])
        server.wait(lambda: holds_what_runs(server), "all steps that it holds have slots")

    most = SLOTS + (claim_ahead or 0)
    asks, settles = asks_of(server), server.of_route("settle")
    assert max(step.result["running"] for step in short) <= SLOTS
    assert max(sum(ask.asked for ask in under_way(asks, last)) for last in asks) <= most
    assert max((ask.held + ask.asked for ask in asks[earlier:]), default=0) <= most
    assert max(len(under_way(settles, last)) for last in settles) <= (settlements or 1)


def asks_of(server: ScriptedServer) -> list[Request]:
    """Return the requests whose answers may contain steps."""
    return [each for each in server.requests if each.route in ("claim", "settle")]


def under_way(requests: Sequence[Request], last: Request) -> list[Request]:
    """Return the requests that were in progress when the last of them had arrived."""
    before = requests[: requests.index(last)]
    return [each for each in before if each.ended is None or each.ended > last.at] + [last]


def holds_what_runs(server: ScriptedServer) -> bool:
    """Return whether a worker holds as many long steps as it has slots."""
    held = {step.ticket for step in server.steps if step.status == "in_progress"}
    renewals = server.of_route("renew")
    return SLOTS == len(held) and held == set(renewals[-1].body["held"])
