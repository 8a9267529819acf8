"""Read params.yaml, and check it: the only place that defines what it may contain."""

import argparse
import difflib
import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, get_args

import msgspec
from msgspec import Meta
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from pipeline import files, paths
from pipeline.errors import UserError
from spirals.models import MODELS

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container (Linux, cgroup v2), in bytes
SHOWN_CHARACTERS = 80  # of a value in a message

# Bytes of memory that the stages need at most: measured, and rounded up.
POINT_BYTES = 400  # for each point ...
POINT_CLASS_BYTES = 80  # ... and on top of that for each of its scores
POINT_UNIT_BYTES = 32  # ... and for each hidden unit in the only hidden layer
# ... or for each one in several: between two hidden layers `matmul` keeps eight running sums of
# every unit, and what it adds to them.
POINT_DEEP_UNIT_BYTES = 160
WEIGHT_BYTES = 6000  # the snapshots, and their text
RECORD_BYTES = 1000  # for each iteration that the curve records
CELL_BYTES = 300  # for each cell of the grid ...
CELL_CLASS_BYTES = 40  # ... and on top of that for each of its scores


def _whole(low: int, high: int) -> Meta:
    return Meta(ge=low, le=high, description=f"a whole number from {low} to {high}, digits only")


def _number(low: float, high: float) -> Meta:
    return Meta(ge=low, le=high, description=f"a number from {low} to {high}")


def _positive(high: float) -> Meta:
    return Meta(gt=0, le=high, description=f"a number above 0, to {high}")


