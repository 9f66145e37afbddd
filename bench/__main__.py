"""`python -m bench [WORKLOAD ...]`: measures, prints tables, writes bench/last.json."""

import json
import os
import signal
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from bench import compare, proc
from bench.ceiling import ceiling
from bench.fleet import Settings, best_loop
from bench.places import DISK, STORES, Server, server
from bench.plan import Measurement, chosen, everything
from bench.ratios import MIN_ROUNDS
from bench.report import LAST, Report

console = Console()
if not console.is_terminal:
    console = Console(width=180)  # whole tables, where the width is nobody's screen


def main(
    workloads: Annotated[list[str] | None, typer.Argument(help="What to measure; all.")] = None,
    store: Annotated[str | None, typer.Option(help=f"One of {', '.join(STORES)}.")] = None,
    processes: Annotated[int | None, typer.Option(help="Only with so many workers.")] = None,
    quick: Annotated[bool, typer.Option(help="Under two minutes; QUICK=1 says so too.")] = False,
    long: Annotated[bool, typer.Option(help="Five minutes on end as well; LONG=1.")] = False,
    runs: Annotated[int, typer.Option(help="Runs of each; 0: 1 if quick, else 3.")] = 0,
    loop: Annotated[str, typer.Option(help="uvloop or asyncio.")] = best_loop(),
    slots: Annotated[int, typer.Option(help="Of each worker.")] = 100,
    write_docs: Annotated[bool, typer.Option(help="Also into docs/benchmarks.md.")] = False,
    against: Annotated[str, typer.Option(help="Compare CPU per step with this revision.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not tables.")] = False,
) -> None:
    """Measure how fast Tasker is on this machine."""
    quick = quick or os.environ.get("QUICK", "0") not in ("", "0")
    long = long or os.environ.get("LONG", "0") not in ("", "0")
    names = workloads or []
    if against:
        if processes or long or write_docs:
            raise typer.BadParameter("--against goes with --store, --runs, --loop, --quick, --json")
        return _compare(against, names, store, loop, runs, quick=quick, as_json=as_json)
    known = sorted({one.workload for one in everything()} | {"ceiling"})
    if unknown := set(names) - set(known):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(known)}")
    if store not in (None, *STORES):
        raise typer.BadParameter(f"--store is one of {', '.join(STORES)}")
    settings = Settings(quick=quick, runs=runs or (1 if quick else 3), loop=loop, slots=slots)
    todo = chosen(names, store, processes, quick=quick, long=long)
    report = Report(_facts(settings))
    needed = "ceiling" in names or any(one.store == "postgres" for one in todo)
    began = time.monotonic()
    with server(needed) as running:
        if running is not None and (not names or "ceiling" in names):
            with console.status("what pgbench can do"):
                report.ceiling = ceiling(settings, running)
            console.print(f"ceiling: {report.ceiling.told()}")
        for one in todo:
            _measure(one, settings, running, report)
    console.print()
    report.show(console)
    LAST.write_bytes(report.as_json())
    console.print(f"{LAST} written, after {time.monotonic() - began:.0f} s")
    if write_docs:
        report.write_docs()


def _compare(
    revision: str,
    workloads: list[str],
    store: str | None,
    loop: str,
    rounds: int,
    *,
    quick: bool,
    as_json: bool,
) -> None:
    """Print how the working tree compares with a revision."""
    if unknown := set(workloads) - set(compare.TASKS):
        allowed = ", ".join(compare.TASKS)
        raise typer.BadParameter(f"{', '.join(unknown)}: --against compares {allowed}")
    if store not in (None, *compare.STORES):
        raise typer.BadParameter(f"--against compares --store {' or '.join(compare.STORES)}")
    if rounds and rounds < MIN_ROUNDS:
        raise typer.BadParameter(f"--against needs --runs {MIN_ROUNDS} or more")
    plan = compare.Plan(
        revision=revision,
        workloads=workloads or tuple(compare.TASKS),
        stores=(store,) if store else compare.STORES,
        rounds=rounds or (compare.QUICK_ROUNDS if quick else compare.ROUNDS),
        tasks=compare.QUICK_TASKS if quick else compare.TASKS,
        loop=loop,
    )
    progress = Console(stderr=True, highlight=False)
    try:
        result = compare.compare(plan, progress.print)
    except compare.UnknownRevision as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        print(json.dumps(result.as_json(), indent=2))
    else:
        console.print(result.table())


def _measure(one: Measurement, settings: Settings, running: Server | None, report: Report) -> None:
    with console.status(str(one)):
        for row in one.measure(settings, running, console.print):
            report.rows.append(row)
            console.print(f"{one}: {row.told()}", highlight=False)


def _facts(settings: Settings) -> dict[str, str | float | None]:
    return {
        **proc.machine(),
        "disk": proc.disk_of(DISK),
        "loop": settings.loop,
        "slots": settings.slots,
        "runs": settings.runs,
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end as after Ctrl-C: cleaned up
    typer.run(main)
