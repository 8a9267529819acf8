"""Runs a grid of DVC experiments on many workers, with Dask, and shows what came of it.

    python tools/sweep width -S train_mlp.hidden_units=20,100,400 -S train_mlp.l2=0.001,0.01 --seeds 5

Each is an ordinary DVC experiment of the last commit, named after the sweep and its own values.
The same command, given again, runs only what is missing. See docs/cluster.md.
"""

import argparse
import itertools
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import worker  # noqa: E402

from bridge.store import redact_address  # noqa: E402
from pipeline import paths  # noqa: E402
from pipeline.errors import UserError, exit_on_user_error  # noqa: E402
from pipeline.files import write_text  # noqa: E402
from pipeline.params import load_params  # noqa: E402
from spirals.models import MODELS  # noqa: E402

SEEDED = tuple(
    f"train_{name}.seed" for name in MODELS
)  # what --seeds sets: the first weights of all models
INPUTS = (
    "src",
    "params.yaml",
    "dvc.yaml",
    "mlflow.yaml",
)  # what the workers take from the last commit
TABLES = Path("reports/sweeps")


def expand(sweep, overrides, seeds=0):
    """The grid of a sweep, in DVC's own grammar of `dvc exp run -S`.

    Args:
        sweep: its name.
        overrides: such as "train_mlp.l2=0.001,0.01".
        seeds: how many first weights each point of the grid is trained from; 0: the committed ones.

    Returns:
        By name of the experiment, its values by key; and the keys with several values.

    Raises:
        UserError: the name or an override cannot be used.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    if not sweep.isascii() or not sweep.replace("_", "").isalnum():
        raise UserError(f"the name of a sweep is letters, digits and _, but not {sweep!r}")
    values = {}
    for override in overrides:
        try:
            for point in get_hydra_sweeps(to_path_overrides([override])):
                key, _, value = point[str(paths.PARAMS)][0].partition("=")
                values.setdefault(key, {})[value] = None
        except (DvcException, HydraException, KeyError):
            raise UserError(
                f"-S {override} is neither KEY=VALUE,VALUE,... nor KEY=range(FROM,TO,STEP)"
            ) from None
    if seeds and not values.keys().isdisjoint(SEEDED):
        raise UserError(f"--seeds sets {' and '.join(SEEDED)}: leave them out of -S")
    for key in values:
        for value in values[key]:
            _check(f"{key}={value}")

    swept = [key for key in values if len(values[key]) > 1]
    short = [key.partition(".")[2] for key in swept]
    labels = {
        key: name if short.count(name) == 1 else key for key, name in zip(swept, short, strict=True)
    }
    experiments = {}
    for combination in itertools.product(*values.values()):
        point = dict(zip(values, combination, strict=True))
        name = "-".join([sweep, *(f"{labels[key]}={point[key]}" for key in swept)])
        if not seeds:
            experiments[name] = point
        for seed in range(seeds):
            experiments[f"{name}-seed={seed}"] = point | dict.fromkeys(SEEDED, str(seed))
    return experiments, swept


def _check(override):
    """Raises UserError unless params.yaml is valid with the override: DVC itself accepts a wrong type."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(paths.ROOT / paths.PARAMS, folder)
        try:
            apply_overrides(Path(folder, paths.PARAMS), [override])
        except DvcException as error:
            raise UserError(
                f"-S {override}: {str(error.__cause__ or error).splitlines()[0]}"
            ) from None
        load_params(Path(folder))


def local_job(rev):
    """What workers of this machine are told: they share this checkout's cache and MLflow store.

    Their clones lie where DVC has its own throw-away checkouts: see `paths.main_root`.
    """
    return {
        "rev": rev,
        "address": str(paths.ROOT),
        "folder": str(paths.ROOT / ".dvc/tmp/exps/sweep"),
        "env": {},
        "cache": _output("dvc", "cache", "dir"),
        "push": False,
    }


