"""Claiming steps that are under limits: see postgres/functions/claim_limited_steps.sql."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from tasker.model import Claim, WorkerId
from tasker.store.gate_cursor import START, GatePosition
from tasker.store.sqlite.statements import execute, fetch, fetch_one, json_text

_LAST = 2**63 - 1  #: greater than all ids
_MOST = 500  #: queues of gates that one claim looks at


class LimitedClaimResult(NamedTuple):
    """The result of one claim."""

    claims: list[Claim]
    after: GatePosition  #: where the next claim begins
    cut: bool  #: whether gates remain that were not visited
    next_due: float | None


class _LimitedClaim:
    """One claim of steps that are under limits."""

    def __init__(self, on: sqlite3.Connection, worker: WorkerId, limit: int, now: float) -> None:
        self._on = on
        self._worker = worker
        self._limit = limit
        self._now = now
        rows = fetch(on, "limited_queues_of_worker", worker=worker)
        self._served = {base + priority for (base,) in rows for priority in range(5)}
        self._rooms: dict[int, int] = {0: limit}
        self._spent: dict[int, int] = {}
        self._waits: list[float] = []  #: seconds until more steps may be let through
        self._seen = 0
        self._chosen: list[tuple[str, int]] = []

    def claim_from_gates(self, after: GatePosition) -> LimitedClaimResult:
        """Visit the gates after a place, and those before it."""
        place, cut = after, False
        rounds = [(after, None), (START, after)] if after != START else [(START, None)]
        for begin, end in rounds:
            for outer, gate, queues in self._gates_with_due_steps(begin, end):
                if len(self._chosen) >= self._limit or self._seen >= _MOST:
                    cut = True
                    break
                if self._choose_steps(outer, gate, queues):
                    place = GatePosition(outer, gate)
            if cut:
                break
        claims = self._claim_chosen_steps()
        next_due = min(self._waits, default=None) if len(claims) < self._limit and not cut else None
        return LimitedClaimResult(claims, place, cut, next_due)

    def _gates_with_due_steps(
        self, begin: GatePosition, end: GatePosition | None
    ) -> Iterator[tuple[int, int, list[int]]]:
        """Yield (outer gate, gate, served queues with due steps), beyond `begin` up to `end`."""
        outer, gate, queue = begin.outer_gate, begin.gate, _LAST
        current: tuple[int, int] | None = None
        queues: list[int] = []
        while row := fetch_one(
            self._on,
            "next_gate_queue_with_enqueued_steps",
            outer_gate=outer,
            gate=gate,
            queue=queue,
        ):
            outer, gate, queue, run_at = row
            if (outer, gate) != current:
                if current is not None and queues:
                    yield *current, queues
                current, queues = (outer, gate), []
                if end is not None and current > end:
                    return
            self._seen += 1
            if queue not in self._served:
                continue
            if run_at > self._now:
                self._waits.append(run_at - self._now)
            elif self._gate_capacity(outer) <= 0:
                current, gate = None, _LAST
            elif self._gate_capacity(gate) <= 0:
                queue = _LAST
            else:
                queues.append(queue)
        if current is not None and queues:
            yield *current, queues

    def _gate_capacity(self, gate: int) -> int:
        """Return how many steps a gate lets through."""
        if gate not in self._rooms:
            execute(self._on, "delete_ended_gate_claims", gate=gate)
            room, tokens, rate = fetch_one(self._on, "gate_capacity", gate=gate, now=self._now)
            self._rooms[gate] = int(room)
            if tokens is not None and tokens < 1:
                self._waits.append((1 - tokens) / rate)
        return self._rooms[gate]

    def _choose_steps(self, outer: int, gate: int, queues: list[int]) -> int:
        """Choose the steps that a gate lets through, those due longest; return how many."""
        room = min(
            self._limit - len(self._chosen), self._gate_capacity(outer), self._gate_capacity(gate)
        )
        place = {"outer_gate": outer, "gate": gate}
        rows = [
            row
            for queue in queues
            for row in fetch(
                self._on, "first_enqueued_steps_of_gate_queue", **place, queue=queue, limit=room + 1
            )
        ]
        due = [row for row in rows if row[2] <= self._now]
        due.sort(key=lambda row: (row[2] - 60 * (row[3] % 5), row))
        self._waits.extend(row[2] - self._now for row in rows if row[2] > self._now)
        chosen = due[:room]
        self._chosen += ((row[0], row[1]) for row in chosen)
        for each in {outer, gate} - {0}:
            self._rooms[each] -= len(chosen)
            self._spent[each] = self._spent.get(each, 0) + len(chosen)
        return len(chosen)

    def _claim_chosen_steps(self) -> list[Claim]:
        if not self._chosen:
            return []
        steps = json_text(self._chosen)
        rows = fetch(
            self._on, "mark_limited_steps_claimed", worker=self._worker, steps=steps, now=self._now
        )
        execute(self._on, "add_gate_claims", steps=steps)
        for gate, taken in self._spent.items():
            execute(self._on, "spend_gate_tokens", gate=gate, taken=taken, now=self._now)
        return [Claim(*row) for row in rows]


def claim_limited_steps(
    on: sqlite3.Connection, worker: WorkerId, limit: int, after: GatePosition, now: float
) -> LimitedClaimResult:
    """Claim up to `limit` due steps that are under limits, starting after a given gate."""
    return _LimitedClaim(on, worker, limit, now).claim_from_gates(after)
