"""`python -m bench [WORKLOAD ...]`: measures, prints tables, writes bench/last.json."""

import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import compare, compared, proc
from bench.ceiling import ceiling
from bench.compared import Scale
from bench.databases import DISK, STORES, postgres_server
from bench.fleet import Settings, best_loop
from bench.measurements import all_measurements, select
from bench.peer import peer_version
from bench.ratios import MIN_ROUNDS
from bench.report import LAST, Report

console = Console()
if not console.is_terminal:
    console = Console(width=180)  # a pipe has no width: print whole tables
progress = Console(stderr=True, highlight=False, soft_wrap=True)


def main(
    workloads: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    store: Annotated[str | None, typer.Option(help=f"One of {', '.join(STORES)}.")] = None,
    processes: Annotated[int | None, typer.Option(help="Only with this many workers.")] = None,
    quick: Annotated[bool, typer.Option(help="About two minutes; also QUICK=1.")] = False,
    long: Annotated[bool, typer.Option(help="Also what takes minutes; also LONG=1.")] = False,
    runs: Annotated[int, typer.Option(help="Runs of each. 0: 3, or 1 if quick.")] = 0,
    loop: Annotated[str, typer.Option(help="uvloop or asyncio.")] = best_loop(),
    slots: Annotated[int, typer.Option(help="Slots of each worker.")] = 100,
    tasks: Annotated[int, typer.Option(help="Tasks in the store of `ui`.")] = 10_000_000,
    write_docs: Annotated[bool, typer.Option(help="Write docs/benchmarks.md too.")] = False,
    against: Annotated[str, typer.Option(help="Compare with this revision.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not tables.")] = False,
) -> None:
    """Measure how fast Tasker is on this machine, or compare two revisions."""
    quick = quick or os.environ.get("QUICK", "0") not in ("", "0")
    long = long or os.environ.get("LONG", "0") not in ("", "0")
    scale: Scale = "quick" if quick else "long" if long else "normal"
    names = workloads or []
    if against:
        if processes or write_docs or slots != 100:
            raise typer.BadParameter(
                "--against allows only workloads, --store, --runs, --loop, --quick, --long, --json"
            )
        _compare(against, names, store, loop, runs, scale=scale, as_json=as_json)
        return
    known = sorted({one.workload for one in all_measurements()} | {"ceiling"})
    if unknown := set(names) - set(known):
        raise typer.BadParameter(f"unknown workload {', '.join(unknown)}: use {', '.join(known)}")
    if store not in (None, *STORES):
        raise typer.BadParameter(f"unknown store {store}: use {', '.join(STORES)}")
    settings = Settings(
        scale=scale, runs=runs or (1 if quick else 3), loop=loop, slots=slots, tasks=tasks
    )
    report = _measure(settings, names, store, processes)
    if as_json:
        print(report.as_json().decode(), end="")
    else:
        report.show(console)
    if write_docs:
        report.write_docs()


def _measure(
    settings: Settings, names: list[str], store: str | None, processes: int | None
) -> Report:
    """Make the selected measurements."""
    selected = select(names, store, processes, scale=settings.scale)
    with_ceiling = "ceiling" in names or (not names and store in (None, "postgres"))
    report = Report(_facts(settings))
    start = time.monotonic()
    with ExitStack() as stack:
        server = None
        if with_ceiling or any(one.store == "postgres" for one in selected):
            server = stack.enter_context(postgres_server())
            if with_ceiling:
                report.ceiling = ceiling(settings, server)
                progress.print(f"the database alone: {report.ceiling.summary()}")
        for one in selected:
            for row in one.measure(settings, server, progress.print):
                report.rows.append(row)
                LAST.write_bytes(report.as_json())  # kept if the run is interrupted
                progress.print(f"{one}: {row.summary()}")
    progress.print(f"finished after {time.monotonic() - start:.0f} s; the results are in {LAST}")
    return report


def _compare(
    revision: str,
    workloads: list[str],
    store: str | None,
    loop: str,
    rounds: int,
    *,
    scale: Scale,
    as_json: bool,
) -> None:
    """Print how the working tree compares with a revision."""
    if unknown := set(workloads) - set(compared.names()):
        allowed = ", ".join(compared.names())
        raise typer.BadParameter(f"{', '.join(unknown)}: --against compares {allowed}")
    if store not in (None, *compared.STORES):
        raise typer.BadParameter(f"--against compares --store {' or '.join(compared.STORES)}")
    if rounds and rounds < MIN_ROUNDS:
        raise typer.BadParameter(f"--against needs --runs {MIN_ROUNDS} or more")
    plan = compare.Plan(
        revision=revision,
        workloads=compared.named(workloads),
        stores=(store,) if store else compared.STORES,
        rounds=rounds or (compare.QUICK_ROUNDS if scale == "quick" else compare.ROUNDS),
        scale=scale,
        loop=loop,
    )
    try:
        result = compare.compare(plan, progress.print)
    except compare.UnknownRevision as error:
        raise typer.BadParameter(str(error)) from None
    except compare.SideFailed as error:
        progress.print(str(error), markup=False)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(result.as_json(), indent=2))
    else:
        console.print(result.table())
        for reason in result.omitted:
            console.print(reason, markup=False)


def _facts(settings: Settings) -> dict[str, str | float | None]:
    return {
        **proc.machine(),
        **({"dbos": version} if (version := peer_version()) else {}),
        "disk": proc.disk_of(DISK or Path()),
        "loop": settings.loop,
        "slots": settings.slots,
        "runs": settings.runs,
        "sizes": {"quick": "quick", "normal": "default", "long": "long"}[settings.scale],
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up, as after Ctrl-C
    typer.run(main)
