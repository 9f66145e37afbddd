"""Log records on stderr."""

import json
import logging
import sys
from typing import Any

from tasker.cli.logs import ForPeople, ForPrograms
from tasker.model import TemplateName


def _record(event: str, **facts: Any) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": "tasker.worker", "msg": event, **facts})
    record.levelno, record.levelname = logging.WARNING, "WARNING"
    return record


def test_people_read_the_event_and_its_facts() -> None:
    name = TemplateName("shop", "sell", "1.0.0")
    line = ForPeople(colours=False).format(
        _record("lease_lost", worker="a b", held=3, template=name, note="")
    )

    assert line.endswith('WARNING lease_lost  worker="a b" held=3 template=shop.sell@1.0.0 note=""')
    assert "\x1b[33mWARNING" in ForPeople(colours=True).format(_record("x"))


def test_programs_read_one_json_object_per_line() -> None:
    line = ForPrograms().format(_record("lease_lost", worker="a", held=3, level="odd"))
    document = json.loads(line)

    assert ["at", "level", "logger", "event", "worker", "held", "level_"] == list(document)
    assert ("warning", "lease_lost", 3) == (document["level"], document["event"], document["held"])


def test_secrets_are_hidden_wherever_they_are() -> None:
    record = _record(
        "connected to postgresql://user:hunter2@host/db",
        api_token="hunter2",
        nested={"Password": "hunter2", "plain": "shown"},
        url="redis://:hunter2@host",
    )

    for formatter in (ForPeople(colours=False), ForPrograms()):
        assert "hunter2" not in formatter.format(record)
        assert "shown" in formatter.format(record)


def test_a_stored_error_is_told_by_its_type_and_message() -> None:
    error = json.dumps({"type": "ValueError", "message": "bad", "trace": "long"})

    assert 'error="ValueError: bad"' in ForPeople(colours=False).format(_record("x", error=error))


def test_a_stack_trace_comes_below() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        record = _record("failed", exc_info=sys.exc_info())

    assert ForPeople(colours=False).format(record).endswith("ValueError: bad")
    assert "ValueError: bad" in json.loads(ForPrograms().format(record))["trace"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in ForPeople(colours=False).format(_record("x", note="\x1b[2J"))
