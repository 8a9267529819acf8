"""Write the interactive part of the report page: its data, and the HTML around them.

The page computes boundaries itself, from the very doubles that NumPy had, and trains the models
itself where its engine (pictures/engine) gives the numbers of the pipeline. The HTML is complete
before a script runs, so that nothing moves while the page loads.
"""

import ast
import base64
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pictures import engine, lesson, pages
from pictures.palette import LARGEST, MARKERS, PALE, PALETTE, SMALLEST, TINT, thinning
from pipeline import files, paths
from pipeline.params import Params
from portable.arithmetic import FloatArray, IntArray
from spirals.data import make_spirals
from spirals.models import MODELS, score_gradient
from spirals.training import SNAPSHOT_PERMILLES, Snapshot

MODULES = (  # in this order: what runs at once in a module needs only earlier ones
    "given",
    "words",
    "network",
    "palette",
    "canvas",
    "plane",
    "units",
    "history",
    "curve",
    "backprop",
    "views",
    "training",
    "time",
    "parameters",
    "controls",
    "tabs",
    "values",
    "point",
    "unit",
    "diagram",
    "fragment",
    "lesson",
    "main",
)
STYLE = pages.read_text("explorer/explorer.css")
SCRIPT = "\n".join(pages.read_text(f"explorer/{name}.js") for name in MODULES)
WRAPPED = '"use strict";\n(() => {\n{}\n})();'

CURVE_POINTS = 600  # of a recorded curve in the page
MOST_LINES = 100  # of hidden units
ENGINE_SNAPSHOTS = 15  # of a model, where the page can compute the others
MOST_TEST = 5000  # points that are put into a page without an engine
MOST_COMPARED = 50_000  # points of the training set, as many as the engine takes
MARKUP = 32_000  # characters: more than the HTML without the parts that are counted
SOURCE = "../src/spirals/models.py"  # from the page's folder


@dataclass
class Code:
    """A function of the models as the page shows it."""

    title: str
    what: str
    line: int  # of the file, the first
    lines: list[dict[str, str]]  # code and comment of each


@dataclass
class Model:
    """The data of a model in the page; the arrays as base64."""

    name: str
    title: str
    short: str
    sizes: list[int]
    snapshots: list[dict[str, float]]
    curve: dict[str, str]
    weights: str
    metrics: dict[str, float] | None
    md5: str
    code: list[Code]


def explorer(root: Path, params: Params, room: int) -> str:
    """Return the interactive part of the page; it says what does not fit.

    Args:
        root: of the checkout.
        params: those that the results were made with.
        room: characters that it may have at most.
    """
    X, y = files.read_points(root / paths.DATA)
    reason = why_page_cannot_train(root, params)
    engine_script = "" if reason else engine.script()
    given = given_to_all(root, X, y, params, with_test=bool(reason))
    room -= len(json.dumps(given)) + len(STYLE) + len(SCRIPT) + len(engine_script) + MARKUP
    models = models_that_fit(root, max(0, room), 10_000 if reason else ENGINE_SNAPSHOTS)
    shown = [asdict(model) for model in models]
    for model in shown:
        del model["code"]  # is in the HTML
    data = {**given, "engine": not reason, "models": shown}
    return pages.render(
        "explorer/explorer.html",
        style=STYLE,
        models=models,
        notes=notes(models, len(y)),
        engine=not reason,
        reason=reason,
        questions=lesson.QUESTIONS,
        groups=[] if reason else lesson.control_groups(params),
        legend=range(classes_of(y)) if classes_of(y) <= len(PALETTE) else (),
        source=SOURCE,
        data=as_json(data),
        script=WRAPPED.replace("{}", engine_script + "\n" + SCRIPT, 1),
    )


def why_page_cannot_train(root: Path, params: Params) -> str | None:
    """Return why the page shows the recorded training only, if it cannot train itself."""
    X, y = files.read_points(root / paths.DATA)
    return engine.why_page_cannot_train(params) or why_not_spirals(X, y, params)


def why_not_spirals(X: FloatArray, y: IntArray, params: Params) -> str | None:
    """Return why the page cannot make the training set itself; None if it can.

    A set that is too large for the engine is not compared: the page refuses it anyway.
    """
    if len(y) > MOST_COMPARED:
        return None
    data = params.generate
    made_X, made_y = make_spirals(
        data.points_per_class, data.classes, data.noise, data.seed, data.skip_draws
    )
    if np.array_equal(X, made_X) and np.array_equal(y, made_y):
        return None
    return "The page cannot train: the training set is not the spirals of these parameters."


