"""Check a team's MLflow server: write many runs from several processes, and read every one back.

    MLFLOW_TRACKING_URI=http://... python deploy/check.py --runs 200 --processes 8

It writes to an experiment of its own, which it deletes at the end.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

POINTS = 1000  # of a curve


@dataclass(frozen=True)
class Written:
    """A run that was written."""

    run_id: str
    seconds: float


def curve(index: int) -> list[float]:
    """Return the values of the curve of a run."""
    return [index + 1 / (step + 1) for step in range(POINTS)]


def file_text(index: int) -> str:
    """Return the content of the file of a run."""
    return f"{index}\n" * 1000


def write(experiment_id: str, index: int) -> Written:
    """Write one run as large as the pipeline's: a curve, a parameter, a file."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    start = time.monotonic()
    client = MlflowClient()
    run_id = client.create_run(experiment_id).info.run_id
    points = [Metric("loss", value, step, step) for step, value in enumerate(curve(index))]
    client.log_batch(run_id, metrics=points, params=[Param("index", str(index))])
    client.log_text(run_id, file_text(index), "weights.txt")
    client.set_terminated(run_id)
    return Written(run_id, time.monotonic() - start)


def read(index: int, run_id: str) -> None:
    """Raise AssertionError unless all of a run is there."""
    from mlflow import MlflowClient, artifacts

    client = MlflowClient()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED", run_id
    assert run.data.params == {"index": str(index)}, run_id
    history = client.get_metric_history(run_id, "loss")
    assert [point.value for point in history] == curve(index), run_id
    text = artifacts.load_text(f"{run.info.artifact_uri}/weights.txt")
    assert text == file_text(index), run_id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=8)
    arguments = parser.parse_args()
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"

    from mlflow import MlflowClient

    client = MlflowClient()
    start = time.monotonic()
    experiment_id = client.create_experiment(f"check {time.time_ns()}")
    indices = range(arguments.runs)
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        written = list(pool.map(write, [experiment_id] * arguments.runs, indices))
        total = time.monotonic() - start
        run_ids = [run.run_id for run in written]
        found = client.search_runs([experiment_id], max_results=50000)
        assert {run.info.run_id for run in found} == set(run_ids)
        list(pool.map(read, indices, run_ids))
    client.delete_experiment(experiment_id)
    seconds = sorted(run.seconds for run in written)
    print(
        f"{arguments.runs} runs from {arguments.processes} processes in {total:.1f} s,"
        " all of them complete"
    )
    print(f"one run: median {seconds[len(seconds) // 2]:.2f} s, longest {seconds[-1]:.2f} s")


if __name__ == "__main__":
    main()
