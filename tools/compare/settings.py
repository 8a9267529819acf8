"""The settings of a model that experiments try, and which of them is the best."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low

from compare.experiments import COMMIT, Experiment
from pictures.scales import Value, format_value

# Parameters that only draw other random numbers: they spread the results of a setting.
DRAWS = ("seed", "skip_draws")


@dataclass(frozen=True)
class Result:
    """A distinct result of a setting, and the experiments that have it."""

    metrics: dict[str, float]
    experiments: list[Experiment]


@dataclass
class Setting:
    """Experiments that are the same for a model, except for the random numbers.

    Attributes:
        key: by which the page knows it.
        values: of the parameters that differ between settings.
        label: how it differs from the committed setting.
        results: the distinct ones, the least accurate first.
        committed: whether it is the setting of the last commit.
        best: whether no other on the committed data has a higher test accuracy (the median).
        tied: whether its test accuracy is within the test set's error of the best, or it is
            the best and another one is.
    """

    key: str
    values: tuple[Value, ...]
    label: str
    results: list[Result]
    committed: bool
    best: bool = False
    tied: bool = False

    @property
    def experiments(self) -> list[Experiment]:
        """All experiments that have the setting."""
        return [experiment for result in self.results for experiment in result.experiments]

    @property
    def middle(self) -> Result:
        """The result with the median test accuracy."""
        return self.results[(len(self.results) - 1) // 2]

    def spread(self, metric: str) -> tuple[float, float, float]:
        """Return the lowest, the median (of two in the middle the lower) and the highest value."""
        values = [result.metrics[metric] for result in self.results]
        return min(values), median_low(values), max(values)

    @property
    def accuracy(self) -> float:
        """The median test accuracy."""
        return self.spread("test_accuracy")[1]


@dataclass(frozen=True)
class Comparison:
    """The settings of a model, side by side.

    Attributes:
        names: the parameters that differ between them.
        settings: in the order of their values.
        test_points: the size of the best setting's test set; None if unknown.
    """

    names: list[str]
    settings: list[Setting]
    test_points: int | None = None

    @property
    def best(self) -> Setting | None:
        """The best setting; None without settings."""
        for setting in self.settings:
            if setting.best:
                return setting
        return None

    @property
    def error(self) -> float | None:
        """The standard error of a difference of test accuracies; None if unknown."""
        if self.best is None or self.test_points is None:
            return None
        return difference_error(self.best.accuracy, self.test_points)


def compare(model: str, experiments: Iterable[Experiment]) -> Comparison:
    """Return the settings of a model that the experiments try."""
    tried = [experiment for experiment in experiments if model in experiment.metrics]
    names = differing(model, tried)
    groups: dict[tuple[Value, ...], list[Experiment]] = {}
    committed = None
    for experiment in tried:
        values = values_of(experiment, names)
        groups.setdefault(values, []).append(experiment)
        if experiment.committed:
            committed = values
    settings = []
    for index, values in enumerate(sorted(groups, key=_sort_key)):
        settings.append(
            Setting(
                key=f"{model}-{index}",
                values=values,
                label=label(names, values, committed),
                results=_distinct_results(model, groups[values]),
                committed=values == committed,
            )
        )
    points = _mark_best(names, settings, committed)
    return Comparison(names, settings, points)


def values_of(experiment: Experiment, names: Iterable[str]) -> tuple[Value, ...]:
    """Return an experiment's values of these parameters."""
    return tuple(experiment.params.get(name) for name in names)


def _sort_key(values: tuple[Value, ...]) -> list[tuple[int, float, str]]:
    """Return a key by which numbers come first, then texts, then what is missing."""
    keys: list[tuple[int, float, str]] = []
    for value in values:
        if value is None:
            keys.append((2, 0.0, ""))
        elif isinstance(value, str):
            keys.append((1, 0.0, value))
        else:
            keys.append((0, value, ""))
    return keys