def as_json(value: Any) -> str:
    """Return the value as JSON that may stand in a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def text64(array: FloatArray | IntArray, kind: str = "<f8") -> str:
    """Return the numbers to their last bit, as base64: row after row, little-endian."""
    return base64.b64encode(array.astype(kind).tobytes()).decode()


def classes_of(y: IntArray) -> int:
    """Return the number of classes in y [N]."""
    return int(y.max()) + 1


def given_to_all(
    root: Path, X: FloatArray, y: IntArray, params: Params, with_test: bool
) -> dict[str, Any]:
    """Return the data of the page without the models."""
    sections = msgspec.to_builtins(params)
    given = {
        "palette": {
            "colors": PALETTE,
            "markers": MARKERS,
            "pale": PALE,
            "tint": TINT,
            "largest": LARGEST,
            "smallest": SMALLEST,
        },
        "permilles": SNAPSHOT_PERMILLES,
        "mostLines": MOST_LINES,
        "classes": classes_of(y),
        "points": points64(*thinned(X, y)),
        "count": len(y),
        "test": None,
        "params": sections,
        "ranges": {key: asdict(allowed) for key, allowed in lesson.allowed_ranges().items()},
        "caseStudy": case_study(sections),
        "questions": [question.sets for question in lesson.QUESTIONS],
    }
    if with_test:
        test = files.read_points(root / paths.TEST)
        if len(test[1]) <= MOST_TEST:
            given["test"] = points64(*test)
    return given


def case_study(sections: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the case study; what it does not say is as in `sections`."""
    path = paths.ROOT / paths.PUBLISHED_PARAMS
    with files.file_errors(path, files.RESTORE):
        published = files.read_yaml(path)
    return {name: {**section, **published.get(name, {})} for name, section in sections.items()}


def points64(X: FloatArray, y: IntArray) -> dict[str, str]:
    """Return points as the page reads them."""
    return {"X": text64(X), "y": text64(y, np.dtype(np.uint8).str)}


def thinned(X: FloatArray, y: IntArray) -> tuple[FloatArray, IntArray]:
    """Return the points that are drawn: every so many of each class."""
    step = thinning(len(y))
    shown = np.concatenate([np.flatnonzero(y == k)[::step] for k in range(classes_of(y))])
    return X[shown], y[shown]


