"""Publishes the results of the DVC pipeline to MLflow, one run for each: `python bridge`. See docs/bridge.md.

`python bridge --stage` prints the stage of dvc.yaml that does it.
"""

import argparse
import gc
import json
import os
import re
import shlex
import socket
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # a folder that is run has only itself there

from bridge.errors import exit_on_user_error
from bridge.files import atomic_write, main_checkout, project_root
from bridge.results import load_results
from bridge.settings import FILE, load_settings
from bridge.stages import RECEIPT, Pipeline
from bridge.store import EXPERIMENTS, PICTURES, complete_runs, configured_store, relocate_artifacts

PAGE = "workflowType=machine_learning"  # MLflow's pages open on their GenAI face
ADVICE = "This belongs below stages: in dvc.yaml, and into .gitignore the lines /mlflow.db* and /.mlflow.* and /mlruns/"


def track(root, pipeline, settings, store):
    """Publishes the results, unless the store has them: a list of (name, dict of run_id, experiment_id, new).

    UserError where a result is not what the stages wrote with these parameters, or the store is unreachable or refuses.
    """
    results = load_results(pipeline, settings, root)
    relocate_artifacts(store)
    runs = complete_runs(store, [result.digest for result in results])
    wanting = [result for result in results if not _shown(result, runs.get(result.digest))]
    for result in wanting:
        result.check_files()
    for result in results:
        pipeline.check(result.stages, root)
    if wanting:
        gc.disable()  # collecting while MLflow is imported takes as long as the import
        from bridge.lineage import load_lineage
        from bridge.publish import publish

        lineage = load_lineage(pipeline, root)
        if lineage.refusal:
            print(
                f"note: Git does not say which commit this is: {lineage.refusal}", file=sys.stderr
            )
        runs |= publish(wanting, lineage, store)
        gc.freeze()  # nor is anything collected at the exit
    with atomic_write(root / RECEIPT) as temporary:
        digests = {one.run: [one.digest, one.pictures_digest] for one in results}
        temporary.write_text(json.dumps(digests, sort_keys=True) + "\n")
    return [
        (result.run or store.experiment or store.number, runs[result.digest]) for result in results
    ]


def _shown(result, run):
    """Whether the run has it all: the result, these pictures of it, and the name of this experiment."""
    if run is None or run["tags"].get(PICTURES) != result.pictures_digest:
        return False
    experiment = os.environ.get("DVC_EXP_NAME")
    return experiment is None or experiment in run["tags"].get(EXPERIMENTS, "").split()


def stage(root, pipeline):
    """The stage of dvc.yaml that publishes all that the others write, whenever any of their parameters changes."""
    folder = Path(__file__).resolve().parent.relative_to(root).as_posix()
    deps = dict.fromkeys(
        path
        for kind in ("outs", "params")
        for of in pipeline.declared.values()
        for path in of[kind]
    )
    lines = ["  track:", f"    cmd: python {shlex.quote(folder)}", "    deps:"]
    for path in [*deps, *([FILE] if (root / FILE).exists() else [])]:
        plain = re.fullmatch(r"[A-Za-z_.][\w./-]*", path)
        lines.append(
            f"      - {path if plain else json.dumps(path)}"
        )  # YAML takes the strings of JSON
    return "\n".join([*lines, "    outs:", f"      - {RECEIPT}: {{cache: false}}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--stage", action="store_true", help="print the stage of dvc.yaml that publishes"
    )
    asked = parser.parse_args()
    root = project_root()
    pipeline, settings = Pipeline(root), load_settings(root)
    if asked.stage:
        print(ADVICE, file=sys.stderr)
        print(stage(root, pipeline))
        return
    store = configured_store(root, settings["experiment"] or main_checkout(root).name)
    for name, run in track(root, pipeline, settings, store):
        page = f"{store.server}/#/experiments/{run['experiment_id']}/runs"
        print(
            f"{name:7} {'published' if run.get('new') else 'was there':12}{page}/{run['run_id']}?{PAGE}"
        )
    print(
        f"{'charts' if store.is_remote else 'charts (mlflow ui)':20}{page}?{PAGE}&compareRunsMode=CHART"
    )


def publisher():
    """Exit code of a process that did it for us, having imported MLflow already; None if there is none.

    BRIDGE_PUBLISHER is the address of its Unix socket; what it gets is in tools/sweep/warm.py.
    """
    with suppress(OSError, KeyError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ.pop("BRIDGE_PUBLISHER"))
        told = json.dumps([sys.argv, os.getcwd(), {**os.environ}])
        socket.send_fds(connection, [told.encode() + b"\n"], [1, 2])
        return int(connection.recv(16) or 1)


if __name__ == "__main__":
    if (code := publisher()) is not None:
        sys.exit(code)
    with exit_on_user_error():
        main()
