"""mlflow.yaml: what a project may say of how it is shown; where it says nothing, the bridge finds out itself."""

from dataclasses import dataclass, field, fields

from bridge.errors import UserError
from bridge.files import read

FILE = "mlflow.yaml"


@dataclass(frozen=True)
class Settings:
    """The keys of mlflow.yaml, all of them optional. {run} in a value becomes the name of the run.

    experiment: name of the MLflow experiment; else that of the project's folder.
    runs: names of `foreach` stages: one run for each of their items; else one for the whole pipeline.
    params: parameters to add, by name.
    names: beginnings of parameters' and metrics' names, and what they become.
    curves: by path of a table, its columns to draw; else those that dvc.yaml says.
    images: by name, a picture, or a folder of pictures that are named after their steps.
    files: patterns of outputs to keep with the run; else all up to max_bytes.
    max_bytes: size of the largest output that is kept.
    data: outputs or inputs that are the data set; else the data files that no stage writes.
    model: what MLflow loads: loader (a module), code (folders), file, config, inputs, outputs, example.
    champion: metric (the higher the better), and on: files with the data that results are compared on.
    """

    experiment: str = ""
    runs: list = field(default_factory=list)
    params: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)
    curves: dict = field(default_factory=dict)
    images: dict = field(default_factory=dict)
    files: list = field(default_factory=list)
    max_bytes: int = 10_000_000
    data: list = field(default_factory=list)
    model: dict = field(default_factory=dict)
    champion: dict = field(default_factory=dict)


PARTS = {
    "model": ("loader", "code", "file", "config", "inputs", "outputs", "example"),
    "champion": ("metric", "on"),
}


def load_settings(root):
    """Reads and checks mlflow.yaml; raises UserError that names the key, what was given, and what is allowed."""
    content = (read(root / FILE) if (root / FILE).exists() else None) or {}
    allowed = {one.name: type(getattr(Settings(), one.name)) for one in fields(Settings)}
    if not isinstance(content, dict):
        raise UserError(f"{FILE} must hold keys, of {', '.join(allowed)}")
    for key, value in content.items():
        if key not in allowed:
            raise UserError(f"{FILE}: {key} is not a setting; allowed are {', '.join(allowed)}")
        if not isinstance(value, allowed[key]):
            kind = {dict: "keys and values", list: "a list", str: "text", int: "a whole number"}[allowed[key]]
            raise UserError(f"{FILE}: {key} is {value!r}, but must be {kind}")
        for part in value if key in PARTS else ():
            if part not in PARTS[key]:
                raise UserError(f"{FILE}: {key}.{part} is not a setting; allowed are {', '.join(PARTS[key])}")
    for key, needed in {"model": ("loader", "file"), "champion": ("metric", "on")}.items():
        for part in needed if key in content else ():
            if part not in content[key]:
                raise UserError(f"{FILE}: {key}.{part} is missing")
    return Settings(**content)


def of_run(value, run):
    """A setting for one run: {run} is its name."""
    if isinstance(value, dict):
        return {of_run(key, run): of_run(one, run) for key, one in value.items()}
    if isinstance(value, list):
        return [of_run(one, run) for one in value]
    return value.replace("{run}", run) if isinstance(value, str) else value
