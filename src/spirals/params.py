"""What params.yaml may say; the only place that decides."""

import difflib
import re
from typing import Annotated

import msgspec
from msgspec import Meta
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from spirals import paths
from spirals.errors import UserError

Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Draws = Annotated[int, Meta(ge=0, le=10_000_000)]
Points = Annotated[int, Meta(ge=2, le=1_000_000)]
Iterations = Annotated[int, Meta(ge=1, le=100_000_000)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of params.yaml: every key is required, and no other is allowed."""


class Generate(Section):
    seed: Seed
    skip_draws: Draws
    points_per_class: Points
    classes: Annotated[int, Meta(ge=2, le=100)]
    noise: Annotated[float, Meta(ge=0, le=10)]


class Train(Section):
    seed: Seed
    skip_draws: Draws
    weight_scale: Annotated[float, Meta(gt=0, le=100)]
    learning_rate: Annotated[float, Meta(gt=0, le=10_000)]
    l2: Annotated[float, Meta(ge=0, le=100)]
    iterations: Iterations
    record_every: Iterations


class TrainMLP(Train):
    hidden_units: Annotated[int, Meta(ge=1, le=100_000)]


class Evaluate(Section):
    seed: Seed
    points_per_class: Points


class Plot(Section):
    grid: Annotated[int, Meta(ge=10, le=2000)]
    dpi: Annotated[int, Meta(ge=50, le=600)]


class Params(Section):
    generate: Generate
    train_linear: Train
    train_mlp: TrainMLP
    evaluate: Evaluate
    plot: Plot


def load_params(root):
    """Reads and checks params.yaml.

    It is read as DVC reads it (YAML 1.2, where 1e-3 is a number), and checked as a
    whole: a mistake in any section stops every stage.

    Args:
        root: folder of params.yaml.

    Returns:
        Params.

    Raises:
        UserError: names the key, what was given, and what is allowed.
    """
    path = root / paths.PARAMS
    try:
        content = YAML(typ="safe", pure=True).load(path.read_bytes())
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{paths.PARAMS}{line}: not valid YAML: {error.problem}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{paths.PARAMS} is not valid YAML: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {paths.PARAMS}: {error.strerror}") from None
    try:
        return msgspec.convert(content, Params)
    except msgspec.ValidationError as error:
        raise UserError(f"{paths.PARAMS}: {_explain(str(error), content)}") from None


def _explain(message, content):
    """msgspec's message, with the value that was given or the key that was probably meant."""
    reason, _, where = message.partition(" - at ")
    path = where.strip("`").removeprefix("$").strip(".").split(".") if where else []
    key = ".".join(path)
    field = re.search(r"field `(.*)`", reason)
    if field and "missing" in reason:
        return f"{'.'.join([*path, field[1]])} is missing"
    if field:
        section = Params
        for name in path:
            section = section.__annotations__[name]
        near = difflib.get_close_matches(field[1], section.__struct_fields__, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(section.__struct_fields__)}"
        return f"{'.'.join([*path, field[1]])} is not a parameter{hint}"
    for name in path:
        content = content[name]
    kind = {"int": "a whole number", "float": "a number", "object": "a section of parameters"}
    allowed, _, _ = re.sub(r"Expected `(\w+)`", lambda match: kind[match[1]], reason).partition(", got")
    return f"{key or 'the whole'} is {content!r}, but must be {allowed}"
