"""Bundle the engine, and say why the page must not use it where it may not agree with the pipeline.

The engine is JavaScript that trains the models in a page, to the same bits as the pipeline. Its
modules lie beside this file. Five are second forms of Python: random.js of NumPy's `RandomState`,
arithmetic.js of `portable.arithmetic`, and data.js, models.js and training.js of the modules in
`spirals` with these names. text.js writes the files, worker.js trains in a Web Worker, page.js
starts it.
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

# The parameters that the engine knows, by section. With one that is missing here, it is left out.
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

# The source that the engine copies, and its digests when the two were last compared. If you change
# the source, change the JavaScript with it, run tests/test_engine.py, which compares the two, and
# record the new digest.
Source = Callable[..., Any] | ModuleType
COPIED: dict[str, list[Source]] = {
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


def why_page_cannot_train(params: Params) -> str | None:
    """Return why the engine may not give the pipeline's numbers, in a sentence; None if it does."""
    if {*models.MODELS} != {"linear", "mlp"}:
        return "The page cannot train: it knows the models linear and mlp, and no other."
    sections = msgspec.structs.asdict(params)
    for name, known in KNOWN_PARAMETERS.items():
        given = {*msgspec.structs.asdict(sections[name])}
        for unknown in sorted(given - known):
            return f"The page cannot train: it does not know the parameter {name}.{unknown}."
        for missing in sorted(known - given):
            return f"The page cannot train: it needs the parameter {name}.{missing}."
    return why_outdated()


def why_outdated() -> str | None:
    """Return, in a sentence, which source has changed since the engine was compared with it."""
    for path, sources in COPIED.items():
        digest = source_digest(sources)
        if digest != DIGESTS[path]:
            return (
                f"The page cannot train: {path} was changed (digest {digest}), and its second form"
                " in JavaScript (src/pictures/engine) has not been compared with it since."
            )
    return None
