"""What is sent to a collector over OTLP."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

PROGRAM = """
    from datetime import timedelta

    from tasker.codec import new_task_id
    from tasker.notices import AttemptTraceInfo, StepSettled, TaskEnded
    from tasker.model import AttemptOutcome, TaskStatus, TemplateName
    from tasker.observe.tracing import Tracing, set_up_otlp_export

    set_up_otlp_export("billing")
    tracing = Tracing()
    template = TemplateName("payments", "refund", "1.0.0")
    task, no_time = new_task_id(), timedelta(0)
    attempt = AttemptTraceInfo(
        task, template, "charge", 1, "correlation", None, no_time, no_time,
        "charge", "shop.charge",
    )
    with tracing.attempt_span(attempt):
        pass
    tracing.record_notice(
        StepSettled(
            task, template, "charge", 1, "correlation", AttemptOutcome.COMPLETE,
            timedelta(seconds=2), None, no_time,
        )
    )
    tracing.record_notice(TaskEnded(task, TaskStatus.COMPLETE, template, timedelta(seconds=3)))
"""  # at its end the process sends what is left


class Collector(ThreadingHTTPServer):
    """Keeps the bodies that it receives, by path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.bodies: dict[str, bytes] = {}


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies[self.path] = self.server.bodies.get(self.path, b"") + body
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def test_attempts_are_sent_as_spans_and_metrics(collector: Collector) -> None:
    """
    Names, labels and the service are text in the protocol's messages.
    """
    subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(PROGRAM)],
        check=True,
        timeout=60,
        env={
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        },
    )

    metrics, traces = collector.bodies["/v1/metrics"], collector.bodies["/v1/traces"]
    for text in (
        b"billing",
        b"tasker.attempts",
        b"tasker.attempt.duration",
        b"tasker.step.time",
        b"refund",
        b"charge",
    ):
        assert text in metrics
    for text in (
        b"billing",
        b"payments.refund/charge",
        b"tasker.correlation_id",
        b"tasker.status",
        b"messaging.destination.name",
        b"shop.charge",
        b"service.instance.id",
    ):
        assert text in traces
