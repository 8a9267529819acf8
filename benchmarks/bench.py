"""Measure training, pipeline and memory, and write results.md and results.png beside this file.

`make bench` on a machine that does nothing else; about six minutes. All that is
compared is measured in turn, several times over, and the median counts. With --quick, a
minute's trial of everything with little work: the numbers mean nothing.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import tomllib
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
from peers import PEERS

import pipeline

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from spirals.data import make_spirals  # noqa: E402
from spirals.models import MLP, MODELS  # noqa: E402

BASE = {"points": 100, "hidden": 100, "classes": 3}
GROWTH = {"points": [100, 1000, 10_000], "hidden": [10, 100, 1000], "classes": [3, 10, 30]}
TITLES = {"points": "points per class", "hidden": "hidden units", "classes": "classes"}
OURS, _, LOOP = list(PEERS)[:3]
OTHERS = {*list(PEERS)[1:], "case study's own script"}  # blue in the chart
# Of the loss, relative: a bit in the last place grows to some 1e-6 in 10,000 iterations.
TOLERANCE = 1e-4
SMALL = {
    "train_mlp.iterations": 50,
    "plot.grid": 40,
    "plot.dpi": 60,
    "evaluate.points_per_class": 20,
}
FEW = {f"train_{name}.iterations": 5 for name in MODELS}


def peers_python():
    """The interpreter of .venv-bench, which holds the libraries that only this comparison needs."""
    python = ROOT / ".venv-bench" / "bin" / "python"
    if not (done := python.parents[1] / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", python.parents[1]], check=True)
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
        for package in groups["bench"]:
            print(f"installing {package} into .venv-bench", flush=True)
            pip = [
                python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                package,
            ]
            subprocess.run(pip, check=False, timeout=1800)
        done.touch()
    return python


class Worker:
    """One of the peers, ready to train again and again; `missing` says why if it cannot."""

    def __init__(self, python, name, folder):
        one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        kept = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
        command = [python, ROOT / "benchmarks" / "peers.py", name, folder]
        environment = {**kept, **one, "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        first = self.listen()
        self.missing, self.ready = first.get("missing"), first.get("ready")

    def listen(self):
        limit = threading.Timer(600, self.process.kill)
        limit.start()
        line = self.process.stdout.readline()
        limit.cancel()
        return json.loads(line) if line else {"missing": "it ended, or took more than ten minutes"}

    def train(self, iterations):
        print(iterations, file=self.process.stdin, flush=True)
        return self.listen()

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def first_weights(size):
    """The network of these sizes before its training."""
    section = SimpleNamespace(
        seed=0, skip_draws=324, weight_scale=0.01, hidden_units=size["hidden"]
    )
    return MLP.initialize(2, size["classes"], section).weights


def train_in_turn(workers, iterations, rounds):
    """What each worker that is not missing says of its trainings, by name."""
    runs = {name: [] for name, worker in workers.items() if worker.missing is None}
    for _ in range(rounds):
        for name, results in runs.items():
            results.append(workers[name].train(iterations))
    return runs


def race(python, names, size, iterations, rounds):
    """Train by all the peers in turn.

    Returns:
        By name, a dict: missing, or seconds (median, of one iteration), ready (seconds of
        preparation) and loss.
    """
    with tempfile.TemporaryDirectory() as folder:
        X, y = make_spirals(size["points"], size["classes"], 0.2, 0)
        for name, value in {"X": X, "y": y, **first_weights(size)}.items():
            np.save(Path(folder, name), np.ascontiguousarray(value))
        workers = {name: Worker(python, name, Path(folder)) for name in names}
        try:
            runs = train_in_turn(workers, iterations, rounds)
        finally:
            for worker in workers.values():
                worker.close()
    found = {name: {"missing": worker.missing} for name, worker in workers.items()}
    for name, results in runs.items():
        missing = [result["missing"] for result in results if "missing" in result]
        if missing:
            found[name] = {"missing": missing[0]}
            continue
        seconds = median(result["seconds"] for result in results) / iterations
        loss = results[0]["loss"]
        found[name] = {"seconds": seconds, "ready": workers[name].ready, "loss": loss}
    check_losses(found)
    return found


def check_losses(found):
    """Refuse a comparison of what is not the same work."""
    expected = found[LOOP]["loss"]
    for name, result in found.items():
        if "loss" in result and not abs(result["loss"] / expected - 1) < TOLERANCE:
            raise SystemExit(f"{name} ends at the loss {result['loss']}, not {expected}")


def growth(python, quick):
    """For each of the three sizes and each value: (value, the race)."""
    # It would compile for each size, half a minute.
    names = [name for name in PEERS if name != "PyTorch, compiled"]
    for key, values in GROWTH.items():
        rows = []
        for value in values[: 1 if quick else None]:
            size = {**BASE, key: value}
            work = size["points"] * size["classes"] * size["hidden"]
            print(f"growth: {value} {TITLES[key]}", flush=True)
            iterations = min(2000, max(4, 30_000_000 // work))
            rounds = 1 if quick else 2
            rows.append((value, race(python, names, size, iterations, rounds)))
        yield key, rows


def in_turn(rounds, measure):
    """Medians of what `measure(round)` returns, by key."""
    results = [measure(number) for number in range(rounds)]
    return {key: median(result[key] for result in results if key in result) for key in results[0]}


def time_pipeline(folder, changes, rounds, quick):
    def measure(number):
        print(f"pipeline: round {number + 1} of {rounds}", flush=True)
        here = folder / str(number)
        plain = pipeline.plain(here / "plain", changes)
        took = {"case study's own script": pipeline.case_study(here / "case")}
        took["the stages by plain python"] = sum(seconds for seconds, _ in plain.values())
        took |= pipeline.commands(here / "dvc", changes, number == 0 and not quick)
        took |= {("stage", name): seconds for name, (seconds, _) in plain.items()}
        took |= {
            ("import", name): seconds
            for name, seconds in pipeline.imports(here / "imports").items()
        }
        return took | {("memory", name): peak for name, (_, peak) in plain.items()}

    return in_turn(rounds, measure)


def table(header, rows):
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def processor():
    with suppress(OSError):  # only Linux has the file
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def machine():
    today = datetime.date.today()
    parts = [f"{today}", processor(), f"{os.cpu_count()} cores", platform.system()]
    parts += [f"Python {platform.python_version()}"]
    return ", ".join(parts + [f"{name} {version(name)}" for name in ("numpy", "dvc", "mlflow")])


def training_table(results):
    loop = results[LOOP]["seconds"]
    rows = []
    for name, result in results.items():
        if result.get("missing"):
            rows.append([name, "missing: " + result["missing"], "", "", ""])
            continue
        seconds = result["seconds"]
        ready = f"{result['ready']:.1f}"
        loss = f"{result['loss']:.6f}"
        rows.append([name, f"{seconds * 1e6:.0f}", f"{seconds / loop:.2f}", ready, loss])
    return table(["training", "µs per iteration", "ratio", "preparation, s", "final loss"], rows)


def growth_table(key, rows):
    header = [f"µs per iteration, by {TITLES[key]}", *(value for value, _ in rows)]
    lines = []
    for name in rows[0][1]:
        lines.append([name, *(microseconds(race[name]) for _, race in rows)])
    return table(header, lines)


def microseconds(result):
    return f"{result['seconds'] * 1e6:.0f}" if "seconds" in result else "missing"


def pipeline_tables(took):
    commands = {key: seconds for key, seconds in took.items() if isinstance(key, str)}
    script, cold = commands["case study's own script"], commands["cold `dvc repro`"]
    yield table(
        ["whole experiment", "seconds", "ratio"],
        [[k, f"{s:.2f}", f"{s / script:.2f}"] for k, s in commands.items()],
    )
    names = [key[1] for key in took if key[0] == "stage"]
    rows = []
    for name in names:
        whole, importing = took["stage", name], took["import", name]
        memory = took["memory", name]
        rows.append(
            [
                name,
                f"{whole:.2f}",
                f"{importing:.2f}",
                f"{max(0, whole - importing):.2f}",
                f"{memory:.0f}",
            ]
        )
    rows.append(["DVC", f"{cold - commands['the stages by plain python']:.2f}", "", "", ""])
    yield table(["where the time goes", "seconds", "start and imports", "work", "peak MB"], rows)


def goals(results, took):
    """What was aimed at, as (what, measured, goal)."""
    loop, ours = results[LOOP]["seconds"], results[OURS]["seconds"]
    yield "training time, relative to the case study's loop", ours / loop, 0.5
    limit = 1.6 * took["case study's own script"] + 3
    yield (
        "cold `dvc repro`, seconds (limit: 1.6 times the case study's script, plus 3)",
        took["cold `dvc repro`"],
        limit,
    )
    yield (
        "`dvc repro` with nothing to do, relative to `dvc status`",
        took["`dvc repro`, nothing to do"] / took["`dvc status`"],
        1.3,
    )
    of_queue = [key for key in took if isinstance(key, str) and str(pipeline.QUEUED) in key]
    if of_queue:
        each = sum(took[key] for key in of_queue) / pipeline.QUEUED
        changed = took["`dvc repro`, a parameter of the network changed"]
        yield "a queued experiment, relative to a `dvc repro`", each / changed, 1.2


def draw(path, results, grown, took):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(17, 4.8), layout="constrained")
    known = {name: found["seconds"] for name, found in results.items() if "seconds" in found}
    commands = {
        key.replace("`", ""): seconds for key, seconds in took.items() if isinstance(key, str)
    }
    ratios = {name: seconds / known[LOOP] for name, seconds in known.items()}
    for ax, bars, title, form in (
        (axes[0], ratios, "Time of an iteration, case study's loop = 1", "%.2f"),
        (axes[2], commands, "Whole experiments, seconds", "%.1f"),
    ):
        colors = ["#0072B2" if name in OTHERS else "#D55E00" for name in bars]
        ax.bar_label(ax.barh(list(bars), list(bars.values()), color=colors), fmt=form, padding=3)
        ax.invert_yaxis()
        ax.margins(x=0.12)
        ax.set_title(title)
    for name in grown["points"][0][1]:
        points = []
        for value, raced in grown["points"]:
            if "seconds" in raced[name]:
                points.append((value, raced[name]["seconds"] * 1e6))
        if points:
            style = {"color": "#D55E00", "linewidth": 3} if name == OURS else {"linewidth": 1.2}
            axes[1].loglog(*zip(*points, strict=True), marker="o", label=name, **style)
    axes[1].set(xlabel="points per class", title="Growth: µs per iteration")
    axes[1].legend(frameon=False)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="little work, nothing installed")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks", help="folder of the results"
    )
    options = parser.parse_args()
    quick = options.quick
    python = sys.executable if quick else peers_python()
    iterations, rounds, changes = (100, 1, SMALL) if quick else (10_000, 3, {})

    print("training", flush=True)
    results = race(python, PEERS, BASE, iterations, rounds)
    grown = dict(growth(python, quick))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        took = time_pipeline(Path(folder), changes, min(rounds, 2), quick)
        memory = []
        for points in (100, 300) if quick else (100, 1000, 10_000, 100_000):
            print(f"memory: {points} points per class", flush=True)
            size = {**changes, **FEW, "generate.points_per_class": points}
            memory.append(
                (points, pipeline.plain(Path(folder, f"memory{points}"), size, publish=False))
            )

    header = ["peak MB (seconds), by points per class", *(points for points, _ in memory)]
    rows = []
    for name in memory[0][1]:
        stages = [stages[name] for _, stages in memory]
        rows.append([name, *(f"{peak:.0f} ({seconds:.1f})" for seconds, peak in stages)])
    options.output.mkdir(parents=True, exist_ok=True)
    met = []
    for what, got, goal in goals(results, took):
        met.append([what, f"{got:.2f}", f"{goal:.2f}", "met" if got <= goal else "missed"])
    warning = "A quick trial: the numbers mean nothing. " if quick else ""
    text = [
        "# Benchmarks\n",
        f"{warning}{machine()}. Written by `make bench`.\n",
        f"Medians of {rounds} measurements, taken in turn (2 for the tables by size and for whole"
        f" commands, 1 for `dvc exp`). Training runs on one core, for {iterations:,} iterations of"
        " the default network (100 points in each of 3 classes, 100 hidden units), in double"
        " precision and from the same initial weights. All end at the same loss.\n",
        "![Results](results.png)\n",
        table(["goal", "measured", "at most", ""], met),
        training_table(results),
        *(growth_table(key, rows) for key, rows in grown.items()),
        *pipeline_tables(took),
        f"Each of the {pipeline.QUEUED} queued experiments changes one parameter of the network,"
        " as `dvc exp run` does here.\n",
        table(header, rows),
        "The last table is for 5 iterations per model.\n",
    ]
    (options.output / "results.md").write_text("\n".join(text))
    draw(options.output / "results.png", results, grown, took)
    print(f"written: {options.output / 'results.md'}")


if __name__ == "__main__":
    main()
