"""The compiled form gives the bytes of the NumPy form, and is chosen only where it is the same."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline import backend
from pipeline.backend import Choice, compiled_descent, select_backend, why_not_compiled
from pipeline.params import load_params
from pipeline.twins import source_digest, with_callees
from portable.compiler import cache_folder
from spirals.models import MLP, MODELS, Linear
from spirals.training import Diverged, gradient_descent, train

# Not conftest's, which drops the settings that are tried here.
ROOT = Path(__file__).resolve().parents[1]
PARAMS = load_params(ROOT)

# Points per class, classes, hidden units: sums of few terms, of one part, and of many parts with a
# rest; scores in fours, one after another, in eight parts.
SHAPES = [
    (1, 2, 1),
    (4, 2, 8),
    (5, 2, 9),
    (100, 3, 100),
    (50, 12, 131),
    (333, 5, 128),
    (7, 3, 1111),
    (40, 4, 10),
    (30, 8, 17),
    (30, 9, 16),
    (20, 30, 40),
]

# A parameter that was added turns the compiled form off, whatever else was changed for it.
ADDED = {*PARAMS.train_mlp.__struct_fields__} - backend.KNOWN_PARAMETERS
unless_a_parameter_was_added = pytest.mark.skipif(
    bool(ADDED), reason=f"NumPy trains: the compiled form does not know {', '.join(ADDED)}"
)

PATH = os.pathsep.join(str(ROOT / name) for name in ("tests", "src"))


def scattered(points, classes):
    """Random points of each class, anywhere: X and y."""
    X = np.random.default_rng(0).uniform(-1, 1, size=(points * classes, 2))
    return X, np.repeat(np.arange(classes), points)


def trained(descent, shape):
    """The bytes of the scores of every iteration, and of the weights at the end."""
    points, classes, hidden = shape
    X, y = scattered(points, classes)
    changes = {"seed": 1, "skip_draws": 0, "weight_scale": 0.5, "hidden_units": hidden}
    params = msgspec.structs.replace(PARAMS.train_mlp, iterations=15, **changes)
    model = MLP.initialize(2, classes, params)
    scores = [scores.tobytes() for _, scores in descent(model, X, y, params)]
    return scores, {name: weight.tobytes() for name, weight in model.weights.items()}


def all_same(shapes):
    for shape in shapes:
        assert trained(compiled_descent, shape) == trained(gradient_descent, shape), shape
    return "same"


def choice(points, name="mlp", **changes):
    """What the default parameters would be trained by on so many points in each class."""
    params = msgspec.structs.replace(PARAMS.train(name), **changes)
    X, y = scattered(points, 3)
    return select_backend(MODELS[name].initialize(2, 3, params), X, y, params)


def choice_and_digest():
    """What is chosen, and a digest of the numbers that it gives."""
    chosen = choice(100)
    result = trained(chosen.backend, (100, 3, 100))
    return chosen.name, hashlib.sha256(repr(result).encode()).hexdigest()


def run(code, folder, **settings):
    """Python with an empty home for what Numba keeps, and with settings of Numba's."""
    environment = {
        **os.environ,
        "PYTHONPATH": PATH,
        "XDG_CACHE_HOME": str(folder / "cache"),
        **settings,
    }
    command = [sys.executable, "-c", "import test_compiled as t; " + code]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


# The same bytes.


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_compiled_form_gives_the_same_bytes(shape):
    assert trained(compiled_descent, shape) == trained(gradient_descent, shape)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", ["CPU_NAME = 'generic'; c.CPU_FEATURES = ''", "OPT = c._process_opt_level('0')"]
)
def test_same_bytes_for_the_least_of_processors_and_without_optimization(setting, tmp_path):
    code = f"import numba.core.config as c; c.{setting}; print(t.all_same(t.SHAPES[2:6]))"
    done = run(code, tmp_path)
    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr


