"""Run a grid of DVC experiments, many at once, and show the results in a table and a picture.

    python tools/sweep width -S train_mlp.hidden_units=20,100,400 -S train_mlp.l2=0,0.01 --seeds 5

Each is an ordinary DVC experiment of the last commit, named after the sweep and its own values.
The same command, given again, runs only what is missing. See docs/cluster.md.
"""

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from grid import Grid, expand
from jobs import cluster_job, finished, last_commit, local_job
from pictures.matplotlib_setup import isolate_matplotlib
from pipeline import paths
from pipeline.errors import UserError, exit_on_user_error
from pipeline.files import write_text
from pool import Outcome, cluster_pool, local_pool, run_all
from summary import draw, tabulate
from worker import Job

TABLES = Path("reports/sweeps")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", help="its name; the experiments are called SWEEP-...")
    parser.add_argument(
        "-S",
        dest="overrides",
        metavar="KEY=VALUES",
        action="append",
        default=[],
        help="as for dvc exp run",
    )
    parser.add_argument(
        "--seeds", type=int, default=0, help="train each from this many different first weights"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="experiments at once on this machine (%(default)s)",
    )
    parser.add_argument(
        "--scheduler", help="address of a Dask cluster to use instead: tls://... or tcp://..."
    )
    parser.add_argument(
        "--repo", help="Git address that the workers of the cluster use (that of origin)"
    )
    arguments = parser.parse_args()
    if arguments.workers < 1:
        raise UserError(f"--workers is {arguments.workers}, but must be 1 or more")
    return arguments


def run_missing(
    arguments: argparse.Namespace, job: Job, grid: Grid, missing: dict[str, dict[str, str]]
) -> Outcome:
    """Run the experiments that are missing, with a progress bar that counts all of the grid."""
    if arguments.scheduler:
        context = cluster_pool(arguments.scheduler)
    else:
        context = local_pool(arguments.workers)
    total = len(grid.experiments)
    done = total - len(missing)
    with context as pool, tqdm(total=total, initial=done, unit="exp", disable=None) as bar:
        return run_all(pool, missing, job, bar)


def report(sweep: str, grid: Grid, references: dict[str, str], failed: dict[str, str]) -> None:
    """Write the table and, if a parameter has several values, the picture; print their paths."""
    table = tabulate(grid.experiments, references, failed)
    path = TABLES / f"{sweep}.csv"
    write_text(paths.ROOT / path, table.to_csv(index=False, lineterminator="\n"))
    print(path)
    if grid.swept and references:
        picture = path.with_suffix(".png")
        draw(paths.ROOT / picture, table, grid.swept)
        print(picture)


def main() -> None:
    isolate_matplotlib()
    arguments = parse_arguments()
    sweep = arguments.sweep
    grid = expand(sweep, arguments.overrides, arguments.seeds)
    experiments = grid.experiments
    commit = last_commit()
    job = cluster_job(commit, arguments.repo) if arguments.scheduler else local_job(commit)
    references = finished(job, sweep, experiments)
    missing = {name: experiments[name] for name in experiments if name not in references}
    outcome = Outcome()
    if missing:
        try:
            outcome = run_missing(arguments, job, grid, missing)
        finally:
            references = finished(job, sweep, experiments)
    report(sweep, grid, references, outcome.failed)
    print(f"{len(references)} of {len(experiments)} experiments are finished")
    print(f"In MLflow: tags.`dvc.experiments` LIKE '%{sweep}-%'")
    if outcome.stopped:
        raise KeyboardInterrupt
    if outcome.failed:
        raise UserError(f"{len(outcome.failed)} experiments failed; the reasons are in the table")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
