"""Log records of steps in responses: all records leave the server through `log_page_view`."""

from collections.abc import Sequence

from tasker.step_logs import LogPage, LogRecord


def log_page_view(
    records: Sequence[LogRecord], *, last: LogRecord | None, link: str | None
) -> LogPage:
    """Return the response with a page of records.

    Args:
        records: The records.
        last: The record after which others may follow; None: none follow.
        link: URL of the same logs in the team's own log store.
    """
    return LogPage(tuple(records), None if last is None else last.position.cursor, link)
