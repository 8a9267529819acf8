"""Experiments, and the settings of a model that they try."""

from dataclasses import dataclass
from statistics import median_low

from pipeline import paths

COLORS = [
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
]  # of as many settings as can be told apart
PALE = "#888888"  # of more settings than that, all but the best and the committed one
DRAWN = (
    "seed",
    "skip_draws",
)  # parameters that only draw other numbers: they spread the results of a setting


@dataclass
class Experiment:
    """An experiment or a commit, with what came of it: parameters by dotted name, metrics by model."""

    name: str
    rev: str
    params: dict
    metrics: dict
    committed: bool  # whether it is the last commit


@dataclass
class Setting:
    """Experiments that differ in nothing that concerns a model but the numbers drawn."""

    values: tuple  # of the parameters that differ between settings; None where a commit does not have one
    label: str  # how it differs from the committed one
    results: list  # the distinct ones, the least accurate first: of each, its metrics, and the experiments that have it
    committed: bool  # whether it is that of the last commit
    best: bool = False  # whether its median accuracy is the highest of those on the same data as the committed one
    color: str = PALE
    key: str = ""  # by which the page knows it

    @property
    def marked(self):
        return self.best or self.committed

    @property
    def middle(self):
        """The result of the median accuracy."""
        return self.results[(len(self.results) - 1) // 2]

    def spread(self, metric):
        """The least, the median (of two in the middle the lower) and the most of a metric."""
        values = [metrics[metric] for metrics, _ in self.results]
        return min(values), median_low(values), max(values)


def collect(shown):
    """The commits and their experiments; those that failed or have not ended are left out.

    Args:
        shown: what `dvc exp show --json` prints, as Python objects.

    Returns:
        A list of Experiment.
    """
    experiments = []
    commits = [commit for commit in shown if commit["rev"] != "workspace"]
    for commit in commits:
        tried = [(one["name"], one["revs"][0]) for one in commit.get("experiments") or []]
        for name, one in [(commit["name"], commit), *tried]:
            data = one.get("data") or {}
            params = data.get("params", {}).get(str(paths.PARAMS), {}).get("data")
            metrics = {}
            for file in data.get("metrics", {}).values():
                metrics |= file.get("data") or {}
            if (
                params and metrics and not one.get("error")
            ):  # beside an error stand the metrics of the commit
                params = {
                    f"{section}.{key}": value
                    for section in params
                    for key, value in params[section].items()
                }
                params["commit"] = commit["name"] or commit["rev"][:7]
                experiments.append(
                    Experiment(
                        name or one["rev"][:7], one["rev"], params, metrics, one is commits[0]
                    )
                )
    return experiments


def gather(model, experiments):
    """The settings of a model that the experiments try, in the order of their values.

    Returns:
        The names of the parameters that differ, and a list of Setting.
    """
    ours = [
        one for one in experiments if model in one.metrics
    ]  # a commit from before the model has none
    names = differing(model, ours)
    groups = {}
    for one in ours:
        results = groups.setdefault(tuple(map(one.params.get, names)), {})
        results.setdefault(tuple(one.metrics[model].items()), []).append(one)
    committed = next((tuple(map(one.params.get, names)) for one in ours if one.committed), None)
    settings = []
    for values in sorted(
        groups, key=lambda values: [(isinstance(value, str), value or 0) for value in values]
    ):
        results = [(dict(metrics), tried) for metrics, tried in groups[values].items()]
        results.sort(key=lambda result: result[0]["test_accuracy"])
        settings.append(
            Setting(values, label(names, values, committed), results, values == committed)
        )
    data = [index for index, name in enumerate(names) if of_data(name)]
    if same := [
        one
        for one in settings
        if not committed or all(one.values[at] == committed[at] for at in data)
    ]:
        max(
            same, key=lambda one: (one.spread("test_accuracy")[1], -one.spread("train_loss")[1])
        ).best = True
    for number, setting in enumerate(settings):
        setting.key = f"{model}-{number}"
        if len(settings) <= len(COLORS):
            setting.color = COLORS[number]
        elif setting.marked:
            setting.color = COLORS[-1] if setting.best else COLORS[0]
    return names, settings


def differing(model, experiments):
    """Names of the parameters that concern a model, are not only drawn by, and are not the same in all."""
    every = dict.fromkeys(name for one in experiments for name in one.params)
    every = [name for name in every if len({one.params.get(name) for one in experiments}) > 1]
    names = [name for name in every if concerns(name, model)]
    known = {tuple(map(one.params.get, names)): one.metrics[model] for one in experiments}
    if "commit" in every and any(
        known[tuple(map(one.params.get, names))] != one.metrics[model] for one in experiments
    ):
        names.append("commit")  # the same parameters had another result: the code is not the same
    return [name for name in names if not name.endswith(DRAWN)]


def of_data(name):
    """Whether accuracies with different values of a parameter are of different data."""
    return name.startswith(("generate.", "evaluate."))


def concerns(name, model):
    """Whether a parameter has a part in the results of a model."""
    section = name.partition(".")[0]
    return (
        section == f"train_{model}"
        or section not in ("plot", "commit")
        and not section.startswith("train_")
    )


def label(names, values, committed):
    """What differs from the committed setting, in words."""
    usual = [object()] * len(names) if committed is None else committed
    zipped = zip(short(names), values, usual, strict=True)
    told = [f"{name} {said(value)}" for name, value, other in zipped if value != other]
    return ", ".join(told) or ("the only setting" if committed is None else "committed")


def short(names):
    """Names of parameters without their sections, where these are not needed."""
    keys = [name.rpartition(".")[2] for name in names]
    return [key if keys.count(key) == 1 else name for key, name in zip(keys, names, strict=True)]


def said(value):
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
