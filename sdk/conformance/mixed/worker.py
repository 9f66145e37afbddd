"""The steps in Python."""

from typing import Any

from tasker import Context, handler


@handler("python.begin")
def begin(start: int, ctx: Context) -> dict[str, Any]:
    """Return the first sum."""
    return {"sum": start, "language": "python", "correlation_id": ctx.correlation_id}


@handler("python.end")
def end(ctx: Context) -> dict[str, Any]:
    """Return the last sum, with the languages of the steps before."""
    steps = ("python", "typescript", "rust", "ruby")
    languages = [ctx.results[step]["language"] for step in steps]
    return {"sum": ctx.results["ruby"]["sum"] + 1, "languages": languages}
