"""The engine: JavaScript that trains the models in a page, to the same bits as the pipeline.

Its modules lie beside this file, each the twin of one in Python: random.js of NumPy's
`RandomState`, arithmetic.js of `portable.arithmetic`, data.js, models.js and training.js of those
in `spirals`. text.js writes the files, worker.js trains in a Web Worker, page.js starts it.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from pipeline.params import Params
from pipeline.twins import source_digest
from portable import arithmetic
from spirals import data, models, training

FOLDER = Path(__file__).parent
FILES = ("arithmetic", "random", "data", "models", "training", "text", "limits", "worker", "page")

# The parameters that the engine knows, by section. One that is added to a section is none of them.
TRAIN_PARAMETERS = {
    "seed",
    "skip_draws",
    "weight_scale",
    "learning_rate",
    "l2",
    "iterations",
    "record_every",
}
KNOWN_PARAMETERS = {
    "generate": {"seed", "skip_draws", "points_per_class", "classes", "noise"},
    "train_linear": TRAIN_PARAMETERS,
    "train_mlp": TRAIN_PARAMETERS | {"hidden_units"},
    "evaluate": {"seed", "points_per_class"},
}

# What the engine writes out again in JavaScript, as it was when the two were last compared. If you
# change one of these: change the JavaScript with it, run tests/test_engine.py, which compares them,
# and record the new digest.
Source = Callable[..., Any] | ModuleType
TWINS: dict[str, list[Source]] = {
    "src/portable/arithmetic.py": [arithmetic],
    "src/spirals/data.py": [data],
    "src/spirals/models.py": [
        models.Classifier,
        models.Linear,
        models.MLP,
        models.softmax,
        models.shift_scores,
        models.cross_entropy,
        models.score_gradient,
        models.accuracy,
    ],
    "src/spirals/training.py": [training],
}
DIGESTS = {
    "src/portable/arithmetic.py": "7e829dd7dbb17ab4",
    "src/spirals/data.py": "5c4d2c9828147625",
    "src/spirals/models.py": "e7f0561dbf6f3255",
    "src/spirals/training.py": "575fba2e95edcc67",
}


def script() -> str:
    """Return the JavaScript of the engine, for a page: it defines one global, `Engine`.

    It is one function, so that the page can make a worker of its text.
    """
    modules = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in FILES]
    engine = (FOLDER / "engine.js").read_text(encoding="utf-8")
    return engine.replace("// <modules>\n", "\n".join(modules))


def known_to_agree(params: Params) -> str | None:
    """Return why the engine is not known to give the pipeline's numbers, in a sentence, if so."""
    if {*models.MODELS} != {"linear", "mlp"}:
        return "The page cannot train: it knows the models linear and mlp, and no other."
    sections = msgspec.structs.asdict(params)
    for name, known in KNOWN_PARAMETERS.items():
        given = {*msgspec.structs.asdict(sections[name])}
        for unknown in sorted(given - known):
            return f"The page cannot train: it does not know the parameter {name}.{unknown}."
        for missing in sorted(known - given):
            return f"The page cannot train: it needs the parameter {name}.{missing}."
    return changed_twin()


def changed_twin() -> str | None:
    """Return a sentence with the Python source that is not what the engine was compared with."""
    for path, sources in TWINS.items():
        digest = source_digest(sources)
        if digest != DIGESTS[path]:
            return (
                f"The page cannot train: {path} was changed (digest {digest}), and its form in"
                " JavaScript (src/pictures/engine) was not compared with it since."
            )
    return None
