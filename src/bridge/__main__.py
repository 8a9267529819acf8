"""Stage track: publishes what the other stages wrote to MLflow, one run for each model's result."""

import gc
import os

from spirals.locked import check_locked
from spirals.results import lineage, read_results
from spirals.store import EXPERIMENTS, PICTURES, complete_runs, configured_store, mend_moved

from pipeline import paths
from pipeline.errors import plain_errors
from pipeline.files import write_json
from pipeline.params import load_params

CHARTS = "runs?workflowType=machine_learning&compareRunsMode=CHART"  # an experiment's page opens on its GenAI face


def track(params, root, store):
    """Publishes the results of both models, unless the store has them.

    Args:
        params: all of them.
        root: folder of data/ and reports/.
        store: see `spirals.store.Store`.

    Returns:
        A list of (model, run), with run a dict: run_id, experiment_id, new.

    Raises:
        UserError: a file is missing, or is not what its stage wrote with these parameters,
            or the store is unreachable or refuses.
    """
    results = read_results(params, root)
    mend_moved(store)
    runs = complete_runs(store, [result.digest for result in results])
    wanting = [result for result in results if not _shown(result, runs.get(result.digest))]
    if wanting:
        check_locked(params, results, root)
        gc.disable()  # collecting while MLflow is imported takes as long as the import
        from spirals.tracking import publish

        runs |= publish(wanting, lineage(), store)
        gc.freeze()  # nor is anything collected at the exit
    write_json(root / paths.RECEIPT, {result.model: [result.digest, result.pictures_digest] for result in results})
    return [(result.model, runs[result.digest]) for result in results]


def _shown(result, run):
    """Whether the run has it all: the result, these pictures of it, and the name of this experiment."""
    if run is None or run["tags"].get(PICTURES) != result.pictures_digest:
        return False
    experiment = os.environ.get("DVC_EXP_NAME")
    return experiment is None or experiment in run["tags"].get(EXPERIMENTS, "").split()


def main():
    store = configured_store()
    for model, run in track(load_params(paths.ROOT), paths.ROOT, store):
        experiment = f"{store.server}/#/experiments/{run['experiment_id']}"
        print(f"{model:8}{'published' if run['new'] else 'was there':12}{experiment}/runs/{run['run_id']}")
    charts = "charts" if store.file is None else "charts (make ui)"
    print(f"{charts:20}{experiment}/{CHARTS}")


if __name__ == "__main__":
    with plain_errors():
        main()
