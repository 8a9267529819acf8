"""Run many queued experiments with two workers, and fill a store with many runs: is any lost?

Usage: make load ARGUMENTS="--experiments 100 --runs 1000"

It works in a temporary checkout with small parameters, and prints times and sizes. 100 experiments
take about ten minutes.
"""

import argparse
import json
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from conftest import SMALL, Checkout, set_params
from runs import all_complete, serving

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 3600  # seconds for all the experiments
BASELINE_UNITS = 8  # hidden units in the small parameters


def make_checkout(folder: Path) -> Checkout:
    """Return a small checkout after `dvc repro`, committed."""
    checkout = Checkout(folder / "project", folder / "site")
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout.root], check=True)
    checkout.run("git", "config", "user.name", "Load")
    checkout.run("git", "config", "user.email", "load@example.com")
    smaller = {"generate.points_per_class": 20, "plot.grid": 10, "plot.dpi": 50}
    set_params(checkout.root, {**SMALL, **smaller})
    checkout.run("dvc", "repro")
    checkout.commit("small")
    return checkout


def store_address(checkout: Checkout) -> str:
    return f"sqlite:///{checkout.root / 'mlflow.db'}"


def count_complete(checkout: Checkout) -> int:
    """Return the number of complete runs in the store."""
    address = f"{(checkout.root / 'mlflow.db').as_uri()}?mode=ro"
    query = "SELECT count(*) FROM tags WHERE key = 'bridge.complete'"
    with closing(sqlite3.connect(address, uri=True, timeout=30)) as store:
        count: int = store.execute(query).fetchone()[0]
    return count


def megabytes(checkout: Checkout) -> float:
    """Return the size of the store: the database and its artifacts."""
    total: float = (checkout.root / "mlflow.db").stat().st_size
    for path in (checkout.root / "mlflow-bridge").rglob("*"):
        if path.is_file():
            total += path.stat().st_size
    return total / 1e6


def run_queue(checkout: Checkout, count: int) -> None:
    """Run experiments by DVC's queue, and check that none is lost."""
    start = time.monotonic()
    first = BASELINE_UNITS + 1  # another width than the baseline's: every result is new
    widths = ",".join(str(width) for width in range(first, first + count))
    checkout.run("dvc", "exp", "run", "--queue", "--set-param", f"train_mlp.hidden_units={widths}")
    print(f"queued {count} in {time.monotonic() - start:.0f} s", flush=True)
    before = count_complete(checkout)
    start = time.monotonic()
    subprocess.run(
        ["dvc", "queue", "start", "--jobs", "2"],
        cwd=checkout.root,
        env=checkout.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    wait_for_runs(checkout, before, count, start)
    states = wait_for_queue(checkout, count, start)
    assert states == ["Success"] * count, states
    listed = count_experiments(checkout)
    assert listed == count, listed
    assert len(all_complete(store_address(checkout))) == before + count
    print(f"{count} succeeded, {count} shown by dvc, one complete run each; lost: 0", flush=True)


def wait_for_runs(checkout: Checkout, before: int, count: int, start: float) -> None:
    """Print the time and the size of the store after the first and before the last ten runs."""
    seen = 0
    seen_after = 0.0
    for goal in sorted({min(10, count), max(count - 10, 1), count}):
        while count_complete(checkout) - before < goal:
            if time.monotonic() - start > LIMIT:
                done = count_complete(checkout) - before
                raise SystemExit(f"only {done} of {count} after {LIMIT} s")
            time.sleep(0.2)
        passed = time.monotonic() - start
        each = (passed - seen_after) / (goal - seen)
        size = megabytes(checkout)
        print(
            f"{goal:4} runs after {passed:5.0f} s,"
            f" the last {goal - seen} {each:.2f} s each, {size:.1f} MB",
            flush=True,
        )
        seen = goal
        seen_after = passed


def wait_for_queue(checkout: Checkout, count: int, start: float) -> list[str]:
    """Return the final states of the experiments, as `dvc queue status` says them."""
    while True:
        lines = checkout.run("dvc", "queue", "status").stdout.splitlines()[1 : count + 1]
        states = [line.split()[-1] for line in lines]
        if not {"Running", "Queued"} & set(states) or time.monotonic() - start > LIMIT:
            return states
        time.sleep(1)


def count_experiments(checkout: Checkout) -> int:
    """Return the number of experiments that `dvc exp show` lists."""
    count = 0
    for entry in json.loads(checkout.run("dvc", "exp", "show", "--json").stdout):
        if entry["rev"] != "workspace":
            count += len(entry["experiments"] or [])
    return count


def fill(checkout: Checkout, count: int) -> None:
    """Add runs until the store has so many, with the metrics and tags of one that is there."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    client = MlflowClient(store_address(checkout))
    [experiment] = client.search_experiments(filter_string="name = 'spirals'")
    experiment_id = experiment.experiment_id
    model = client.search_runs([experiment_id], "params.model = 'mlp'", max_results=1)[0]
    history = client.get_metric_history(model.info.run_id, "loss")
    points = [Metric(**dict(point)) for point in history]
    params = [Param(key, value) for key, value in model.data.params.items()]
    missing = count - len(client.search_runs([experiment_id], max_results=count))
    for index in range(missing):
        name = f"filled {index}"
        run = client.create_run(experiment_id, run_name=name)
        tags = {**model.data.tags, "bridge.result": f"{index:064}", "mlflow.runName": name}
        run_tags = [RunTag(key, value) for key, value in tags.items()]
        client.log_batch(run.info.run_id, points, params, run_tags)
        client.set_terminated(run.info.run_id)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that an action takes, and its result."""
    start = time.monotonic()
    result = action()
    return time.monotonic() - start, result


def search_runs(address: str) -> list[Any]:
    """Return 100 runs, asked for as the UI does."""
    query = {"experiment_ids": ["1"], "max_results": 100, "order_by": ["start_time DESC"]}
    request = urllib.request.Request(
        f"{address}/ajax-api/2.0/mlflow/runs/search",
        json.dumps(query).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        found: list[Any] = json.load(reply)["runs"]
    return found


def measure(checkout: Checkout) -> None:
    """Print how long `track` and the UI take with the runs that are there."""
    label = f"{count_complete(checkout)} runs"
    nothing, _ = timed(lambda: checkout.run("python", "src/bridge"))
    checkout.set_params({"train_mlp.seed": 1000 + count_complete(checkout)})
    checkout.run("dvc", "repro", "report")
    new, done = timed(lambda: checkout.run("python", "src/bridge"))
    assert "published" in done.stdout
    with serving(checkout.root, "ui") as address:
        searches = [timed(lambda: search_runs(address)) for _ in range(5)]
    seconds = sorted(search[0] for search in searches)
    assert len(searches[0][1]) == min(100, count_complete(checkout))
    print(
        f"{label}: track with nothing new {nothing:.2f} s, with a new result {new:.2f} s;"
        f" the UI's query for 100 runs {seconds[2]:.2f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=100)
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkout = make_checkout(Path(folder))
        if arguments.experiments:
            run_queue(checkout, arguments.experiments)
        measure(checkout)
        if arguments.runs:
            fill(checkout, arguments.runs)
            measure(checkout)


if __name__ == "__main__":
    main()