@pytest.mark.slow
def test_an_exponential_of_any_number_up_to_zero():
    from portable import arithmetic, compiled

    sizes = np.concatenate([np.geomspace(1e-300, 1e300, 2000), np.linspace(0, 760, 5000)])
    x = -np.concatenate([sizes, [0.0, np.inf]])
    ours = np.array([compiled.exp(value) for value in x])
    assert ours.tobytes() == arithmetic.exp(x).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learning_rate", "l2"), [(1000.0, 1.0), (0.03, 100.0), (10_000.0, 1e-3), (1.0, 2.5)]
)
@pytest.mark.parametrize("record_every", [1, 10_000])
def test_a_divergence_is_found_at_the_same_iteration(learning_rate, l2, record_every):
    X, y = scattered(20, 3)
    params = msgspec.structs.replace(
        PARAMS.train_mlp,
        seed=1,
        skip_draws=0,
        weight_scale=0.5,
        hidden_units=10,
        iterations=3000,
        learning_rate=learning_rate,
        l2=l2,
        record_every=record_every,
    )
    found = []
    for descent in (gradient_descent, compiled_descent):
        model = MLP.initialize(2, 3, params)
        with np.errstate(all="ignore"), pytest.raises(Diverged) as caught:
            train(model, X, y, params, backend=descent)
        found.append((caught.value.iteration, caught.value.curve))
    assert found[0] == found[1]
    assert found[0][0] > 5
    assert len(found[0][1]) == (found[0][0] if record_every == 1 else 1)


# What the user has set for Numba.


@cache
def settings_of_numba():
    """Every variable that it has, but those that the pipeline heeds."""
    import numba

    names = {f"NUMBA_{name}" for name in vars(numba.config) if name.isupper()}
    names |= {"NUMBA_DUMP_ANNOTATION", "NUMBA_DUMP_HTML"}
    names |= {"NUMBA_DEBUGINFO", "NUMBA_CAPTURED_ERRORS"}
    known = {"NUMBA_OPT", "NUMBA_BOUNDSCHECK", "NUMBA_CPU_FEATURES", "NUMBA_DEBUG_JIT"}
    assert known < names
    return names - {"NUMBA_DISABLE_JIT", "NUMBA_CACHE_DIR"}


CHOICE = "print(*t.choice_and_digest())"


shares_what_was_compiled = pytest.mark.xdist_group("numba")  # for some ten seconds


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """A folder with what was compiled in it, and what was chosen and computed there."""
    folder = tmp_path_factory.mktemp("usual")
    done = run(CHOICE, folder)
    assert done.stdout.startswith("Numba ")
    assert done.stderr == ""
    return folder, done.stdout


@shares_what_was_compiled
@unless_a_parameter_was_added
@pytest.mark.slow
@pytest.mark.parametrize("value", ["1", "bad"])  # a switch; what ends the process with some of them
def test_settings_of_numba_have_no_effect(value, usual):
    folder, stdout = usual
    done = run(CHOICE, folder, **dict.fromkeys(settings_of_numba(), value))
    assert (done.stdout, done.stderr, done.returncode) == (stdout, "", 0)
    assert [path.name for path in folder.iterdir()] == ["cache"]  # nothing else was written


@shares_what_was_compiled
@unless_a_parameter_was_added
@pytest.mark.slow
def test_numba_keeps_what_it_compiled_where_the_user_says(usual, tmp_path):
    folder, stdout = usual
    done = run(CHOICE, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "elsewhere"))
    assert (done.stdout, done.stderr) == (stdout, "")
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    usual_files = [path.name for path in folder.rglob("*.nbc")]
    files = [path.name for path in tmp_path.rglob("*.nbc")]
    assert len(files) == len(usual_files) > 0


@shares_what_was_compiled
@unless_a_parameter_was_added
@pytest.mark.slow
def test_numpy_gives_the_same_where_numba_is_not_to_compile(usual, tmp_path):
    done = run(CHOICE, tmp_path, NUMBA_DISABLE_JIT="1")
    assert (done.stdout, done.stderr) == (usual[1].replace("Numba", "NumPy"), "")


@shares_what_was_compiled
@unless_a_parameter_was_added
@pytest.mark.slow
def test_numpy_gives_the_same_where_numba_has_a_file_of_settings(usual, tmp_path):
    (tmp_path / ".numba_config.yaml").write_text("disable_jit: 1\ndump_bytecode: 1\n")
    done = run(CHOICE, tmp_path)
    assert (done.stdout, done.stderr) == (usual[1].replace("Numba", "NumPy"), "")


