"""Read mlflow.yaml: what a project may say about how it is shown.

What it does not say, the bridge finds out itself.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, ValidationError

from bridge.errors import UserError
from bridge.files import read

FILE = "mlflow.yaml"
SHOWN_CHARACTERS = 80  # of a value in a message


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of mlflow.yaml; a key that is not a field is refused."""


class TensorType(_Section, frozen=True, array_like=True):
    """What a model takes or gives, written [type, shape]."""

    kind: str  # as NumPy calls it: float64
    shape: list[int]  # -1 for any size


class ModelSettings(_Section, frozen=True):
    """What MLflow loads as the model of a run."""

    loader: str  # a module with `_load_pyfunc`, which gets the file and config
    file: str  # an output
    code: list[str] = []  # folders that the loader is imported from
    config: dict[str, Any] = {}
    inputs: TensorType | None = None
    outputs: TensorType | None = None
    example: list[Any] | None = None


class ChampionSettings(_Section, frozen=True):
    """Which model is the best."""

    metric: str  # the higher the better
    on: list[str]  # files with the data that results are compared on


class Settings(_Section, frozen=True):
    """The keys of mlflow.yaml, all optional. {run} in a value becomes the name of the run.

    experiment: name of the MLflow experiment; else the name of the project's folder.
    runs: one run for each of these stages, or item of a `foreach`; else one for all stages.
    params: parameters to add, by name.
    names: beginnings of the names of parameters and metrics, and what they become.
    curves: by path of a table, its columns to draw; else those that dvc.yaml says.
    images: by name, a picture, or a folder of pictures that are named after their steps.
    files: patterns of outputs to keep with the run; else all up to max_bytes.
    max_bytes: size of the largest output that is kept.
    data: outputs or inputs that are the data set; else the data files that no stage writes.
    """

    experiment: str = ""
    runs: list[str] = []
    params: dict[str, Any] = {}
    names: dict[str, str] = {}
    curves: dict[str, list[str]] = {}
    images: dict[str, str] = {}
    files: list[str] = []
    max_bytes: Annotated[int, Meta(ge=0)] = 10_000_000
    data: list[str] = []
    model: ModelSettings | None = None
    champion: ChampionSettings | None = None

    def for_run(self, run: str) -> "Settings":
        """Return the settings for one run: {run}, wherever it stands, is its name."""
        content = _replace(msgspec.to_builtins(self), "{run}", run)
        return msgspec.convert(content, Settings)


SECTIONS: dict[str, type[_Section]] = {"model": ModelSettings, "champion": ChampionSettings}
KINDS = {"str": "text", "int": "a whole number", "array": "a list", "object": "keys and values"}


def load_settings(root: Path) -> Settings:
    """Return what mlflow.yaml says; all defaults where there is none.

    Raises:
        UserError: with the key, what was given, and what is allowed.
    """
    path = root / FILE
    content = read(path) if path.exists() else None
    if content is None:  # an empty file, too
        content = {}
    try:
        settings = msgspec.convert(content, Settings)
    except ValidationError as error:
        raise UserError(f"{FILE}: {_explain(str(error), content)}") from None
    if settings.champion and not settings.model:
        raise UserError(f"{FILE}: champion needs a model: it is the alias of one")
    return settings


def _replace(content: Any, old: str, new: str) -> Any:
    """Return nested dicts and lists with a text replaced in every key and value."""
    if isinstance(content, str):
        return content.replace(old, new)
    if isinstance(content, list | tuple):
        return [_replace(value, old, new) for value in content]
    if isinstance(content, dict):
        keys = [_replace(key, old, new) for key in content]
        values = [_replace(value, old, new) for value in content.values()]
        return dict(zip(keys, values, strict=True))
    return content


def _explain(message: str, content: Any) -> str:
    """Return msgspec's message as a user of YAML would say it: key, value given, what is allowed.

    msgspec ends with the place, as "$.model.code[0]"; "$.names[...]" is the value of some key.
    """
    reason, _, place = message.partition(" - at ")
    steps = re.findall(r"[.\[](\w+)", place)
    value = content
    section: type[_Section] = Settings
    for step in steps:
        value = value[int(step)] if isinstance(value, list) else value[step]
        section = SECTIONS.get(step, section)
    if "field" in reason:  # one is missing, or unknown
        name = reason.split("`")[1]
        wrong = "is missing" if "missing" in reason else "is not a setting"
        allowed = ", ".join(section.__struct_fields__)
        return f"{'.'.join([*steps, name])} {wrong}; the settings are {allowed}"
    if "[...]" in place:
        key, value = _refused_entry(steps[0], value)
        steps.append(key)
    key = ".".join(steps) or "the whole"
    return f"{key} is {_shorten(value)}, but must be {_name_kind(reason)}"


def _refused_entry(field: str, entries: dict[str, Any]) -> tuple[str, Any]:
    """Return the first entry of a field that msgspec refuses by itself."""
    for key, value in entries.items():
        try:
            msgspec.convert({field: {key: value}}, Settings)
        except ValidationError:
            return key, value
    raise AssertionError(f"no entry of {field} is refused")


def _name_kind(reason: str) -> str:
    """Return what msgspec expected ("Expected `array`, got `str`") in the words of YAML's users."""
    expected = reason.removeprefix("Expected ").partition(", got")[0].replace(" | null", "")
    kind = expected.split("`")[1]
    return expected.replace(f"`{kind}`", KINDS.get(kind, kind))


def _shorten(value: Any) -> str:
    """Return the value in one line of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
