"""Stage track: publishes what the other stages wrote to MLflow, one run for each model's result."""

import gc

from filelock import FileLock

from spirals import paths
from spirals.errors import plain_errors
from spirals.files import write_json
from spirals.params import load_params
from spirals.results import lineage, read_results
from spirals.store import EXPERIMENTS, PICTURES, complete_runs, experiment_name, mend_moved, tracking_uri


def track(params, root, main_root):
    """Publishes the results of both models, unless the store has them.

    Args:
        params: all of them.
        root: folder of data/ and reports/.
        main_root: folder of the local store; another one than root in a DVC experiment
            that runs in a throw-away checkout.

    Returns:
        A list of (model, whether it was new, run id, experiment id).
    """
    results, source = read_results(params, root), lineage()
    uri, experiment, folder = tracking_uri(), experiment_name(), main_root / paths.ARTIFACTS
    digests = [result.digest for result in results]
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        mend_moved(uri, experiment, folder)
        known = complete_runs(uri, experiment, digests)
        wanting = [result for result in results if not _shown(result, source, known.get(result.digest))]
        if wanting:
            gc.disable()  # collecting while MLflow is imported takes as long as the import
            from spirals.tracking import publish

            known |= publish(wanting, source, uri, experiment, folder)
    write_json(root / paths.RECEIPT, {result.model: [result.digest, result.pictures] for result in results})
    return [(result.model, result in wanting, known[result.digest]) for result in results]


def _shown(result, source, run):
    """Whether the run has it all: the result, these pictures of it, and the name of this experiment."""
    if run is None or run["tags"].get(PICTURES) != result.pictures:
        return False
    return source["experiment"] is None or source["experiment"] in run["tags"].get(EXPERIMENTS, "").split()


def main():
    published = track(load_params(paths.ROOT), paths.ROOT, paths.main_root())
    uri = tracking_uri()
    server = uri if uri.startswith("http") else "http://127.0.0.1:5000"
    for model, new, run in published:
        address = f"{server}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}"
        print(f"{model:8}{'published' if new else 'was there':12}{address}")


if __name__ == "__main__":
    with plain_errors():
        main()
