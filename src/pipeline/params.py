"""What params.yaml may say; the only place that decides."""

import argparse
import difflib
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from pipeline import files, paths
from pipeline.errors import UserError
from spirals.models import MODELS

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container (Linux, cgroup v2), in bytes


def whole(low, high):
    return Annotated[
        int, Meta(ge=low, le=high, description=f"a whole number from {low} to {high}, digits only")
    ]


def number(low, high):
    return Annotated[float, Meta(ge=low, le=high, description=f"a number from {low} to {high}")]


def positive(high):
    return Annotated[float, Meta(gt=0, le=high, description=f"a number above 0, to {high}")]


Seed = whole(0, 2**32 - 1)
Draws = whole(0, 10_000_000)
Points = whole(2, 1_000_000)
Iterations = whole(1, 100_000_000)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of params.yaml: every key is required, and no other is allowed."""


class Generate(Section):
    seed: Seed
    skip_draws: Draws
    points_per_class: Points
    classes: whole(2, 100)
    noise: number(0, 10)


class Train(Section):
    seed: Seed
    skip_draws: Draws
    weight_scale: positive(100)
    learning_rate: positive(10_000)
    l2: number(0, 100)
    iterations: Iterations
    record_every: Iterations


class TrainMLP(Train):
    hidden_units: whole(1, 100_000)


class Evaluate(Section):
    seed: Seed
    points_per_class: Points


class Plot(Section):
    grid: whole(10, 2000)
    dpi: whole(50, 600)


class Params(Section):
    generate: Generate
    train_linear: Train
    train_mlp: TrainMLP
    evaluate: Evaluate
    plot: Plot


def model_argument(description):
    """Name of the model: what the script of a stage is told on its command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", choices=MODELS)
    return parser.parse_args().model


def load_params(root):
    """What params.yaml says, read as DVC reads it (YAML 1.2, where 1e-3 is a number), and checked as a whole.

    UserError names the key, what was given, and what is allowed; a mistake in any section stops every stage.
    """
    try:
        params = _checked(Params, _parsed((root / paths.PARAMS).read_bytes()))
    except OSError as error:
        raise UserError(f"cannot read {paths.PARAMS}: {error.strerror}") from None
    _check_memory(params)
    return params


def used_params(params, root):
    """The parameters that the results were made with, as dvc.lock has them: a stage may be frozen, and its result old.

    What it has not is taken from `params`, those of params.yaml now. UserError where it is broken.
    """
    sections = msgspec.to_builtins(params)
    with files.reading_lock(root) as stages:
        for stage in ("generate", *(f"train@{name}" for name in MODELS)):
            for section, used in (
                stages.get(stage, {}).get("params", {}).get(str(paths.PARAMS), {}).items()
            ):
                if isinstance(used, dict):
                    sections[section] = {
                        key: used.get(key, value) for key, value in sections[section].items()
                    }
        try:
            return msgspec.convert(sections, Params)
        except msgspec.ValidationError as error:
            raise ValueError(error) from None


def _parsed(content):
    try:
        return YAML(typ="safe").load(content)
    except MarkedYAMLError as error:
        line, reason = error.problem_mark.line, error.problem
    except ReaderError as error:
        line, reason = content.count(b"\n", 0, error.position), error.reason
    except Exception as error:  # others get through: ValueError of a date that does not exist, IndexError of `!!int`
        raise UserError(f"{paths.PARAMS}: not valid YAML: {_shortened(str(error))}") from None
    raise UserError(f"{paths.PARAMS}, line {line + 1}: not valid YAML: {_shortened(reason)}")


def _checked(kind, value, key=""):
    """The value as a section, in which no key is missing or unknown, or as a number of this kind."""
    if not isinstance(kind, type):
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            _refuse(key, value, f"must be {kind.__metadata__[0].description}")
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    prefix = f"{key}." if key else ""
    if not isinstance(value, dict):
        _refuse(key, value, f"must hold the keys {', '.join(fields)}")
    for name in value:
        if name not in fields:
            shown = _shortened(name)
            near = difflib.get_close_matches(shown, fields, n=1)
            hint = (
                f"did you mean {prefix}{near[0]}?" if near else f"allowed are {', '.join(fields)}"
            )
            raise UserError(f"{paths.PARAMS}: {prefix}{shown} is not a parameter; {hint}")
    if missing := [name for name in fields if name not in value]:
        raise UserError(f"{paths.PARAMS}: {prefix}{missing[0]} is missing")
    return kind(**{name: _checked(of, value[name], prefix + name) for name, of in fields.items()})


def _refuse(key, value, rule):
    shown = f"the text {_shortened(repr(value))}" if isinstance(value, str) else _shortened(value)
    shown = {"None": "empty", "True": "true", "False": "false"}.get(shown, shown)
    where = f"{paths.PARAMS}: {key}" if key else str(paths.PARAMS)
    raise UserError(f"{where} is {shown}, but {rule}")


def _shortened(value):
    """The value in one line of at most 80 characters."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (
        ValueError,
        RecursionError,
    ):  # Python writes no number of more than 4,300 digits, nor very deep lists
        return "too long to be shown"
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_memory(params):
    """Refuses sizes that cannot fit, before anything is allocated. Bytes are measured ones, rounded up."""
    classes = params.generate.classes
    points = classes * max(params.generate.points_per_class, params.evaluate.points_per_class)
    trained = [(model, getattr(params, f"train_{name}")) for name, model in MODELS.items()]
    layers = [model.hidden(train).values() for model, train in trained]
    # Between two hidden layers `matmul` keeps eight running sums of every unit, and what is added to them.
    hidden = max(sum(units) * (32 if len(units) < 2 else 160) for units in layers)
    shapes = [model.sizes(2, classes, train).values() for model, train in trained]
    weights = max(sum(map(math.prod, of_model)) for of_model in shapes)
    recorded = sum(train.iterations // train.record_every for _, train in trained)
    needed = {
        "take fewer points, classes or hidden units": points * (400 + 80 * classes + hidden),
        "take fewer hidden units or classes": 6000
        * weights,  # the snapshots, as numbers and as text
        "take fewer iterations, or a larger record_every": 1000 * recorded,
        "take a smaller grid or fewer classes": params.plot.grid
        * params.plot.grid
        * (300 + 40 * classes),
    }
    advice, most = max(needed.items(), key=lambda item: item[1])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no such file, or the word max
        memory = min(memory, int(MEMORY_LIMIT.read_text()))
    if most > memory:
        asked, there = (f"{size / 2**30:,.1f}" for size in (most, memory))
        raise UserError(
            f"{paths.PARAMS} asks for about {asked} GiB of memory; this machine has {there}: {advice}"
        )
