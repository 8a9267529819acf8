"""Checks a team's MLflow server: many runs at once from several processes, and every one of them read back.

    MLFLOW_TRACKING_URI=http://... python deploy/check.py --runs 200 --processes 8

Writes to an experiment of its own, which it deletes at the end.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

POINTS = 1000  # of a curve


def write(experiment, number):
    """One run as large as the pipeline's: a curve, parameters, a file; returns its id and the seconds it took."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client, start = MlflowClient(), time.monotonic()
    run = client.create_run(experiment).info.run_id
    points = [Metric("loss", number + 1 / (step + 1), step, step) for step in range(POINTS)]
    client.log_batch(run, metrics=points, params=[Param("number", str(number))])
    client.log_text(run, f"{number}\n" * 1000, "weights.txt")
    client.set_terminated(run)
    return run, time.monotonic() - start


def read(number, run):
    """Raises AssertionError unless all of the run is there."""
    from mlflow import MlflowClient, artifacts

    client = MlflowClient()
    found = client.get_run(run)
    assert found.info.status == "FINISHED" and found.data.params == {"number": str(number)}, run
    assert [point.value for point in client.get_metric_history(run, "loss")] == [
        number + 1 / (step + 1) for step in range(POINTS)
    ], run
    assert artifacts.load_text(f"{found.info.artifact_uri}/weights.txt") == f"{number}\n" * 1000, (
        run
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=8)
    args = parser.parse_args()
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

    from mlflow import MlflowClient

    client, start = MlflowClient(), time.monotonic()
    experiment = client.create_experiment(f"check {time.time_ns()}")
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        runs, seconds = zip(
            *pool.map(write, [experiment] * args.runs, range(args.runs)), strict=True
        )
        written = time.monotonic() - start
        assert {
            run.info.run_id for run in client.search_runs([experiment], max_results=50000)
        } == set(runs)
        list(pool.map(read, range(args.runs), runs))
    client.delete_experiment(experiment)
    print(f"{args.runs} runs from {args.processes} processes in {written:.1f} s, all of them whole")
    print(
        f"one run: median {sorted(seconds)[len(seconds) // 2]:.2f} s, longest {max(seconds):.2f} s"
    )


if __name__ == "__main__":
    main()
