"""How a claim divides its steps among queues and workers.

See docs/decisions/0015-queues-share-claims-by-weight.md.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from tasker.model import WorkerId

MOST = 5  #: queues that have a share of one claim


class DueQueue(NamedTuple):
    """The due steps of one priority of a queue."""

    id: int
    base: int  #: the id for priority 0
    weight: float


def share_claim_among_queues(due: Sequence[DueQueue], limit: int) -> Iterator[tuple[int, int]]:
    """Yield the id of a queue and the maximum number of steps to claim from it, until `limit` are
    claimed.

    First each queue gets its share of the limit, in a random order by weight. The rest goes to
    queues with more due steps.

    Args:
        due: The queues with due steps; queues with the same base are adjacent, in the order in
            which to claim.
        limit: Number of steps to claim.
    """
    queues = {base: list(ids) for base, ids in groupby(due, key=lambda queue: queue.base)}
    weights = {base: ids[0].weight for base, ids in queues.items()}
    drawn = sorted(queues, key=lambda base: -math.log(1 - random.random()) / weights[base])
    total = sum(weights.values())
    for base in drawn:
        part = weights[base] / total if len(drawn) <= MOST else 1 / MOST
        share = max(1, math.floor(limit * part + random.random()))
        for queue in queues[base]:
            yield queue.id, share
    for base in drawn:
        for queue in queues[base]:
            yield queue.id, limit


def assign_workers_round_robin(rooms: Mapping[WorkerId, int]) -> list[WorkerId]:
    """Return the worker of each step of a claim: one in turn, up to its number in `rooms`."""
    turns = [(turn, worker) for worker, room in rooms.items() for turn in range(room)]
    return [worker for _, worker in sorted(turns, key=lambda each: each[0])]
