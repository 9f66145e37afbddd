"""`--against REV`: what the working tree costs, as a ratio to a revision.

Three checkouts take turns: the working tree, REV, and a second copy of REV, the control. What
separates the control from REV is noise, and only a difference beyond it counts.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.table import Table

from bench import proc
from bench.compared import STORES, Compared, Sample, Scale, named
from bench.databases import Server, execute, new_database, postgres_server
from bench.fleet import ROOT
from bench.ratios import LEVEL, MIN_ROUNDS, Ratio
from bench.side.order import UNSUPPORTED

ROUNDS, QUICK_ROUNDS = 11, MIN_ROUNDS

# A checkpoint would fall into one side's run by chance, not by its doing.
_QUIET = {"checkpoint_timeout": "1h"}


class UnknownRevision(Exception):
    """The revision is not in this repository."""


class SideFailed(Exception):
    """A run failed; the message has its error output."""


class Unsupported(Exception):
    """The revision lacks what a workload needs; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared, and how often."""

    revision: str
    workloads: Sequence[Compared] = field(default_factory=lambda: named(()))
    stores: Sequence[str] = STORES
    rounds: int = ROUNDS
    scale: Scale = "normal"
    loop: str = "asyncio"


class Checkout(NamedTuple):
    """One source tree and its name in the table."""

    label: str
    source: Path  #: the directory that contains `tasker`


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measure of one workload on one store, with its values in the order of the rounds."""

    store: str
    workload: str
    measure: str
    unit: str
    tree: Sequence[float]
    base: Sequence[float]
    control: Sequence[float]

    @property
    def ratio(self) -> Ratio:
        return Ratio.of(self.tree, self.base)

    @property
    def control_ratio(self) -> Ratio:
        return Ratio.of(self.control, self.base)

    @property
    def verdict(self) -> str:
        """`worse`, `better`, or `no difference` where the ratio does not count."""
        if not self.ratio.counts(self.control_ratio):
            return "no difference"
        return "worse" if self.ratio.median > self.control_ratio.median else "better"

    def as_json(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "workload": self.workload,
            "measure": self.measure,
            "unit": self.unit,
            "base": round(median(self.base), 2),
            "tree": round(median(self.tree), 2),
            "ratio": round(self.ratio.median, 4),
            "interval": [round(bound, 4) for bound in self.ratio.interval],
            "control_ratio": round(self.control_ratio.median, 4),
            "control_interval": [round(bound, 4) for bound in self.control_ratio.interval],
            "counts": self.ratio.counts(self.control_ratio),
            "verdict": self.verdict,
            "samples": {
                name: [round(value, 2) for value in values]
                for name, values in (
                    ("tree", self.tree),
                    ("base", self.base),
                    ("control", self.control),
                )
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of a comparison."""

    tree: str
    base: str
    rounds: int
    lines: Sequence[Line]
    omitted: Sequence[str] = ()  #: why a workload was not compared

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": proc.machine(),
            "tree": self.tree,
            "base": self.base,
            "rounds": self.rounds,
            "level": LEVEL,
            "rows": [line.as_json() for line in self.lines],
            "omitted": self.omitted,
        }

    def table(self) -> Table:
        title = f"{self.tree} against {self.base}, {self.rounds} rounds"
        table = Table(title=title, header_style="bold", title_justify="left")
        for name in ("store", "workload", "measure", "unit"):
            table.add_column(name)
        for name in (self.base, "tree", "ratio", "90 % interval", "control/REV", "90 % interval"):
            table.add_column(name, justify="right")
        table.add_column("verdict")
        for line in self.lines:
            table.add_row(
                *(line.store, line.workload, line.measure, line.unit),
                *(f"{median(values):.4g}" for values in (line.base, line.tree)),
                *_cells(line.ratio),
                *_cells(line.control_ratio),
                line.verdict,
            )
        return table


def _cells(ratio: Ratio) -> tuple[str, str]:
    return f"{ratio.median:.3f}", f"{ratio.interval.low:.3f}-{ratio.interval.high:.3f}"


def compare(plan: Plan, progress: Callable[[str], None]) -> Comparison:
    """Run all rounds and return the comparison.

    Raises:
        UnknownRevision: `plan.revision` is not in this repository.
        SideFailed: A run failed.
    """
    base = _commit(plan.revision)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="tasker-compare-")))
        sides = {
            "tree": _copy(directory / "tree"),
            "base": _extract(base, directory / "base"),
            "control": _extract(base, directory / "control"),
        }
        server = None
        if "postgres" in plan.stores:
            server = stack.enter_context(postgres_server(_QUIET))
        lines: list[Line] = []
        omitted: list[str] = []
        for store in plan.stores:
            for workload in plan.workloads:
                if store not in workload.measures:
                    continue
                progress(f"{workload.name} on {store}: {plan.rounds} rounds")
                try:
                    samples = _rounds(plan, sides, store, workload, server, progress)
                except Unsupported as error:
                    omitted.append(str(error))
                    progress(f"  omitted: {error}")
                    continue
                lines += _lines(store, workload, samples)
    return Comparison(
        tree=sides["tree"].label,
        base=sides["base"].label,
        rounds=plan.rounds,
        lines=lines,
        omitted=omitted,
    )


def _rounds(
    plan: Plan,
    sides: Mapping[str, Checkout],
    store: str,
    workload: Compared,
    server: Server | None,
    progress: Callable[[str], None],
) -> dict[str, list[Sample]]:
    """Run every side once per round; each round begins with another side."""
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    names = list(sides)
    first = workload.measures[store][0]
    for no in range(plan.rounds):
        for name in names[no % 3 :] + names[: no % 3]:
            amount = workload.amounts.at(plan.scale)
            sample = run_side(sides[name], workload, store, server, amount=amount, loop=plan.loop)
            samples[name].append(sample)
        values = (f"{name} {first.of(samples[name][-1]):.4g}" for name in samples)
        progress(f"  {no + 1}: {first.title}: {', '.join(values)} {first.unit}")
    return samples


def _lines(
    store: str, workload: Compared, samples: Mapping[str, Sequence[Sample]]
) -> Iterator[Line]:
    for measure in workload.measures[store]:
        values = {name: [measure.of(sample) for sample in some] for name, some in samples.items()}
        yield Line(
            store=store,
            workload=workload.name,
            measure=measure.title,
            unit=measure.unit,
            **values,
        )


def run_side(
    checkout: Checkout,
    workload: Compared,
    store: str,
    server: Server | None,
    *,
    amount: int,
    loop: str = "asyncio",
) -> Sample:
    """Measure one checkout once, in processes and a database of its own.

    Raises:
        Unsupported: The checkout lacks what the workload needs.
        SideFailed: The run failed.
    """
    with new_database(store, server) as url:
        if server is not None:
            # Background work of the server would fall into one side's run by chance.
            autovacuum = "on" if workload.autovacuum else "off"
            asyncio.run(
                execute(
                    server.url,
                    f"alter system set autovacuum = {autovacuum}",
                    "select pg_reload_conf()",
                )
            )
        order = {
            "source": str(checkout.source),
            "url": url,
            "program": workload.program,
            "size": workload.size,
            "amount": amount,
            "postmaster": server.pid if server and store == "postgres" else None,
            "loop": loop,
        }
        done = subprocess.run(
            # -P: no directory but those of PYTHONPATH and the installed packages is searched
            [sys.executable, "-P", "-m", "bench.side", json.dumps(order)],
            cwd=checkout.source,
            env=_environment(checkout),
            capture_output=True,
            text=True,
            timeout=workload.limit,
            check=False,
        )
    name = f"{workload.name} on {store}"
    if done.returncode == UNSUPPORTED:
        reason = done.stderr.strip().splitlines()[-1]
        raise Unsupported(f"{name} cannot be measured for {checkout.label}: {reason}")
    if done.returncode != 0:
        raise SideFailed(
            f"{name} failed for {checkout.label} (exit code {done.returncode}):\n"
            f"{done.stderr[-3000:]}"
        )
    sample: Sample = json.loads(done.stdout.splitlines()[-1])
    return sample


def _environment(checkout: Checkout) -> dict[str, str]:
    """Return an environment in which `tasker` is that of the checkout, with default settings."""
    inherited = {name: value for name, value in os.environ.items() if name[:7] != "TASKER_"}
    return {**inherited, "PYTHONPATH": os.pathsep.join((str(checkout.source), str(ROOT)))}


# ------------------------------------------------------------------------ checkouts


def _copy(target: Path) -> Checkout:
    """Copy the sources of the working tree, so that edits during the run do not matter."""
    shutil.copytree(ROOT / "src", target, ignore=shutil.ignore_patterns("__pycache__"))
    changed = _git("status", "--porcelain", "--", "src").strip()
    label = f"working tree ({_commit('HEAD')[:7]}{' with changes' if changed else ''})"
    return Checkout(label, target.resolve())


def _extract(commit: str, target: Path) -> Checkout:
    """Extract the sources of a commit; nothing is left in the repository, as a worktree would."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit, "src"], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(target, filter="data")
    return Checkout(commit[:7], (target / "src").resolve())


def _commit(revision: str) -> str:
    try:
        return _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    except subprocess.CalledProcessError:
        raise UnknownRevision(
            f"no revision {revision!r} in this repository; `git log --oneline` lists them"
        ) from None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout
