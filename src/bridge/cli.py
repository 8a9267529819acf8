"""The commands of the bridge. Without one it publishes, as the stage in dvc.yaml does."""

import argparse
import gc
import sys
from pathlib import Path

from bridge.files import main_checkout, project_root
from bridge.init import COMMAND, changes, own_stage, stage_text, write_changes
from bridge.settings import Settings, load_settings
from bridge.stages import Pipeline
from bridge.store import Store, configured_store
from bridge.tracking import print_left_out, print_runs, track

DESCRIPTION = """\
Publish the results of a DVC pipeline to MLflow: one complete run for each distinct result, however
the pipeline was run. Run it in a DVC project. Without a command it publishes."""
INIT = """\
Add a stage to dvc.yaml that publishes whenever a result has changed, and to .gitignore what MLflow
writes. The changes are shown first. A stage that is there stays as it is."""
CHECK = """\
Say what would be published, what would be left out and why. Nothing is run or written. The exit
code is 1 if there is a problem."""
PUBLISH = """\
Publish the results that dvc.lock has, unless MLflow has them. The store is mlflow.db in the
project, or what MLFLOW_TRACKING_URI says."""
EXPERIMENTS = "every DVC experiment that is there already, instead of what is checked out"
ALL_COMMITS = "the same, and of every commit of which DVC's cache has the outputs"
STAGE = "print the stage that init adds, to be put into dvc.yaml by hand"
IGNORED = "/mlflow.db* and /.mlflow.* and /mlflow-bridge/"
ADVICE = f"This belongs below stages: in dvc.yaml, and into .gitignore the lines {IGNORED}"


def run(arguments: list[str]) -> None:
    """Run a command.

    Args:
        arguments: of the command line, without the name of the program.

    Raises:
        UserError: it cannot be done.
    """
    # Python looks for garbage while MLflow is imported, and among all that once more at its end:
    # 0.9 s of the 2.4 s that importing it and opening a store take. This process ends soon.
    gc.disable()
    asked = _parser().parse_args(arguments)
    if asked.stage:
        _print_stage()
    elif asked.command == "init":
        _init(asked)
    elif asked.command == "check":
        _check()
    elif asked.command == "publish" and (asked.experiments or asked.all_commits):
        _publish_experiments(asked)
    else:
        _publish()
    gc.freeze()  # what is there now is not looked at when Python ends


def _parser() -> argparse.ArgumentParser:
    is_installed = Path(sys.argv[0]).stem == COMMAND
    prog = COMMAND if is_installed else "python bridge"
    parser = argparse.ArgumentParser(prog=prog, description=DESCRIPTION)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument("--stage", action="store_true", help=STAGE)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    init = commands.add_parser("init", help="add the stage to dvc.yaml", description=INIT)
    init.add_argument("--yes", action="store_true", help="do not ask")
    init.add_argument(
        "--force", action="store_true", help="write a stage that is there again, with all outputs"
    )
    commands.add_parser("check", help="say what would be published", description=CHECK)
    publish = commands.add_parser("publish", help="publish the results", description=PUBLISH)
    publish.add_argument("--experiments", action="store_true", help=EXPERIMENTS)
    publish.add_argument("--all-commits", action="store_true", help=ALL_COMMITS)
    return parser


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from bridge.versions import bridge_version

        print(f"dvc-mlflow {bridge_version()}")
        parser.exit()


def _print_stage() -> None:
    pipeline = Pipeline(project_root())
    print(ADVICE, file=sys.stderr)
    print(stage_text(pipeline))


def _init(asked: argparse.Namespace) -> None:
    pipeline = Pipeline(project_root())
    found = changes(pipeline, force=asked.force)
    if found:
        write_changes(found, is_agreed=asked.yes)
        return
    print("nothing to do: the stage is in dvc.yaml, and Git ignores what MLflow writes")
    _print_unpublished(pipeline)


def _print_unpublished(pipeline: Pipeline) -> None:
    """Say which stages ours has no output of."""
    others = []
    for name, stage in pipeline.declared.items():
        if stage.outs and name not in pipeline.upstream:
            others.append(name)
    if others:
        own = own_stage(pipeline.root)
        print(f"{own} publishes nothing of {', '.join(others)}: init --force adds their outputs")


def _check() -> None:
    from bridge.check import print_overview

    pipeline, settings, store = _load()
    if not print_overview(pipeline, settings, store):
        sys.exit(1)


def _publish() -> None:
    pipeline, settings, store = _load()
    print_left_out(pipeline)
    print_runs(track(pipeline, settings, store), store)


def _publish_experiments(asked: argparse.Namespace) -> None:
    from bridge.backfill import publish_snapshots

    publish_snapshots(project_root(), all_commits=asked.all_commits)


def _load() -> tuple[Pipeline, Settings, Store]:
    """Return what the project has, and the store that its results go to."""
    root = project_root()
    pipeline = Pipeline(root)
    settings = load_settings(root)
    return pipeline, settings, configured_store(root, _experiment(root, settings))


def _experiment(root: Path, settings: Settings) -> str:
    """Return the name of the MLflow experiment, where no variable says it."""
    return settings.experiment or main_checkout(root).name