Seed = Annotated[int, _whole(0, 2**32 - 1)]
Draws = Annotated[int, _whole(0, 10_000_000)]
Points = Annotated[int, _whole(2, 1_000_000)]
Classes = Annotated[int, _whole(2, 100)]
Noise = Annotated[float, _number(0, 10)]  # radians
WeightScale = Annotated[float, _positive(100)]
LearningRate = Annotated[float, _positive(10_000)]
Regularization = Annotated[float, _number(0, 100)]
Iterations = Annotated[int, _whole(1, 100_000_000)]
HiddenUnits = Annotated[int, _whole(1, 100_000)]
GridCells = Annotated[int, _whole(10, 2000)]
DotsPerInch = Annotated[int, _whole(50, 600)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of params.yaml: every key is required, and no other is allowed."""


class Generate(Section, frozen=True):
    seed: Seed
    skip_draws: Draws
    points_per_class: Points
    classes: Classes
    noise: Noise


class Train(Section, frozen=True):
    seed: Seed
    skip_draws: Draws
    weight_scale: WeightScale
    learning_rate: LearningRate
    l2: Regularization
    iterations: Iterations
    record_every: Iterations


class TrainMLP(Train, frozen=True):
    hidden_units: HiddenUnits


class Evaluate(Section, frozen=True):
    seed: Seed
    points_per_class: Points


class Plot(Section, frozen=True):
    grid: GridCells
    dpi: DotsPerInch


class Params(Section, frozen=True):
    generate: Generate
    train_linear: Train
    train_mlp: TrainMLP
    evaluate: Evaluate
    plot: Plot

    def train(self, model: str) -> Any:
        """Return the section of a model."""
        return getattr(self, f"train_{model}")


def model_argument(description: str | None) -> str:
    """Return the name of the model that a stage's script was given on its command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", choices=MODELS)
    return str(parser.parse_args().model)


def load_params(root: Path) -> Params:
    """Return the parameters of params.yaml, read as DVC reads it: YAML 1.2, where 1e-3 is a number.

    It is checked as a whole: a mistake in any section stops every stage.

    Raises:
        UserError: with the key, what was given, and what is allowed.
    """
    try:
        content = (root / paths.PARAMS).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {paths.PARAMS}: {error.strerror}") from None
    params: Params = _check_section(Params, _parse_yaml(content), "")
    _check_memory(params)
    return params


def used_params(params: Params, root: Path) -> Params:
    """Return the parameters that the results were made with, as dvc.lock has them.

    A stage may be frozen, and its result older than params.yaml. What dvc.lock does not have is
    taken from `params`.

    Raises:
        UserError: dvc.lock has values that params.yaml must not have.
    """
    sections = msgspec.to_builtins(params)
    stages = files.read_lock(root)
    with files.file_errors(root / paths.LOCK, files.DELETE_LOCK):
        for stage in ("generate", *(f"train@{name}" for name in MODELS)):
            locked = stages.get(stage, {}).get("params", {}).get(str(paths.PARAMS), {})
            for section, used in locked.items():
                if isinstance(used, dict):
                    current = sections[section]
                    sections[section] = {key: used.get(key, current[key]) for key in current}
        try:
            return msgspec.convert(sections, Params)
        except msgspec.ValidationError as error:
            raise ValueError(error) from None


def _parse_yaml(content: bytes) -> Any:
    try:
        return YAML(typ="safe").load(content)
    except MarkedYAMLError as error:
        line = error.problem_mark.line
        reason = error.problem
    except ReaderError as error:
        line = content.count(b"\n", 0, error.position)
        reason = error.reason
    except Exception as error:  # ValueError of an impossible date, IndexError of `!!int`
        reason = _shortened(str(error))
        raise UserError(f"{paths.PARAMS}: not valid YAML: {reason}") from None
    raise UserError(f"{paths.PARAMS}, line {line + 1}: not valid YAML: {_shortened(reason)}")


def _check_section(section: type[Section], value: Any, key: str) -> Any:
    """Return the value of a key as a section, in which no key is missing or unknown."""
    fields = {field.name: field.type for field in msgspec.structs.fields(section)}
    if not isinstance(value, dict):
        _refuse(key, value, f"must hold the keys {', '.join(fields)}")
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in fields:
            _refuse_unknown(prefix, name, list(fields))
    checked = {}
    for name, kind in fields.items():
        if name not in value:
            raise UserError(f"{paths.PARAMS}: {prefix}{name} is missing")
        if isinstance(kind, type):
            checked[name] = _check_section(kind, value[name], prefix + name)
        else:
            checked[name] = _check_number(kind, value[name], prefix + name)
    return section(**checked)


def _check_number(kind: Any, value: Any, key: str) -> Any:
    """Return the value of a key as a number of this kind."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        _, meta = get_args(kind)
        _refuse(key, value, f"must be {meta.description}")


def _refuse_unknown(prefix: str, name: Any, allowed: list[str]) -> NoReturn:
    shown = _shortened(name)
    near = difflib.get_close_matches(shown, allowed, n=1)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"allowed are {', '.join(allowed)}"
    raise UserError(f"{paths.PARAMS}: {prefix}{shown} is not a parameter; {hint}")


def _refuse(key: str, value: Any, rule: str) -> NoReturn:
    where = f"{paths.PARAMS}: {key}" if key else str(paths.PARAMS)
    raise UserError(f"{where} is {_described(value)}, but {rule}")


def _described(value: Any) -> str:
    """Return a value in the words of someone who writes YAML."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {_shortened(repr(value))}"
    return _shortened(value)


def _shortened(value: Any) -> str:
    """Return the value in one line of at most 80 characters."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # of a number of 5,000 digits, or of very deep lists
        return "too long to be shown"
    text = "".join(c if c.isprintable() else " " for c in text)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[: SHOWN_CHARACTERS - 3]}..."


class Need(NamedTuple):
    """Memory that the stages need, and how to need less."""

    size: int  # bytes
    advice: str


def _check_memory(params: Params) -> None:
    """Refuse sizes that cannot fit, before anything is allocated."""
    needs = [
        Need(_bytes_of_points(params), "take fewer points, classes or hidden units"),
        Need(_bytes_of_weights(params), "take fewer hidden units or classes"),
        Need(_bytes_of_curves(params), "take fewer iterations, or a larger record_every"),
        Need(_bytes_of_grid(params), "take a smaller grid or fewer classes"),
    ]
    largest = max(needs, key=lambda need: need.size)
    memory = _available_memory()
    if largest.size > memory:
        needed = f"about {largest.size / 2**30:,.1f} GiB of memory"
        available = f"{memory / 2**30:,.1f}"
        raise UserError(
            f"{paths.PARAMS} asks for {needed}; this machine has {available}: {largest.advice}"
        )


def _bytes_of_points(params: Params) -> int:
    """Return the bytes for the larger of the two data sets, on its way through a model."""
    classes = params.generate.classes
    per_class = max(params.generate.points_per_class, params.evaluate.points_per_class)
    for_units = []
    for sizes in _layer_sizes(params):
        hidden = sizes[1:-1]
        unit_bytes = POINT_UNIT_BYTES if len(hidden) < 2 else POINT_DEEP_UNIT_BYTES
        for_units.append(unit_bytes * sum(hidden))
    point_bytes = POINT_BYTES + POINT_CLASS_BYTES * classes + max(for_units)
    return classes * per_class * point_bytes


def _bytes_of_weights(params: Params) -> int:
    """Return the bytes for the weights of the larger model."""
    counts = []
    for sizes in _layer_sizes(params):
        counts.append(sum((inputs + 1) * units for inputs, units in pairwise(sizes)))
    return WEIGHT_BYTES * max(counts)


def _bytes_of_curves(params: Params) -> int:
    """Return the bytes for the training curves of all models."""
    sections = [params.train(name) for name in MODELS]
    return sum(RECORD_BYTES * (each.iterations // each.record_every) for each in sections)


def _bytes_of_grid(params: Params) -> int:
    """Return the bytes for the grid that the decision boundary is drawn from."""
    cells = params.plot.grid * params.plot.grid
    return cells * (CELL_BYTES + CELL_CLASS_BYTES * params.generate.classes)


def _layer_sizes(params: Params) -> list[list[int]]:
    """Return the units of every layer, of each model."""
    classes = params.generate.classes
    return [model.layer_sizes(2, classes, params.train(name)) for name, model in MODELS.items()]


def _available_memory() -> int:
    """Return the bytes of memory that this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no such file, or the word max
        memory = min(memory, int(MEMORY_LIMIT.read_text()))
    return memory
