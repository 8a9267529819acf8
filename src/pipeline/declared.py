"""Check that dvc.yaml trains the models of the code, and that the report depends on their files."""

from pathlib import Path

from pipeline import files, paths
from pipeline.errors import UserError
from spirals.models import MODELS


def check_models(root: Path) -> None:
    """Refuse models that dvc.yaml does not train, or whose files the report does not depend on.

    Otherwise a model that was taken out of dvc.yaml stays in the report, with its old results.

    Raises:
        UserError: dvc.yaml and the code do not name the same models, or the stage `report` does not
            depend on what the stages of a model write.
    """
    with files.file_errors(root / paths.PIPELINE, files.RESTORE):
        stages = files.read_yaml(root / paths.PIPELINE)["stages"]
        trained = list(map(str, stages["train"]["foreach"]))
        deps = list(map(str, stages["report"]["deps"]))
    for model in trained:
        if model not in MODELS:
            raise UserError(
                f"{paths.PIPELINE} trains the model {model}, which is not in MODELS "
                f"(src/spirals/models.py): add it there, or take it out of {paths.PIPELINE}"
            )
    for model in MODELS:
        if model not in trained:
            raise UserError(
                f"the model {model} is in MODELS (src/spirals/models.py), but "
                f"{paths.PIPELINE} does not train it: add it to the list of models there, or take "
                "it out of MODELS"
            )
        for path in model_files(model):
            if str(path) not in deps:
                raise UserError(
                    f"{paths.PIPELINE}: the stage report must have {path} in its deps, "
                    "or it does not see when that changes: add it there"
                )


def model_files(name: str) -> list[Path]:
    """Return the files of a model that the stage `report` reads."""
    return [
        paths.weights(name),
        paths.curve(name),
        paths.snapshots(name),
        paths.metrics(name),
        paths.confusion(name),
        paths.picture(name, "boundary"),
    ]
