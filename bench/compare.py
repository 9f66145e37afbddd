"""`--against REV`: the CPU per step of the working tree, as a ratio to that of a revision.

Three checkouts take turns: the working tree, REV, and a second copy of REV, the control. What
separates the control from REV is noise, and only a difference beyond it counts.
"""

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
from typing import Any, NamedTuple, TypeAlias

from rich.table import Table

from bench import proc
from bench.databases import Server, new_database, postgres_server
from bench.fleet import ROOT
from bench.ratios import LEVEL, MIN_ROUNDS, Ratio

STORES = ("postgres", "sqlite")
TASKS: Mapping[str, int] = {"chain": 8_000, "fan50": 600}
QUICK_TASKS: Mapping[str, int] = {"chain": 2_000, "fan50": 150}
ROUNDS, QUICK_ROUNDS = 11, MIN_ROUNDS
LIMIT = 300  #: seconds until a run is given up

# Background work of the server would fall into one side's run by chance, not by its doing.
_QUIET = {"autovacuum": "off", "checkpoint_timeout": "1h"}

Sample: TypeAlias = Mapping[str, Mapping[str, float]]
"""What one run cost: `create` or `run` -> `process` or `postgres` -> us per step."""


class UnknownRevision(Exception):
    """The revision is not in this repository."""


class SideFailed(Exception):
    """A run failed; the message has its error output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared, and how often."""

    revision: str
    workloads: Sequence[str] = tuple(TASKS)
    stores: Sequence[str] = STORES
    rounds: int = ROUNDS
    tasks: Mapping[str, int] = field(default_factory=lambda: TASKS)  #: of each workload, per run
    loop: str = "asyncio"


class Checkout(NamedTuple):
    """One source tree and its name in the table."""

    label: str
    source: Path  #: the directory that contains `tasker`


class Measure(NamedTuple):
    """A cost that is compared: the sum of some parts of one phase."""

    title: str
    phase: str
    parts: Sequence[str]

    def of(self, sample: Sample) -> float:
        return sum(sample[self.phase][part] for part in self.parts)


_MEASURES = {
    "postgres": (
        Measure("run: worker", "run", ["process"]),
        Measure("run: PostgreSQL", "run", ["postgres"]),
        Measure("run: both", "run", ["process", "postgres"]),
        Measure("create: both", "create", ["process", "postgres"]),
    ),
    "sqlite": (
        Measure("run: worker", "run", ["process"]),
        Measure("create: client", "create", ["process"]),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measure of one workload on one store, with its values in the order of the rounds."""

    store: str
    workload: str
    measure: str
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
        """`slower`, `faster`, or `no difference` where the ratio does not count."""
        if not self.ratio.counts(self.control_ratio):
            return "no difference"
        return "slower" if self.ratio.median > self.control_ratio.median else "faster"

    def as_json(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "workload": self.workload,
            "measure": self.measure,
            "base_us_per_step": round(median(self.base), 2),
            "tree_us_per_step": round(median(self.tree), 2),
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

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": proc.machine(),
            "tree": self.tree,
            "base": self.base,
            "rounds": self.rounds,
            "level": LEVEL,
            "rows": [line.as_json() for line in self.lines],
        }

    def table(self) -> Table:
        title = f"CPU us per step: {self.tree} against {self.base}, {self.rounds} rounds"
        table = Table(title=title, header_style="bold", title_justify="left")
        for name in ("store", "workload", "measure"):
            table.add_column(name)
        for name in (self.base, "tree", "ratio", "90 % interval", "control/REV", "90 % interval"):
            table.add_column(name, justify="right")
        table.add_column("verdict")
        for line in self.lines:
            table.add_row(
                *(line.store, line.workload, line.measure),
                *(f"{median(values):.1f}" for values in (line.base, line.tree)),
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
        for store in plan.stores:
            for workload in plan.workloads:
                progress(f"{workload} on {store}: {plan.rounds} rounds")
                samples = _rounds(plan, sides, store, workload, server, progress)
                lines += _lines(store, workload, samples)
    return Comparison(
        tree=sides["tree"].label, base=sides["base"].label, rounds=plan.rounds, lines=lines
    )


def _rounds(
    plan: Plan,
    sides: Mapping[str, Checkout],
    store: str,
    workload: str,
    server: Server | None,
    progress: Callable[[str], None],
) -> dict[str, list[Sample]]:
    """Run every side once per round; each round begins with another side."""
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    names = list(sides)
    for no in range(plan.rounds):
        for name in names[no % 3 :] + names[: no % 3]:
            samples[name].append(run_side(plan, sides[name], store, workload, server))
        totals = (f"{name} {sum(samples[name][-1]['run'].values()):.1f}" for name in samples)
        progress(f"  {no + 1}: {', '.join(totals)} us/step")
    return samples


def _lines(store: str, workload: str, samples: Mapping[str, Sequence[Sample]]) -> Iterator[Line]:
    for measure in _MEASURES[store]:
        values = {name: [measure.of(sample) for sample in some] for name, some in samples.items()}
        yield Line(store=store, workload=workload, measure=measure.title, **values)


def run_side(
    plan: Plan, checkout: Checkout, store: str, workload: str, server: Server | None
) -> Sample:
    """Measure one checkout once, in a process and a database of its own.

    Raises:
        SideFailed: The run failed.
    """
    with new_database(store, server) as url:
        order = {
            "source": str(checkout.source),
            "url": url,
            "workload": workload,
            "tasks": plan.tasks[workload],
            "postmaster": server.pid if server and store == "postgres" else None,
            "loop": plan.loop,
        }
        done = subprocess.run(
            # -P: no directory but those of PYTHONPATH and the installed packages is searched
            [sys.executable, "-P", "-m", "bench.side", json.dumps(order)],
            cwd=checkout.source,
            env=_environment(checkout),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    if done.returncode != 0:
        raise SideFailed(
            f"{workload} on {store} failed for {checkout.label} (exit code {done.returncode}):\n"
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
