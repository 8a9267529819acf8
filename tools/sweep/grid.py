"""The grid of a sweep: the experiments that its arguments stand for."""

import itertools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import paths
from pipeline.errors import UserError
from pipeline.params import load_params
from spirals.models import MODELS

# What --seeds sets: the first weights of all models.
SEEDED = tuple(f"train_{name}.seed" for name in MODELS)


@dataclass(frozen=True)
class Grid:
    """All experiments of a sweep."""

    experiments: dict[str, dict[str, str]]  # by name, the values by key
    swept: list[str]  # keys with several values


def expand(sweep: str, overrides: Sequence[str], seeds: int = 0) -> Grid:
    """Return the grid of a sweep, which is written as for `dvc exp run -S`.

    Args:
        sweep: its name.
        overrides: such as "train_mlp.l2=0.001,0.01".
        seeds: how many first weights each point of the grid is trained from; 0: the committed ones.

    Returns:
        The grid; an experiment is named after the sweep and its own values.

    Raises:
        UserError: the name, an override or the number of seeds cannot be used.
    """
    if not sweep.isascii() or not sweep.replace("_", "").isalnum():
        raise UserError(f"the name of a sweep is letters, digits and _, but not {sweep!r}")
    if seeds < 0:
        raise UserError(f"--seeds is {seeds}, but must be 0 or more")
    choices = parse(overrides)
    if seeds and not choices.keys().isdisjoint(SEEDED):
        raise UserError(f"--seeds sets {' and '.join(SEEDED)}: leave them out of -S")
    for key, values in choices.items():
        for value in values:
            check(f"{key}={value}")

    swept = [key for key, values in choices.items() if len(values) > 1]
    labels = label(swept)
    experiments = {}
    for combination in itertools.product(*choices.values()):
        point = dict(zip(choices, combination, strict=True))
        parts = [f"{labels[key]}={point[key]}" for key in swept]
        name = "-".join([sweep, *parts])
        if not seeds:
            experiments[name] = point
        for seed in range(seeds):
            experiments[f"{name}-seed={seed}"] = point | dict.fromkeys(SEEDED, str(seed))
    return Grid(experiments, swept)


def parse(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of each key, each value once."""
    from dvc.exceptions import DvcException
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    choices: dict[str, list[str]] = {}
    for override in overrides:
        try:
            points = list(get_hydra_sweeps(to_path_overrides([override])))
            settings = [point[str(paths.PARAMS)][0] for point in points]
        except (DvcException, HydraException, KeyError):
            raise UserError(
                f"-S {override} is neither KEY=VALUE,VALUE,... nor KEY=range(FROM,TO,STEP)"
            ) from None
        for setting in settings:
            key, _, value = setting.partition("=")
            values = choices.setdefault(key, [])
            if value not in values:
                values.append(value)
    return choices


def check(override: str) -> None:
    """Raise UserError unless params.yaml is valid with an override: DVC accepts a wrong type."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(paths.ROOT / paths.PARAMS, folder)
        try:
            apply_overrides(Path(folder, paths.PARAMS), [override])
        except DvcException as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(f"-S {override}: {reason}") from None
        load_params(Path(folder))


def label(keys: Sequence[str]) -> dict[str, str]:
    """Return the names of keys in the name of an experiment: without the section if it is clear."""
    short = [key.partition(".")[2] for key in keys]
    labels = {}
    for key, name in zip(keys, short, strict=True):
        labels[key] = name if short.count(name) == 1 else key
    return labels
