"""The workloads of `bench.side` as measurements of the working tree alone."""

from collections.abc import Mapping

from bench.compare import Checkout, run_side
from bench.compared import Compared
from bench.databases import Server
from bench.fleet import ROOT, Settings
from bench.rows import Row, median_row


def scale_rows(
    settings: Settings, store: str, server: Server | None, workload: Compared
) -> list[Row]:
    """Return a row for each phase of a workload."""
    tree = Checkout("working tree", ROOT / "src")
    amount = workload.amounts.at(settings.scale)
    samples = [
        run_side(tree, workload, store, server, amount=amount, loop=settings.loop)
        for _ in range(settings.runs)
    ]
    return [
        median_row([row_of(workload, store, phase, sample[phase]) for sample in samples])
        for phase in samples[0]
    ]


def row_of(workload: Compared, store: str, phase: str, cost: Mapping[str, float]) -> Row:
    """Return what one phase of one run cost."""
    name = workload.name if phase == "run" else f"{workload.name}-{phase}"
    if "rss" in cost:
        return Row(store=store, workload=name, rss_mb=cost["rss"])
    if phase == "start":
        start, cpu = cost["wall"] / 1e6, cost["process"] / 1e6
        return Row(store=store, workload=name, start_s=start, start_cpu_s=cpu)
    return Row(
        store=store,
        workload=name,
        processes=workload.processes,
        steps_per_s=1e6 / cost["wall"],
        python_us_per_step=cost["process"],
        postgres_us_per_step=cost["postgres"] if store == "postgres" else None,
    )
