"""mlflow.yaml: what a project may say of how it is shown; where it says nothing, the bridge finds out itself."""

import json
from typing import Any, Required, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from bridge.errors import UserError
from bridge.files import read

FILE = "mlflow.yaml"
KINDS = {str: "text", int: "a whole number", list: "a list", dict: "keys and values"}


class Model(TypedDict, total=False):
    """What MLflow loads."""

    loader: Required[str]  # a module with `_load_pyfunc`, which gets the file and config
    file: Required[str]  # an output
    code: list[str]  # folders that the loader is imported from
    config: dict[str, Any]
    inputs: list  # [type of NumPy, shape]
    outputs: list
    example: list


class Champion(TypedDict):
    """Which model is the best."""

    metric: str  # the higher the better
    on: list[str]  # files with the data that results are compared on


class Settings(TypedDict, total=False):
    """The keys of mlflow.yaml, all of them optional. {run} in a value becomes the name of the run."""

    experiment: str  # name of the MLflow experiment; else that of the project's folder
    runs: list[
        str
    ]  # one run for each of these stages, or item of a `foreach`; else one for the whole pipeline
    params: dict[str, Any]  # to add, by name
    names: dict[str, str]  # beginnings of parameters' and metrics' names, and what they become
    curves: dict[
        str, list[str]
    ]  # by path of a table, its columns to draw; else those that dvc.yaml says
    images: dict[
        str, str
    ]  # by name, a picture, or a folder of pictures that are named after their steps
    files: list[str]  # patterns of outputs to keep with the run; else all up to max_bytes
    max_bytes: int  # size of the largest output that is kept
    data: list[
        str
    ]  # outputs or inputs that are the data set; else the data files that no stage writes
    model: Model
    champion: Champion


def load_settings(root):
    """What mlflow.yaml says, with every key of `Settings`; UserError names the key, what was given, what is allowed."""
    content = (read(root / FILE) if (root / FILE).exists() else None) or {}
    _check("", content, Settings)
    if "champion" in content and "model" not in content:
        raise UserError(f"{FILE}: champion needs a model: it is the alias of one")
    kinds = get_type_hints(Settings)
    empty = {
        key: {} if is_typeddict(kind) else (get_origin(kind) or kind)()
        for key, kind in kinds.items()
    }
    return empty | {"max_bytes": 10_000_000} | content


def _check(where, value, kind):
    """Raises UserError if the value is not of the kind, or a part of it is not."""
    plain, parts = (
        (dict, get_type_hints(kind)) if is_typeddict(kind) else (get_origin(kind) or kind, None)
    )
    if plain is not Any and (not isinstance(value, plain) or isinstance(value, bool)):
        raise UserError(
            f"{FILE}: {where[1:] or 'the whole'} is {value!r}, but must be {KINDS[plain]}"
        )
    if parts:
        for key in [*value, *kind.__required_keys__]:
            if key not in parts or key not in value:
                wrong = "is missing" if key in parts else "is not a setting"
                raise UserError(
                    f"{FILE}: {f'{where}.{key}'[1:]} {wrong}; the settings are {', '.join(parts)}"
                )
            _check(f"{where}.{key}", value[key], parts[key])
    elif kinds := get_args(kind):
        for key, one in value.items() if plain is dict else enumerate(value):
            _check(f"{where}.{key}", one, kinds[-1])


def of_run(settings, run):
    """The settings for one run: {run}, wherever it stands, is its name."""
    return json.loads(json.dumps(settings, default=str).replace("{run}", json.dumps(run)[1:-1]))