def layers(weights: dict[str, FloatArray]) -> list[tuple[FloatArray, ...]]:
    """Return pairs of matrix [inputs, units] and biases [units], in order.

    The list is empty where the weights are not a chain W, b, W2, b2 and so on.
    """
    names = [("W", "b")]
    for layer in range(2, len(weights) // 2 + 1):
        names.append((f"W{layer}", f"b{layer}"))
    if set(weights) != set(chain.from_iterable(names)):
        return []
    return [(weights[matrix], weights[bias]) for matrix, bias in names]


def models_that_fit(root: Path, room: int, most_snapshots: int) -> list[Model]:
    """Return the models whose weights fit into so many characters, in the order of MODELS."""
    by_size = sorted(MODELS, key=lambda name: (root / paths.snapshots(name)).stat().st_size)
    models = {}
    for name in by_size:
        doubles = room * 3 // 4 // 8  # 8 bytes each, and 4 characters for 3 of these
        kept = kept_snapshots(read_if_small(root, name, doubles), doubles, most_snapshots)
        if kept:
            models[name] = one_model(root, name, kept)
            room -= len(models[name].weights)
    return [models[name] for name in MODELS if name in models]


def read_if_small(root: Path, name: str, doubles: int) -> list[Snapshot]:
    """Return the snapshots; none where not even one can fit: reading them would take minutes."""
    path = root / paths.snapshots(name)
    longest_number = 26  # characters, with its comma
    if path.stat().st_size > longest_number * doubles * len(SNAPSHOT_PERMILLES):
        return []
    return files.read_snapshots(path, name)


def kept_snapshots(snapshots: list[Snapshot], doubles: int, most: int) -> list[Snapshot]:
    """Return the snapshots that fit into so many numbers: all, or some of them evenly.

    The last one is among them, and the first where more than one fits.
    """
    if not snapshots or not layers(snapshots[-1].model.weights):
        return []
    size = sum(weight.size for weight in snapshots[-1].model.weights.values())
    fit = min(len(snapshots), most, doubles // size)
    back = np.linspace(0, len(snapshots) - 1, fit).tolist()  # from the last snapshot on
    return [snapshots[-1 - round(steps)] for steps in reversed(back)]


def one_model(root: Path, name: str, kept: list[Snapshot]) -> Model:
    """Return the data of a model with these snapshots."""
    curve = files.read_curve(root / paths.curve(name))
    weights: list[FloatArray] = []  # of all snapshots, one after another
    for snapshot in kept:
        for matrix, bias in layers(snapshot.model.weights):
            weights += [matrix.ravel(), bias]
    metrics = root / paths.metrics(name)
    return Model(
        name=name,
        title=title_of(name),
        short=title_of(name).split()[0],
        sizes=layer_sizes(kept[0]),
        snapshots=[with_loss(snapshot, curve) for snapshot in kept],
        curve=curve64(curve),
        weights=text64(np.concatenate(weights)),
        metrics=files.read_metrics(metrics, name) if metrics.exists() else None,
        md5=md5_of(root / paths.weights(name)),
        code=code_of(name),
    )


def layer_sizes(snapshot: Snapshot) -> list[int]:
    """Return how many inputs a model has, and how many units in each layer."""
    pairs = layers(snapshot.model.weights)
    sizes = [len(pairs[0][0])]
    for _, bias in pairs:
        sizes.append(len(bias))
    return sizes


def with_loss(snapshot: Snapshot, curve: FloatArray) -> dict[str, float]:
    """Return iteration and accuracy of a snapshot, and the loss that was recorded nearest to it."""
    nearest = np.argmin(np.abs(curve[:, 0] - snapshot.iteration))
    iteration, loss, _ = curve[nearest].tolist()
    return {
        "iteration": snapshot.iteration,
        "accuracy": snapshot.accuracy,
        "loss": loss,
        "lossAt": int(iteration),
    }


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, as DVC writes it."""
    with files.file_errors(path):
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def curve64(curve: FloatArray) -> dict[str, str]:
    """Return a curve, thinned to CURVE_POINTS: the lowest and the highest loss of every part."""
    if len(curve) > CURVE_POINTS:
        curve = curve[peaks(curve[:, 1], CURVE_POINTS // 2)]
    return {"iteration": text64(curve[:, 0], "<u4"), "loss": text64(curve[:, 1])}


def peaks(values: FloatArray, parts: int) -> IntArray:
    """Return the indices of the least and the largest value of each part, and of both ends."""
    found = [0, len(values) - 1]
    for part in np.array_split(np.arange(len(values)), parts):
        found += [part[np.argmin(values[part])], part[np.argmax(values[part])]]
    return np.unique(found)


def code_of(name: str) -> list[Code]:
    """Return the functions that take a point through a model and back."""
    model = MODELS[name]
    return [
        function_code(model.forward, "forward", "scores of the point"),
        function_code(score_gradient, "score_gradient", "probabilities, less 1 at its class"),
        function_code(model.backward, "backward", "what it adds to the gradients"),
    ]


def function_code(function: Callable[..., Any], title: str, what: str) -> Code:
    """Return the body of a function without its docstring, from the file itself."""
    source, first = inspect.getsourcelines(function)
    text = textwrap.dedent("".join(source))
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    statements = definition.body
    if isinstance(statements[0], ast.Expr):  # the docstring
        statements = statements[1:]
    body = text.splitlines()[statements[0].lineno - 1 : statements[-1].end_lineno]
    lines = [line.strip() for line in body if line.strip()]
    shown = [split_comment(line) for line in lines if not line.startswith("return")]
    return Code(title, what, first, shown)


def split_comment(line: str) -> dict[str, str]:
    """Return the code of a line, and its comment."""
    code, mark, comment = line.partition("  #")
    return {"code": code.rstrip(), "comment": (mark + comment).strip()}


def notes(models: Iterable[Model], count: int) -> str:
    """Return sentences about what the page leaves out, of the models and of so many points."""
    shown = {model.name: model for model in models}
    sentences = [left_out(title_of(name), shown.get(name)) for name in MODELS]
    if thinning(count) > 1:
        sentences.append(f"One point in {thinning(count):,} is drawn.")
    return " ".join(filter(None, sentences))


def title_of(name: str) -> str:
    """Return what people call a model."""
    return MODELS[name].title


def left_out(title: str, model: Model | None) -> str:
    """Return a sentence about what the page does not show of a model, or nothing."""
    if model is None:
        return (
            f"{title}: no picture here, because its weights are too many for this page,"
            " or not a chain W, b, W2, b2."
        )
    if len(model.sizes) > 2 and model.sizes[1] > MOST_LINES:
        return f"{title}: only the {MOST_LINES} strongest of {model.sizes[1]:,} units have a line."
    return ""