def _distinct_results(model: str, experiments: Iterable[Experiment]) -> list[Result]:
    """Return the results of experiments, equal ones as one, the least accurate first."""
    results: dict[tuple[tuple[str, float], ...], Result] = {}
    for experiment in experiments:
        metrics = experiment.metrics[model]
        key = tuple(sorted(metrics.items()))
        results.setdefault(key, Result(metrics, [])).experiments.append(experiment)
    return sorted(results.values(), key=lambda result: result.metrics["test_accuracy"])


def _mark_best(
    names: Sequence[str], settings: list[Setting], committed: tuple[Value, ...] | None
) -> int | None:
    """Mark the best setting, and those within the test set's error of it.

    Returns:
        The size of the best setting's test set; None if unknown.
    """
    data = [index for index, name in enumerate(names) if is_of_data(name)]
    comparable = []
    for setting in settings:
        if committed is None or all(setting.values[i] == committed[i] for i in data):
            comparable.append(setting)
    if not comparable:
        return None
    best = max(comparable, key=lambda setting: (setting.accuracy, -setting.spread("train_loss")[1]))
    best.best = True
    points = count_test_points(best.middle.experiments[0])
    if points is None:
        return None
    error = difference_error(best.accuracy, points)
    for setting in comparable:
        if setting is not best and best.accuracy - setting.accuracy <= error:
            setting.tied = True
            best.tied = True
    return points


def count_test_points(experiment: Experiment) -> int | None:
    """Return the size of an experiment's test set; None if unknown."""
    per_class = experiment.params.get("evaluate.points_per_class")
    classes = experiment.params.get("generate.classes")
    if not isinstance(per_class, int) or not isinstance(classes, int):
        return None
    return per_class * classes if per_class * classes > 0 else None


def difference_error(accuracy: float, points: int) -> float:
    """Return the standard error of the difference between two test accuracies near this one.

    The number of points that a model classifies right is binomial. One right and one wrong point
    are added, or an accuracy of 100% would have no error.
    """
    right = min(max(accuracy, 0), 1) * points  # a file may hold any number
    share = (right + 1) / (points + 2)
    return math.sqrt(2 * share * (1 - share) / points)


def differing(model: str, experiments: Sequence[Experiment]) -> list[str]:
    """Return the parameters that concern a model and differ, except for those in DRAWS."""
    names = []
    for name in dict.fromkeys(name for experiment in experiments for name in experiment.params):
        values = {experiment.params.get(name) for experiment in experiments}
        if len(values) > 1 and concerns(name, model):
            names.append(name)
    if _needs_commit(model, experiments, names):
        names.append(COMMIT)
    return [name for name in names if name.rpartition(".")[2] not in DRAWS]


def _needs_commit(model: str, experiments: Iterable[Experiment], names: Sequence[str]) -> bool:
    """Return whether equal parameters gave different results: then the code differs."""
    known: dict[tuple[Value, ...], Experiment] = {}
    for experiment in experiments:
        first = known.setdefault(values_of(experiment, names), experiment)
        same = first.metrics[model] == experiment.metrics[model]
        if not same and first.params.get(COMMIT) != experiment.params.get(COMMIT):
            return True
    return False


def is_of_data(name: str) -> bool:
    """Return whether a parameter changes the data that accuracies are measured on."""
    return name.startswith(("generate.", "evaluate."))


def concerns(name: str, model: str) -> bool:
    """Return whether a parameter can change the results of a model."""
    section = name.partition(".")[0]
    if section.startswith("train_"):
        return section == f"train_{model}"
    return section not in ("plot", COMMIT)


def label(
    names: Sequence[str], values: tuple[Value, ...], committed: tuple[Value, ...] | None
) -> str:
    """Return in words how a setting differs from the committed one."""
    if values == committed:
        return "committed"
    parts = []
    for index, (name, value) in enumerate(zip(short_names(names), values, strict=True)):
        if committed is None or value != committed[index]:
            parts.append(f"{name} {format_value(value)}")
    return ", ".join(parts) or "the only setting"


def short_names(names: Sequence[str]) -> list[str]:
    """Return names of parameters without their sections, where these are not needed."""
    keys = [name.rpartition(".")[2] for name in names]
    return [key if keys.count(key) == 1 else name for key, name in zip(keys, names, strict=True)]
