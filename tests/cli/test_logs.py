"""Log records on stderr."""

import json
import logging
import sys
from datetime import timedelta
from typing import Any

import pytest
from tests.process_state import restored_logging

from tasker import Template, Worker, open_store
from tasker.cli.logs import ConsoleFormatter, JsonFormatter, set_up_logging
from tasker.model import StepSpec, TemplateName


def _record(event: str, **facts: Any) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": "tasker.worker", "msg": event, **facts})
    record.levelno, record.levelname = logging.WARNING, "WARNING"
    return record


def test_the_text_format_shows_the_event_and_its_fields() -> None:
    name = TemplateName("shop", "sell", "1.0.0")
    line = ConsoleFormatter(colours=False).format(
        _record("lease_lost", worker="a b", held=3, template=name, note="")
    )

    assert line.endswith('WARNING lease_lost  worker="a b" held=3 template=shop.sell@1.0.0 note=""')
    assert "\x1b[33mWARNING" in ConsoleFormatter(colours=True).format(_record("x"))


def test_the_json_format_is_one_object_per_line() -> None:
    line = JsonFormatter().format(_record("lease_lost", worker="a", held=3, level="odd"))
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

    for formatter in (ConsoleFormatter(colours=False), JsonFormatter()):
        assert "hunter2" not in formatter.format(record)
        assert "shown" in formatter.format(record)


def test_a_stored_error_is_reported_by_its_type_and_message() -> None:
    error = json.dumps({"type": "ValueError", "message": "bad", "trace": "long"})

    assert 'error="ValueError: bad"' in ConsoleFormatter(colours=False).format(
        _record("x", error=error)
    )


def test_a_stack_trace_is_printed_below_its_record() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        record = _record("failed", exc_info=sys.exc_info())

    assert ConsoleFormatter(colours=False).format(record).endswith("ValueError: bad")
    assert "ValueError: bad" in json.loads(JsonFormatter().format(record))["trace"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in ConsoleFormatter(colours=False).format(_record("x", note="\x1b[2J"))


@pytest.mark.anyio
async def test_records_of_handlers_contain_their_attempt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def greet() -> None:
        logging.getLogger("library").warning("greeting")

    template = Template(
        namespace="n", name="flow", version="1.0.0", steps=(StepSpec(name="greet"),)
    )
    with restored_logging():
        set_up_logging(logging.WARNING, as_json=True, colours=False)
        async with (
            open_store("sqlite::memory:") as store,
            Worker(store, [{"greet": greet}], templates=[template]) as worker,
        ):
            task = await worker.client.run("n.flow", timeout=timedelta(seconds=20))

    [record] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ("greeting", "library") == (record["event"], record["logger"])
    assert (task.id, "greet", 1) == (record["task_id"], record["step"], record["attempt"])
    assert "n.flow@1.0.0" == record["template"]