def cluster_job(rev, address):
    """What workers of a cluster are told: they share a Git repository, DVC's remote or cache, an MLflow server."""
    address = address or _output("git", "remote", "get-url", "origin")
    if not address:
        raise UserError(
            "the workers clone from and push to a Git repository that all of them reach: give it by --repo"
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or uri.startswith("sqlite:"):
        raise UserError(
            "the workers of a cluster need an MLflow server: start one that all of them reach,"
            f" and set MLFLOW_TRACKING_URI to its address, http://...; it is {uri or 'not set'} now"
        )
    remote = _output("dvc", "config", "--project", "core.remote")
    if not remote and not _output("dvc", "config", "--project", "cache.dir"):
        raise UserError(
            "the workers share no data: commit a DVC remote, dvc remote add --default NAME ADDRESS"
        )
    env = {
        key: os.environ[key]
        for key in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")
        if key in os.environ
    }
    return {
        "rev": rev,
        "address": address,
        "folder": "clones",
        "env": env,
        "cache": None,
        "push": bool(remote),
    }


def _output(*command):
    """What a command prints in this checkout; empty if it fails."""
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def finished(job, sweep, experiments):
    """Which experiments are finished: by name, their Git ref in this checkout.

    Raises:
        UserError: one of them has the name, but other values; or the repository of the workers cannot be reached.
    """
    folder = f"refs/exps/{job['rev'][:2]}/{job['rev'][2:]}"
    if job["address"] != str(paths.ROOT):  # workers of this machine push into this checkout
        refs = f"{folder}/{sweep}-*"
        done = subprocess.run(
            ["git", "fetch", "--quiet", job["address"], f"+{refs}:{refs}"], cwd=paths.ROOT
        )
        if done.returncode:
            raise UserError(f"cannot fetch from {redact_address(job['address'])}")
    refs = _output("git", "for-each-ref", "--format=%(refname)", folder).split()
    found = {ref.rpartition("/")[2]: ref for ref in refs if ref.rpartition("/")[2] in experiments}
    yaml = YAML(typ="safe")
    for name, ref in found.items():
        params = yaml.load(_output("git", "show", f"{ref}:{paths.PARAMS}"))
        for key, value in experiments[name].items():
            section, _, parameter = key.partition(".")
            given = params[section][parameter]
            if given != yaml.load(value):
                raise UserError(
                    f"{name} is there with {key}={given}, not {value}: give this sweep another name"
                )
    return found


@contextmanager
def connected(scheduler, workers):
    """A Dask client; raises UserError without Dask, without a scheduler, or without a worker."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise UserError("a sweep needs Dask: pip install 'distributed'") from None
    logging.disable()  # Dask's own words; what goes wrong is told in ours
    if scheduler:
        try:
            client = Client(scheduler, timeout=20)
        except (OSError, ValueError) as error:
            raise UserError(f"no scheduler answers at {scheduler}: {error}") from None
        with client:
            for module in (worker.warm, worker):  # in the order of their imports
                client.upload_file(module.__file__)
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # any free port
            silence_logs=logging.CRITICAL,
            preload=[
                "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
            ],  # Ctrl-C is for us to handle
        ) as cluster,
        cluster.get_client() as client,
    ):
        yield client


def run_all(client, todo, job, bar):
    """Runs the experiments, as many at once as there are threads of workers.

    Ctrl-C lets what is running end; a second one does not.

    Args:
        client: of Dask.
        todo: by name of the experiment, its values.
        job: see `worker.run_experiment`.
        bar: of tqdm.

    Returns:
        By name of each failed experiment, the reason; and whether Ctrl-C was pressed.

    Raises:
        UserError: the scheduler is lost.
    """
    from distributed import CancelledError, wait

    stopped = False

    def stop(*_):
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        bar.write("Stopping when the running experiments end; Ctrl-C again stops them too.")

    todo, running, failed = list(todo.items()), {}, {}
    before = signal.signal(signal.SIGINT, stop)
    try:
        while running or (todo and not stopped):
            while todo and not stopped and len(running) < max(1, sum(client.nthreads().values())):
                name, values = todo.pop(0)
                running[client.submit(worker.run_experiment, name, values, job, pure=False)] = name
            bar.set_postfix(running=len(running), failed=len(failed))
            try:
                done, _ = wait(list(running), timeout=1, return_when="FIRST_COMPLETED")
            except TimeoutError:
                continue
            for future in done:
                name = running.pop(future)
                error = future.result() if future.status == "finished" else future.exception()
                if error:
                    failed[name] = str(error)
                    bar.write(f"{name} failed: {error}")
                bar.update()
    except (CancelledError, OSError):
        raise UserError(
            "the scheduler is lost; what is finished is kept, and the same command runs the rest"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
    return failed, stopped


def report(sweep, experiments, swept, refs, failed):
    """Writes the table and, if a parameter has several values, the picture; returns their paths."""
    from summary import draw, tabulate

    table = tabulate(experiments, refs, failed)
    files = [TABLES / f"{sweep}.csv"]
    write_text(paths.ROOT / files[0], table.to_csv(index=False, lineterminator="\n"))
    if swept and refs:
        files.append(TABLES / f"{sweep}.png")
        draw(paths.ROOT / files[1], table, swept)
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", help="its name; the experiments are called SWEEP-...")
    parser.add_argument(
        "-S",
        dest="overrides",
        metavar="KEY=VALUES",
        action="append",
        default=[],
        help="as dvc exp run",
    )
    parser.add_argument(
        "--seeds", type=int, default=0, help="run each with so many seeds of the first weights"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="processes on this machine (%(default)s)",
    )
    parser.add_argument("--scheduler", help="address of a Dask cluster to use instead, tcp://...")
    parser.add_argument(
        "--repo", help="Git address that the workers of the cluster use (that of origin)"
    )
    args = parser.parse_args()

    experiments, swept = expand(args.sweep, args.overrides, args.seeds)
    if _output("git", "status", "--porcelain", "--", *INPUTS):
        raise UserError(
            f"the workers run the last commit, and {', '.join(INPUTS)} have changed since: commit first"
        )
    rev = _output("git", "rev-parse", "HEAD")
    job = cluster_job(rev, args.repo) if args.scheduler else local_job(rev)
    refs = finished(job, args.sweep, experiments)
    todo = {name: values for name, values in experiments.items() if name not in refs}
    failed, stopped = {}, False
    if todo:
        done = len(experiments) - len(todo)
        try:
            with (
                connected(args.scheduler, args.workers) as client,
                tqdm(total=len(experiments), initial=done, unit="exp", disable=None) as bar,
            ):
                failed, stopped = run_all(client, todo, job, bar)
        finally:
            refs = finished(job, args.sweep, experiments)
    for file in report(args.sweep, experiments, swept, refs, failed):
        print(file)
    print(f"{len(refs)} of {len(experiments)} experiments are finished")
    print(f"In MLflow: tags.`dvc.experiments` LIKE '%{args.sweep}-%'")
    if stopped:
        raise KeyboardInterrupt
    if failed:
        raise UserError(f"{len(failed)} experiments failed; the reasons are in the table")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
