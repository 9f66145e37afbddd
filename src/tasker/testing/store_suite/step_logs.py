"""Log records and printed text of handlers, stored with their attempts."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from tasker.codec import new_task_id
from tasker.errors import NotFound
from tasker.limits import LOG_CHARACTERS, LOG_RECORDS
from tasker.model import JsonText, TaskId
from tasker.step_logs import LogFilter, LogRecord, NewLogRecord
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    SECOND,
    StoreTests,
    chain_template,
    register_and_create_task,
)

BEGAN = 1_700_000_000.25


def make_log_record(task_id: TaskId, number: int, message: str = "", **fields: Any) -> NewLogRecord:
    """Make a record of the first attempt of the first step, `number` seconds after `BEGAN`."""
    kept = {"no": 1, "attempt": 1, "level": logging.INFO, "source": "shop", **fields}
    return NewLogRecord(
        task_id=task_id,
        number=number,
        at=kept.pop("at", BEGAN + number),
        message=message or f"record {number}",
        **kept,
    )


def extract_messages(records: list[LogRecord]) -> list[str]:
    return [one.message for one in records]


class TestStepLogs(StoreTests):
    async def test_records_are_read_in_the_order_of_their_times(self, store: Store) -> None:
        """They have all stored fields and the names of their steps."""
        task_id = await register_and_create_task(store, chain_template())
        await store.append_logs(
            [
                make_log_record(task_id, 1, fields=JsonText('{"order":7}'), level=logging.ERROR),
                make_log_record(task_id, 0, no=2, attempt=3, at=BEGAN + 0.5, source="stdout"),
            ]
        )
        await store.append_logs([make_log_record(task_id, 0)])

        first, second, third = await store.list_logs(task_id)

        assert ["record 0", "record 0", "record 1"] == extract_messages([first, second, third])
        assert (2, 3, "stdout", "info", {}) == (
            *(second.no, second.attempt, second.source, second.level, second.fields),
        )
        assert (BEGAN + 1, "error", {"order": 7}) == (
            *(third.at.timestamp(), third.level, third.fields),
        )
        names = [step.name for step in await store.list_steps(task_id)]
        assert [names[0], names[1], names[0]] == [first.step, second.step, third.step]

    async def test_storing_a_record_again_changes_nothing(self, store: Store) -> None:
        task_id = await register_and_create_task(store, chain_template())
        await store.append_logs([make_log_record(task_id, 0), make_log_record(task_id, 1)])
        await store.append_logs([make_log_record(task_id, 1, "other"), make_log_record(task_id, 2)])

        assert ["record 0", "record 1", "record 2"] == extract_messages(
            await store.list_logs(task_id)
        )

    async def test_log_pages_follow_each_other_in_both_orders(self, store: Store) -> None:
        """Records may have the same time."""
        task_id = await register_and_create_task(store, chain_template())
        at = BEGAN + 1 / 3
        await store.append_logs(
            [make_log_record(task_id, n, no=no, at=at) for no in (1, 2) for n in range(3)]
        )
        everything = await store.list_logs(task_id)

        for newest_first in (False, True):
            read: list[LogRecord] = []
            while page := await store.list_logs(
                task_id,
                after=read[-1].position if read else None,
                newest_first=newest_first,
                limit=2,
            ):
                read += page
            assert everything == (read[::-1] if newest_first else read)

    async def test_records_are_found_by_step_attempt_level_text_and_time(
        self, store: Store
    ) -> None:
        task_id = await register_and_create_task(store, chain_template())
        await store.append_logs(
            [
                make_log_record(task_id, 0, "Charged 49.99"),
                make_log_record(task_id, 1, "card declined: 100%_", level=logging.WARNING),
                make_log_record(task_id, 0, "late", attempt=2, at=BEGAN + 60),
                make_log_record(task_id, 0, "other step", no=2),
            ]
        )

        async def find_log_messages(**filters: Any) -> list[str]:
            return extract_messages(await store.list_logs(task_id, LogFilter(**filters)))

        assert ["other step"] == await find_log_messages(no=2)
        assert ["late"] == await find_log_messages(no=1, attempt=2)
        assert ["card declined: 100%_"] == await find_log_messages(level=logging.WARNING)
        assert ["card declined: 100%_"] == await find_log_messages(text="CARD")
        assert [] == await find_log_messages(text="1000")
        assert ["card declined: 100%_"] == await find_log_messages(text="0%_")
        (late,) = await store.list_logs(task_id, LogFilter(attempt=2))
        assert ["late"] == await find_log_messages(since=late.at)

    async def test_an_attempt_keeps_a_bounded_number_of_bounded_records(self, store: Store) -> None:
        """One more record is stored, which reports how many were left out."""
        task_id = await register_and_create_task(store, chain_template())
        await store.append_logs(
            [
                make_log_record(task_id, 0, "x" * (LOG_CHARACTERS + 1)),
                make_log_record(task_id, 1, "nul \x00 and half a pair \ud800"),
                make_log_record(task_id, LOG_RECORDS),
                make_log_record(task_id, LOG_RECORDS + 1),
                make_log_record(task_id, -1),
            ]
        )

        long, unstorable, last = await store.list_logs(task_id)

        assert LOG_CHARACTERS == len(long.message)
        assert "nul  and half a pair " == unstorable.message
        assert f"record {LOG_RECORDS}" == last.message

    async def test_records_are_deleted_by_age_and_with_their_task(self, store: Store) -> None:
        task_id = await register_and_create_task(store, chain_template())
        await store.append_logs([make_log_record(task_id, number) for number in range(3)])
        second = (await store.list_logs(task_id))[1]

        assert 1 == await store.prune_logs(second.at)
        assert ["record 1", "record 2"] == extract_messages(await store.list_logs(task_id))
        assert 1 == await store.prune_logs(second.at + SECOND * 9, limit=1)

        cancelled = await store.get_task(task_id)
        await store.prune_tasks(ended_before=cancelled.created_at + timedelta(days=1))
        assert ["record 2"] == extract_messages(await store.list_logs(task_id))

    async def test_logs_of_an_unknown_task_are_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await store.list_logs(TaskId(new_task_id()))
