"""The questions of the page, the form with its parameters, and their allowed ranges."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline.params import Params

SECTIONS = ("generate", "train_linear", "train_mlp", "evaluate")


@dataclass
class Question:
    """A step of the path through the lesson.

    Attributes:
        ask: one sentence.
        see: what to look at, HTML.
        button: what the button is called that sets the page.
        sets: what it sets: `params` that differ from the case study's, and the state of the page.
    """

    ask: str
    see: str
    button: str
    sets: dict[str, Any]


QUESTIONS = [
    Question(
        ask="Why can the linear classifier not do it?",
        see="Its decision boundaries are straight lines, and no straight lines part the arms of a"
        " spiral: it ends at 49.3% training accuracy, and more iterations change nothing.",
        button="Play 200",
        sets={"iteration": 0, "play_to": 200},
    ),
    Question(
        ask="What happens in the first 100 iterations?",
        see="For some 50 of them the two-layer network does what the linear classifier does. Then"
        " its boundary bends, where the lines of many hidden units lie (&times;14: of 14 units).",
        button="Play 100",
        sets={"iteration": 0, "play_to": 100, "units": True, "network": True},
    ),
    Question(
        ask="What does one step do for a misclassified point?",
        see="Press <i>One step</i>: dashed is the boundary before, and below the loss curve stands"
        " the loss of the point before and after. Then press it again: back it goes.",
        button="Choose one",
        sets={"iteration": 159, "point": 15},
    ),
    Question(
        ask="Why does the loss spike between iterations 600 and 1,100, and what does half the"
        " learning rate do?",
        see="The steps are too long for a steep valley and bounce off its sides. At 0.5 there is"
        " no spike; the pale curve behind is the one of params.yaml.",
        button="Halve it",
        sets={"params": {"train_mlp.learning_rate": 0.5}, "iteration": 10_000},
    ),
    Question(
        ask="With how many hidden units does it work?",
        see="10 units end at 65.6% test accuracy. Try 5 and 20, then track the ones you like with"
        " <code>dvc exp run -S train_mlp.hidden_units=20</code>, and <code>make compare</code>.",
        button="Try 10 units",
        sets={"params": {"train_mlp.hidden_units": 10}, "iteration": 10_000},
    ),
]


HINTS = {  # for parameters whose names do not explain them
    "noise": "standard deviation of the angle, in radians",
    "seed": "of the random numbers: another one, other numbers",
    "l2": "strength of the regularization",
    "skip_draws": "random numbers that are left out first, as the case study does",
    "weight_scale": "standard deviation of the first weights",
    "record_every": "iterations from one point of the loss curve to the next",
}


@dataclass
class Control:
    """A parameter that can be changed on the page."""

    key: str
    label: str
    group: str = ""
    slide: bool = False
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @property
    def hint(self) -> str:
        """What the parameter is, in a few words, or an empty text."""
        return HINTS.get(self.key.split(".")[1], "")

    @property
    def id(self) -> str:
        return self.key.replace(".", "-")


@dataclass
class Group:
    """Controls under one title; a click unfolds a group that is not open."""

    title: str
    open: bool
    controls: list[Control] = field(default_factory=list)


def control_groups(params: Params) -> list[Group]:
    """Return the controls, with the values of the parameters."""
    groups = [
        Group(
            "Data",
            True,
            [
                Control("generate.noise", "noise", slide=True),
                Control("generate.points_per_class", "points per class", slide=True),
                Control("generate.classes", "classes", slide=True),
                Control("generate.seed", "seed"),
            ],
        ),
        Group(
            "Two-layer network",
            True,
            [
                Control("train_mlp.learning_rate", "learning rate", slide=True),
                Control("train_mlp.l2", "l2 regularization", slide=True),
                Control("train_mlp.hidden_units", "hidden units", slide=True),
                Control("train_mlp.seed", "seed"),
            ],
        ),
        Group(
            "Linear classifier",
            False,
            [
                Control("train_linear.learning_rate", "learning rate", slide=True),
                Control("train_linear.l2", "l2 regularization", slide=True),
                Control("train_linear.seed", "seed"),
            ],
        ),
        Group(
            "All others",
            False,
            [
                Control("generate.skip_draws", "data: skip_draws"),
                Control("train_mlp.iterations", "network: iterations"),
                Control("train_mlp.weight_scale", "network: weight_scale"),
                Control("train_mlp.skip_draws", "network: skip_draws"),
                Control("train_mlp.record_every", "network: record_every"),
                Control("train_linear.iterations", "linear: iterations"),
                Control("train_linear.weight_scale", "linear: weight_scale"),
                Control("train_linear.skip_draws", "linear: skip_draws"),
                Control("train_linear.record_every", "linear: record_every"),
                Control("evaluate.seed", "test set: seed"),
                Control("evaluate.points_per_class", "test set: points per class"),
            ],
        ),
    ]
    sections = msgspec.to_builtins(params)
    allowed = allowed_ranges()
    for group in groups:
        # Other data have other parameters: there may be no number of classes.
        group.controls = [control for control in group.controls if control.key in allowed]
        for control in group.controls:
            section, key = control.key.split(".")
            control.group = group.title
            control.value = sections[section][key]
            control.low = allowed[control.key].low
            control.high = allowed[control.key].high
    return groups


@dataclass(frozen=True)
class Range:
    """The numbers that a parameter may be.

    Attributes:
        low: the lowest.
        high: the highest.
        above: whether `low` itself is not allowed.
        whole: whether only whole numbers are.
    """

    low: float
    high: float
    above: bool
    whole: bool


def allowed_ranges() -> dict[str, Range]:
    """Return the range of each parameter, by its key."""
    found = {}
    sections: Any = msgspec.inspect.type_info(Params)
    for section in sections.fields:
        if section.name not in SECTIONS:
            continue
        for parameter in section.type.fields:
            found[f"{section.name}.{parameter.name}"] = allowed_range(parameter.type)
    return found


def allowed_range(kind: Any) -> Range:
    """Return the range of a parameter of this type, as msgspec describes it."""
    if isinstance(kind, msgspec.inspect.Metadata):  # around a kind with a description
        kind = kind.type
    above = kind.gt is not None
    return Range(
        low=kind.gt if above else kind.ge,
        high=kind.le,
        above=above,
        whole=isinstance(kind, msgspec.inspect.IntType),
    )
