"""Slots: taken, reserved, free."""

import asyncio

import pytest

from tasker.engine import slots as slots_module
from tasker.engine.slots import Slots


def test_taken_and_reserved_slots_are_not_free() -> None:
    slots = Slots(5)
    slots.occupy()
    slots.reserve_until_released(2)

    assert 2 == slots.free_count

    slots.release_reserved(2)
    slots.vacate()

    assert 5 == slots.free_count


def test_no_more_slots_are_reserved_than_are_free() -> None:
    slots = Slots(3)
    slots.occupy()

    with slots.reserve_up_to(10) as reserved:
        assert (2, 0) == (reserved, slots.free_count)
        with slots.reserve_up_to(1) as more:
            assert 0 == more
    assert 2 == slots.free_count


def test_slots_are_free_again_when_a_call_fails() -> None:
    slots = Slots(3)

    with pytest.raises(RuntimeError), slots.reserve_up_to(2):
        raise RuntimeError

    assert 3 == slots.free_count


def test_with_a_backlog_every_eighth_freed_step_is_left_to_claims_by_others() -> None:
    slots = Slots(100)
    slots.backlog = True
    reserved = []
    for most in (1, 6, 1, 16, 20, 4):
        with slots.reserve_up_to(most) as count:
            reserved.append(count)

    assert [1, 6, 0, 14, 18, 3] == reserved


def _end(slots: Slots, attempts: int) -> None:
    """Start attempts and end them."""
    for _ in range(attempts):
        slots.occupy()
        slots.vacate()


def test_as_many_steps_as_ended_within_100_ms_are_claimed_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(slots_module, "monotonic", lambda: now)
    slots = Slots(5)
    _end(slots, 30)
    now += 0.05
    early = slots.capacity
    now += 0.05
    fast = slots.capacity
    now += 1.0
    idle = slots.capacity

    assert (5, 35, 5) == (early, fast, idle)


def test_no_more_than_800_are_claimed_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(slots_module, "monotonic", lambda: now)
    slots = Slots(5)
    _end(slots, 10_000)
    now += 0.1

    assert 805 == slots.capacity


def test_claims_that_wait_for_a_slot_reduce_the_next_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(slots_module, "monotonic", lambda: now)
    slots = Slots(2)
    _end(slots, 6)
    now += 0.15
    slots.occupy()
    slots.waiting = 2

    assert 3 == slots.free_count


def test_a_closed_worker_has_no_free_slots() -> None:
    slots = Slots(3)
    slots.close()

    assert 0 == slots.free_count
    with slots.reserve_up_to(2) as reserved:
        assert 0 == reserved


def test_a_freed_slot_wakes_the_claimer() -> None:
    async def give_back() -> None:
        slots = Slots(1)
        slots.occupy()
        slots.changed.clear()
        waiting = asyncio.create_task(slots.changed.wait())
        slots.vacate()
        async with asyncio.timeout(60):
            await waiting

    asyncio.run(give_back())


def test_the_end_of_a_reservation_wakes_the_claimer() -> None:
    """A claimer that found no free slot meanwhile looks again."""
    slots = Slots(1)
    with slots.reserve_up_to(1):
        slots.changed.clear()

    assert slots.changed.is_set()
    assert 1 == slots.free_count
