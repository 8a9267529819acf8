"""Load: many queued experiments with two workers, and a store with many runs. Prints figures; fails if any was lost.

Usage: python tools/load.py [--experiments 100] [--runs 1000]

It works in a scratch checkout with small parameters; 100 experiments take about ten minutes.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from conftest import SMALL, Checkout, set_params  # noqa: E402
from runs import all_complete, serving  # noqa: E402

LIMIT = 3600  # seconds for all the experiments


def scratch(folder):
    """A small checkout after `dvc repro`, committed."""
    made = Checkout(folder / "project", folder / "site")
    subprocess.run(["git", "clone", "--quiet", ROOT, made.root], check=True)
    made.run("git", "config", "user.name", "Load")
    made.run("git", "config", "user.email", "load@example.com")
    set_params(
        made.root, {**SMALL, "generate.points_per_class": 20, "plot.grid": 10, "plot.dpi": 50}
    )
    made.run("dvc", "repro")
    made.commit("small")
    return made


def published(made):
    """Complete runs in the store."""
    with closing(
        sqlite3.connect(f"{(made.root / 'mlflow.db').as_uri()}?mode=ro", uri=True, timeout=30)
    ) as store:
        return store.execute("SELECT count(*) FROM tags WHERE key = 'bridge.complete'").fetchone()[
            0
        ]


def size(made):
    """Megabytes of the store: the database and its artifacts."""
    files = [
        made.root / "mlflow.db",
        *(path for path in (made.root / "mlruns").rglob("*") if path.is_file()),
    ]
    return sum(path.stat().st_size for path in files) / 1e6


def run_queue(made, count):
    """Runs experiments by the queue; prints the time and the size of the store after the first and the last ten."""
    widths = ",".join(
        map(str, range(9, 9 + count))
    )  # another width than the baseline's 8: every result is new
    begun = time.monotonic()
    made.run("dvc", "exp", "run", "--queue", "--set-param", f"train_mlp.hidden_units={widths}")
    print(f"queued {count} in {time.monotonic() - begun:.0f} s", flush=True)
    first, begun = published(made), time.monotonic()
    subprocess.run(
        ["dvc", "queue", "start", "--jobs", "2"],
        cwd=made.root,
        env=made.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    before, at = 0, 0.0
    for goal in sorted({min(10, count), max(count - 10, 1), count}):
        while published(made) - first < goal:
            if time.monotonic() - begun > LIMIT:
                raise SystemExit(f"only {published(made) - first} of {count} after {LIMIT} s")
            time.sleep(0.2)
        passed = time.monotonic() - begun
        each = (passed - at) / (goal - before)
        print(
            f"{goal:4} runs after {passed:5.0f} s, the last {goal - before} {each:.2f} s each, {size(made):.1f} MB",
            flush=True,
        )
        before, at = goal, passed
    while True:
        states = [
            line.split()[-1]
            for line in made.run("dvc", "queue", "status").stdout.splitlines()[1 : count + 1]
        ]
        if not {"Running", "Queued"} & set(states) or time.monotonic() - begun > LIMIT:
            break
        time.sleep(1)
    assert states == ["Success"] * count, states
    shown = json.loads(made.run("dvc", "exp", "show", "--json").stdout)
    listed = [
        experiment
        for entry in shown
        if entry["rev"] != "workspace"
        for experiment in entry["experiments"] or []
    ]
    assert len(listed) == count, len(listed)
    assert len(all_complete(f"sqlite:///{made.root / 'mlflow.db'}")) == first + count
    print(f"{count} succeeded, {count} shown by dvc, one complete run each; lost: 0", flush=True)


def fill(made, count):
    """Adds runs to the store until it has that many, with the metrics and tags of one that is there."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    client = MlflowClient(f"sqlite:///{made.root / 'mlflow.db'}")
    number = client.get_experiment_by_name("spirals").experiment_id
    model = client.search_runs([number], "params.model = 'mlp'", max_results=1)[0]
    points = [
        Metric(**dict(point)) for point in client.get_metric_history(model.info.run_id, "loss")
    ]
    for i in range(count - len(client.search_runs([number], max_results=count))):
        run = client.create_run(number, run_name=f"filled {i}")
        tags = {**model.data.tags, "bridge.result": f"{i:064}", "mlflow.runName": f"filled {i}"}
        params = [Param(key, value) for key, value in model.data.params.items()]
        client.log_batch(run.info.run_id, points, params, [RunTag(*item) for item in tags.items()])
        client.set_terminated(run.info.run_id)


def timed(action):
    begun = time.monotonic()
    result = action()
    return time.monotonic() - begun, result


def ask(made, label):
    """Prints how long `track` and the UI take with the runs that are there."""
    nothing, _ = timed(lambda: made.run("python", "src/bridge"))
    made.set_params({"train_mlp.seed": 1000 + published(made)})
    made.run("dvc", "repro", "report")
    new, done = timed(lambda: made.run("python", "src/bridge"))
    assert "published" in done.stdout
    with serving(made.root, "ui") as address:
        query = json.dumps(
            {"experiment_ids": ["1"], "max_results": 100, "order_by": ["start_time DESC"]}
        ).encode()
        request = urllib.request.Request(
            f"{address}/ajax-api/2.0/mlflow/runs/search",
            query,
            {"Content-Type": "application/json"},
        )
        searches = []
        for _ in range(5):
            seconds, found = timed(lambda: json.load(urllib.request.urlopen(request, timeout=60)))
            searches.append(seconds)
    assert len(found["runs"]) == min(100, published(made))
    print(
        f"{label}: track with nothing new {nothing:.2f} s, with a new result {new:.2f} s;"
        f" the UI's query for 100 runs {sorted(searches)[2]:.2f} s",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=100)
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = scratch(Path(folder))
        if arguments.experiments:
            run_queue(made, arguments.experiments)
        ask(made, f"{published(made)} runs")
        if arguments.runs:
            fill(made, arguments.runs)
            ask(made, f"{published(made)} runs")


if __name__ == "__main__":
    main()
