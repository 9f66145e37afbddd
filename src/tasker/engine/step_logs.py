"""Collects what handlers log and print, and appends it to the store in batches."""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from threading import Lock
from typing import Any

from tasker.engine.logs import current_attempt, redact_log_fields
from tasker.engine.running import FinishedAttempt, RunningAttempt
from tasker.errors import StoreUnavailable
from tasker.handlers import LiveAttempt
from tasker.handlers.attempt import PROGRESS
from tasker.handlers.output import restore_output, tee_output
from tasker.limits import LOG_ATTEMPT_CHARACTERS, LOG_CHARACTERS, LOG_RECORDS
from tasker.model import AttemptKey, OutcomeCode
from tasker.redact import redact_passwords
from tasker.settings import StepLogMode
from tasker.step_logs import NewLogRecord, encode_log_fields, format_log_message
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

MOST_PENDING = 10_000  #: records that wait to be stored; more are dropped
_BATCH = 500  #: records that one statement stores
_PAUSE = 0.5  #: seconds in which records collect
FAILED = frozenset({OutcomeCode.ERROR, OutcomeCode.RETRY, OutcomeCode.LOST})
"""Outcomes of attempts that failed."""

_FULL = (
    f"further records of this attempt are not kept: the limit is {LOG_RECORDS:,} records, or"
    f" {LOG_ATTEMPT_CHARACTERS:,} characters"
)

STEP_LOGGER = logging.getLogger("tasker.step")
"""The logger whose records belong to the attempt in which they are created."""