def folder_of(sources):
    return cache_folder(sources, "some processor")


def test_what_is_compiled_is_shared_by_checkouts_of_the_same_content(tmp_path):
    copy = shutil.copytree(ROOT / "src/portable", tmp_path / "portable")
    assert folder_of(copy) == folder_of(ROOT / "src/portable")


@pytest.mark.parametrize("name", ["arithmetic.py", "compiled.py", "compiler.py"])
def test_what_is_compiled_from_other_sources_lies_elsewhere(name, tmp_path):
    copy = shutil.copytree(ROOT / "src/portable", tmp_path / "portable")
    with (copy / name).open("a") as file:
        file.write("# changed")
    assert folder_of(copy) != folder_of(ROOT / "src/portable")


def test_what_is_compiled_for_another_processor_lies_elsewhere():
    sources = ROOT / "src/portable"
    assert cache_folder(sources, "another") != folder_of(sources)


# When it is chosen.


@unless_a_parameter_was_added
@pytest.mark.slow
def test_it_is_chosen_for_a_long_training():
    assert choice(100) == Choice(compiled_descent, "Numba", "the same bytes in less time")


def test_it_is_not_chosen_for_a_short_training():
    assert choice(10) == Choice(gradient_descent, "NumPy", "the training is short")


@unless_a_parameter_was_added
def test_it_is_not_chosen_without_numba(monkeypatch):
    monkeypatch.delitem(sys.modules, "portable.compiled", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    chosen = choice(100)
    assert chosen.name == "NumPy"
    assert chosen.reason.startswith("no Numba: ")


def test_a_model_without_a_compiled_form_is_trained_by_numpy():
    chosen = choice(10, "linear", iterations=100_000_000)
    assert chosen.name == "NumPy"
    assert chosen.reason == f"{Linear.title} has no compiled form"


def test_a_subclass_of_the_model_is_trained_by_numpy():
    class Another(MLP):
        title = "Another network"

    model = Another.initialize(2, 3, PARAMS.train_mlp)
    assert why_not_compiled(model, PARAMS.train_mlp) == "Another network has no compiled form"


def test_a_single_hidden_unit_is_not_compiled():
    """NumPy's sum over the points of a single column is pairwise, and of several columns is not."""
    params = msgspec.structs.replace(PARAMS.train_mlp, hidden_units=1)
    model = MLP.initialize(2, 3, params)
    assert "one hidden unit" in why_not_compiled(model, params)


@pytest.fixture
def numpys(monkeypatch):
    """The compiled form is NumPy's own numbers, without the work; what it should do is appended."""
    pytest.importorskip("numba")
    known = {}
    faults = []

    def remember(model, X, y, params):
        key = (params.iterations, X.shape)
        scores = [(step, scores.copy()) for step, scores in gradient_descent(model, X, y, params)]
        known[key] = (scores, model.copy())
        yield from scores

    def replay(model, X, y, params):
        scores, end = known[params.iterations, X.shape]
        yield from scores
        for name, weight in model.weights.items():
            weight[:] = end.weights[name]
        for fault in faults:
            fault(model)

    monkeypatch.setattr(backend, "gradient_descent", remember)
    monkeypatch.setattr(backend, "compiled_descent", replay)
    monkeypatch.setattr(backend, "set_up_numba", lambda: None)
    monkeypatch.setattr(backend, "COPIED_DIGEST", backend.copied_digest())
    return faults


def be_slow(model):
    end = time.thread_time() + 0.02  # seconds
    while time.thread_time() < end:
        pass


def change_a_weight(model):
    model.W.flat[0] += 1e-9


def fail_to_compile(model):
    raise RuntimeError("cannot cache function")


def be_at_fault(model):
    raise TypeError("a fault of ours")


@unless_a_parameter_was_added
def test_a_trial_lets_it_be_chosen(numpys):
    assert choice(100).name == "Numba"


@unless_a_parameter_was_added
def test_a_trial_that_is_not_faster_decides_for_numpy(numpys):
    numpys.append(be_slow)
    assert (choice(100).name, choice(100).reason) == (
        "NumPy",
        "the compiled form is not faster here",
    )


@unless_a_parameter_was_added
def test_a_trial_with_other_bytes_decides_for_numpy_and_says_it(numpys):
    numpys.append(change_a_weight)
    chosen = choice(100)
    assert chosen.name == "NumPy"
    assert "gives other bytes on this machine: please report it" in chosen.reason


@unless_a_parameter_was_added
def test_a_compiler_that_does_not_work_here_decides_for_numpy_and_says_it(numpys):
    numpys.append(fail_to_compile)
    chosen = choice(100)
    assert chosen.name == "NumPy"
    assert chosen.reason == "Numba does not work here: RuntimeError cannot cache function"


@unless_a_parameter_was_added
def test_a_fault_of_ours_in_the_compiled_form_is_not_hidden(numpys):
    numpys.append(be_at_fault)
    with pytest.raises(TypeError, match="a fault of ours"):
        choice(100)


CHOSEN = "chosen = t.choice(100); print(chosen.name, chosen.reason)"


@shares_what_was_compiled
@unless_a_parameter_was_added
@pytest.mark.slow
def test_numpy_trains_where_numba_cannot_read_what_it_compiled(usual, tmp_path):
    shutil.copytree(usual[0], tmp_path, dirs_exist_ok=True)
    for index in tmp_path.rglob("*.nbi"):
        index.write_bytes(b"")
    done = run(CHOSEN, tmp_path)
    assert done.stdout.startswith("NumPy Numba does not work here: "), done.stderr
    assert (done.stderr, done.returncode) == ("", 0)


@unless_a_parameter_was_added
@pytest.mark.slow
def test_numpy_trains_where_numba_cannot_keep_what_it_compiles(tmp_path):
    (tmp_path / "cache").touch()
    done = run(CHOSEN, tmp_path)
    assert done.stdout.startswith("NumPy Numba does not work here: "), done.stderr
    assert (done.stderr, done.returncode) == ("", 0)


# Whether it is the same.

WHAT_TO_DO = """
What the compiled form copies was changed: {changed} are now the code of {digest}.
Compare each line of src/portable/compiled.py with it, and change what differs; run
tests/test_compiled.py, the slow ones too; then record COPIED_DIGEST = "{digest}" in
src/pipeline/backend.py. Until then NumPy trains, and the log says so.
"""


@unless_a_parameter_was_added
def test_what_the_compiled_form_copies_is_as_it_was_when_they_were_compared():
    digest = backend.copied_digest()
    names = [copied.__qualname__ for copied in backend.COPIED]
    advice = WHAT_TO_DO.format(changed=" and ".join(names), digest=digest)
    assert digest == backend.COPIED_DIGEST, advice


def test_a_parameter_that_is_not_known_turns_it_off():
    section = msgspec.defstruct(
        "TrainMLP", [("added_here", float, 1.0)], bases=(type(PARAMS.train_mlp),)
    )
    params = section(**msgspec.structs.asdict(PARAMS.train_mlp))
    model = MLP.initialize(2, 3, params)
    assert "the compiled form does not know the parameter" in why_not_compiled(model, params)


def test_the_parameters_that_it_knows_are_those_of_the_model():
    assert {*PARAMS.train_mlp.__struct_fields__} >= backend.KNOWN_PARAMETERS


def called_in_training():
    """Our own functions that a training by NumPy calls, as (file, name), by the interpreter."""
    called = set()

    def note(frame, event, _):
        if event == "call":
            called.add((Path(frame.f_code.co_filename), frame.f_code.co_qualname))

    for points, classes, hidden in [(5, 2, 3), (100, 3, 20), (3, 20, 200), (200, 2, 1)]:
        X, y = scattered(points, classes)
        params = msgspec.structs.replace(PARAMS.train_mlp, hidden_units=hidden, iterations=2)
        model = MLP.initialize(2, classes, params)
        sys.setprofile(note)
        try:
            list(gradient_descent(model, X, y, params))
        finally:
            sys.setprofile(None)
    return {pair for pair in called if pair[0].is_relative_to(ROOT / "src")}


def test_all_that_a_training_calls_is_in_the_digest():
    """Found by running it: what is not named in a definition that is named would be missing."""
    copied = set()
    for found in with_callees(backend.COPIED, backend.COPIED_PACKAGES):
        copied.add((Path(sys.modules[found.__module__].__file__), found.__qualname__))
    missing = []
    for path, name in called_in_training():
        if (path, name) not in copied and (path, name.partition(".")[0]) not in copied:
            missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert missing == []


COPY = """
import sys
from pathlib import Path
sys.path.insert(0, "src")
from pipeline import backend
print(backend.copied_digest() == backend.COPIED_DIGEST)
"""
# A line of each file that the compiled form copies, and the same line with another meaning.
CHANGES = {
    "src/spirals/training.py": (
        "model.update(gradients, params.learning_rate)",
        "model.update(gradients, 0.5 * params.learning_rate)",
    ),
    "src/spirals/models.py": ("gradients[name] += l2 * W", "gradients[name] += 2 * l2 * W"),
    "src/portable/arithmetic.py": ("half = terms // 2", "half = terms // 3"),
}


@pytest.fixture
def sources(tmp_path):
    """A copy of the sources that decide."""
    for name in ("bridge", "pipeline", "portable", "spirals"):
        shutil.copytree(ROOT / "src" / name, tmp_path / "src" / name)
    return tmp_path


def is_as_recorded(folder):
    done = subprocess.run(
        [sys.executable, "-c", COPY], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout == "True\n"


@pytest.mark.slow
@pytest.mark.parametrize("path", CHANGES)
def test_a_line_with_another_meaning_turns_it_off(path, sources):
    old, new = CHANGES[path]
    text = (sources / path).read_text()
    assert old in text
    (sources / path).write_text(text.replace(old, new))
    assert not is_as_recorded(sources)


@unless_a_parameter_was_added
@pytest.mark.slow
def test_other_comments_docstrings_and_layout_do_not_turn_it_off(sources):
    for path, (old, _) in CHANGES.items():
        text = (sources / path).read_text()
        changed = text.replace(old, f"{old}  # as everybody knows").replace('"""Return', '"""Give')
        assert changed.count("as everybody knows") == 1
        (sources / path).write_text(changed)
    assert is_as_recorded(sources)


def test_a_digest_is_the_same_in_every_version_of_python(monkeypatch):
    """3.12 added a field to every function, 3.13 shows no empty fields."""
    import ast

    before = source_digest([gradient_descent])
    monkeypatch.setattr(ast.FunctionDef, "_fields", (*ast.FunctionDef._fields, "added"))
    monkeypatch.setattr(ast.FunctionDef, "added", [], raising=False)
    assert source_digest([gradient_descent]) == before


# Told by an issue: a parameter was added as the README says, and had no effect.

DECAY = """
from pathlib import Path
import sys
sys.path.insert(0, "src")
import generate, train
from pipeline.params import load_params
params = load_params(Path("."))
generate.generate(params, Path("."))
curve = train.train_model("mlp", params.train_mlp, Path("."), announce=print)
print({point.iteration: f"{point.loss:.6f}" for point in curve}[5000])
"""


def replace_once(path, old, new, count=1):
    text = path.read_text()
    assert text.count(old) == count, path
    path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_a_learning_rate_that_decays_has_its_effect_and_the_log_says_who_trained(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    replace_once(
        tmp_path / "params.yaml", "learning_rate: 1.0 ", "decay: 0.1\n  learning_rate: 1.0 ", 2
    )
    replace_once(tmp_path / "params.yaml", "iterations: 10000 ", "iterations: 5000 ")
    params = tmp_path / "src/pipeline/params.py"
    replace_once(
        params,
        "    learning_rate: LearningRate\n",
        "    learning_rate: LearningRate\n    decay: Noise\n",
    )
    replace_once(
        tmp_path / "src/spirals/training.py",
        "model.update(gradients, params.learning_rate)",
        "model.update(gradients, params.learning_rate * params.decay ** (iteration // 1000))",
    )
    done = subprocess.run(
        [sys.executable, "-c", DECAY], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    announced, loss = done.stdout.splitlines()
    assert loss == "0.282446"  # 0.245649 without the decay
    assert "NumPy" in announced
    assert "does not know the parameter decay" in announced