class StepLogs:
    """Collects the log records of a worker's attempts; callable from any thread.

    Settlements never wait for log records. At most `MOST_PENDING` records wait for the store.
    """

    def __init__(self, store: Store, mode: StepLogMode) -> None:
        self._store = store
        self._mode = mode
        self._lock = Lock()
        self._pending: deque[NewLogRecord] = deque()
        self._unfinished: dict[LiveAttempt, None] = {}
        """Attempts with an unfinished printed line or a progress report that is not stored yet."""
        self._dropped = 0
        self._held_records = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self.held: dict[LiveAttempt, None] = {}
        """Attempts whose log records are kept only if the attempt fails."""

    @property
    def is_disabled(self) -> bool:
        """Whether nothing is kept."""
        return self._mode is StepLogMode.OFF

    def start_capturing_output(self) -> None:
        """Start to collect printed output."""
        self._loop = asyncio.get_running_loop()
        if not self.is_disabled:
            tee_output(_keep_printed_text)

    def stop_capturing_output(self) -> None:
        """Stop collecting printed output."""
        if not self.is_disabled:
            restore_output()

    def add_record(
        self,
        attempt: LiveAttempt,
        level: int,
        source: str,
        message: str,
        fields: Mapping[str, Any],
    ) -> None:
        """Keep a record of an attempt; of progress reports in quick succession, only the last is
        kept."""
        if self.is_disabled:
            return
        moment = self._store.clock.now().timestamp()
        text = encode_log_fields(redact_log_fields(fields)) if fields else None
        message = redact_passwords(message[:LOG_CHARACTERS])
        with self._lock:
            if source == PROGRESS:
                attempt.get_log().progress = (message, moment, text)
                self._mark_unfinished(attempt)
            else:
                self._keep_or_hold_record(attempt, level, source, message, moment, text)

    def _mark_unfinished(self, attempt: LiveAttempt) -> None:
        """Keep the last line or report of an attempt with the next records, or when it ends."""
        self._unfinished[attempt] = None
        if self._mode is StepLogMode.ERRORS:
            self.held[attempt] = None
        self._wake_writer()

    def _keep_or_hold_record(
        self, attempt: LiveAttempt, level: int, source: str, message: str, at: float, fields: Any
    ) -> None:
        own = attempt.get_log()
        if own.is_full:
            return
        if own.records >= LOG_RECORDS or own.characters + len(message) > LOG_ATTEMPT_CHARACTERS:
            own.is_full = True
            level, source, message, fields = logging.WARNING, "tasker", _FULL, None
        claim = attempt.claim
        record = NewLogRecord(
            claim.task_id,
            claim.no,
            claim.attempt,
            own.records,
            at,
            level,
            source,
            message,
            fields,
        )
        own.records += 1
        own.characters += len(message)
        if self._mode is StepLogMode.ERRORS and not own.is_released:
            own.held.append(record)
            self.held[attempt] = None
            self._count_and_limit_held_records(1)
        else:
            self._queue_record(record)

    def _count_and_limit_held_records(self, more: int) -> None:
        """Count `more` held records; if there are too many, drop those of the oldest attempts."""
        self._held_records += more
        while self._held_records > MOST_PENDING:
            oldest = next(iter(self.held)).get_log()
            del self.held[next(iter(self.held))]
            self._held_records -= len(oldest.held)
            oldest.held.clear()

    def _queue_record(self, record: NewLogRecord) -> None:
        if len(self._pending) >= MOST_PENDING:
            self._dropped += 1
            return
        self._pending.append(record)
        if len(self._pending) == 1:
            self._wake_writer()

    def _wake_writer(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def add_printed_text(self, attempt: LiveAttempt, stream: str, text: str) -> None:
        """Keep the lines that an attempt printed; an unfinished line is kept when it ends."""
        if self.is_disabled or attempt.get_log().emitting:
            return
        with self._lock:
            lines = attempt.get_log().take_complete_lines(stream, text)
            if attempt.get_log().has_unfinished_line:
                self._mark_unfinished(attempt)
        for line in lines:
            self.add_record(attempt, logging.INFO, stream, line, {})

    def keep_or_drop_settled_records(
        self, batch: Sequence[FinishedAttempt], rejected: Collection[int]
    ) -> None:
        """Keep the held records of attempts that failed or were rejected; drop those of others."""
        for index, finished in enumerate(batch):
            failed = index in rejected or finished.outcome.outcome in FAILED
            self.keep_or_drop_records(finished.running.attempt, failed=failed)

    async def write_records_before_outcomes(self, failed: Mapping[AttemptKey, bool]) -> None:
        """Store the records of attempts that are about to end, if they must be kept.

        Args:
            failed: Whether the attempts fail, by their keys.

        Raises:
            StoreUnavailable: The rest is kept for the next call.
        """
        for attempt in [one for one in self.held if one.claim.attempt_key in failed]:
            self.keep_or_drop_records(attempt, failed=failed[attempt.claim.attempt_key])
        if self._pending or self._unfinished or self._writing.locked():
            await self.write_records()

    def keep_or_drop_records(self, attempt: LiveAttempt, *, failed: bool) -> None:
        """Keep the held records of an attempt if it failed; drop them otherwise."""
        if attempt not in self.held:
            return
        if attempt in self._unfinished:
            self._flush_unfinished_lines_and_progress([attempt])
        with self._lock:
            del self.held[attempt]
            own = attempt.get_log()
            self._held_records -= len(own.held)
            own.is_released = failed
            if failed:
                for record in own.held:
                    self._queue_record(record)
            own.held.clear()

    async def run(self) -> None:
        """Store records until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_PAUSE)
            self._wake.clear()
            try:
                await self.write_records()
            except StoreUnavailable as error:
                log.warning("step_logs_delayed", extra={"error": str(error)})
                self._wake.set()

    async def write_records(self) -> None:
        """Store the records kept so far.

        Raises:
            StoreUnavailable: The rest is kept for the next call.
        """
        self._flush_unfinished_lines_and_progress([*self._unfinished])
        async with self._writing:  # what another call has taken is stored too when this one returns
            while self._pending:
                await self._write_batch()
        if self._dropped:
            log.warning("step_logs_dropped", extra={"records": self._dropped})
            self._dropped = 0

    async def _write_batch(self) -> None:
        with self._lock:
            batch = [self._pending.popleft() for _ in range(min(_BATCH, len(self._pending)))]
        try:
            await self._store.append_logs(batch)
        except BaseException:
            with self._lock:
                self._pending.extendleft(reversed(batch))
            raise

    def _flush_unfinished_lines_and_progress(self, attempts: Sequence[LiveAttempt]) -> None:
        """Keep the unfinished printed lines and progress reports of attempts."""
        with self._lock:
            for attempt in attempts:
                self._unfinished.pop(attempt, None)
            rests = [
                (one, *rest) for one in attempts for rest in one.get_log().take_unfinished_lines()
            ]
            for attempt in attempts:
                if (report := attempt.get_log().progress) is not None:
                    attempt.get_log().progress = None
                    self._keep_or_hold_record(attempt, logging.INFO, PROGRESS, *report)
        for attempt, stream, line in rests:
            self.add_record(attempt, logging.INFO, stream, line, {})


def _keep_printed_text(stream: str, text: str) -> None:
    running = current_attempt.get()
    if running is not None:
        running.attempt.services.append_printed_text(running.attempt, stream, text)


class _StepLogHandler(logging.Handler):
    """Keeps the records of `tasker.step` with the attempt in which they are created.

    It then passes them on itself instead of by propagation, so output of the program's log handlers
    to the standard streams is not kept again as printed text.
    """

    def emit(self, record: logging.LogRecord) -> None:
        running: RunningAttempt | None = current_attempt.get()
        if running is None or "task_id" in vars(record):  # else `ctx.logger` has kept it
            _TASKER_LOGGER.callHandlers(record)
            return
        attempt = running.attempt
        message = format_log_message(record.msg, record.args, record.exc_info)
        attempt.services.append_log(attempt, record.levelno, record.name, message, vars(record))
        own = attempt.get_log()
        own.emitting = True
        try:
            _TASKER_LOGGER.callHandlers(record)
        finally:
            own.emitting = False


_TASKER_LOGGER = logging.getLogger("tasker")
STEP_LOGGER.addHandler(_StepLogHandler())
STEP_LOGGER.propagate = False  # the handler does it
