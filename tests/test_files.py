"""Files that are missing or spoiled: one sentence names the file and what to run."""

import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import CLASSES, run_to_metrics
from PIL import Image

from evaluate import evaluate
from pipeline import files, paths
from pipeline.errors import UserError, exit_on_user_error
from pipeline.files import (
    read_curve,
    read_metrics,
    read_pairs,
    read_points,
    read_snapshots,
    read_weights,
    write_text,
)
from pipeline.params import load_params
from plot import plot
from report import report
from spirals.models import MODELS
from train import train_model

CURVE, WEIGHTS, SNAPSHOTS = paths.curve("mlp"), paths.weights("mlp"), paths.snapshots("mlp")
PAIRS, METRICS = paths.confusion("mlp"), paths.metrics("mlp")
READERS = {
    paths.DATA: read_points,
    CURVE: read_curve,
    PAIRS: lambda path: read_pairs(path, CLASSES),
    WEIGHTS: lambda path: read_weights(path, "mlp", CLASSES),
    SNAPSHOTS: lambda path: read_snapshots(path, "mlp", CLASSES),
    METRICS: lambda path: read_metrics(path, "mlp"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with params.yaml and what the stages up to evaluate write, and pictures."""
    root = tmp_path_factory.mktemp("made")
    for name in (paths.PUBLISHED, paths.PUBLISHED_PARAMS, paths.REQUIREMENTS):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(paths.ROOT / name, root / name)
    run_to_metrics(
        root,
        {"generate.points_per_class": 10, "train_mlp.iterations": 5, "train_mlp.hidden_units": 2},
    )
    for name in MODELS:
        for picture in (paths.picture(name, "boundary"), paths.learning(name)):
            Image.new("RGB", (1, 1)).save(root / picture)
    return root


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    """A copy of it that counts as the checkout."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


def replaced(old, new):
    def change(content):
        assert old in content
        return content.replace(old, new, 1)

    return change


def edited(change):
    """What JSON holds, changed by a function."""

    def rewrite(content):
        held = json.loads(content)
        return json.dumps(change(held) or held).encode()

    return rewrite


WHAT_IS_READ = {
    "missing": (None, "No such file or directory"),
    "empty": (lambda content: b"", None),
    "half": (lambda content: content[: len(content) // 2], None),
    "not text": (lambda content: b"\x89PNG\xff\0", None),
    "a null byte": (lambda content: content[:40] + b"\0" + content[41:], None),
    "thousands of brackets": (lambda content: b"[" * 100_000, None),
}
OF_CSV = {
    "CRLF": (lambda content: content.replace(b"\n", b"\r\n"), "the first line must be"),
    "CRLF in one row": (lambda content: content[:-1] + b"\r\n", "must be"),
    "the last line's end": (lambda content: content[:-1], "it is cut off"),
    "no rows": (lambda content: content.split(b"\n")[0] + b"\n", "it is cut off"),
    "another header": (
        lambda content: b"a,b,c\n" + content.split(b"\n", 1)[1],
        "the first line must be",
    ),
    "no header": (lambda content: content.split(b"\n", 1)[1], "the first line must be"),
    "NaN": (
        lambda content: b"\n".join([*content.split(b"\n")[:2], b"nan,nan,nan", b""]),
        "line 3 must be",
    ),
    "infinity": (
        lambda content: b"\n".join([*content.split(b"\n")[:2], b"1e999,0,0", b""]),
        "line 3 must be",
    ),
    "a word": (replaced(b"\n0", b"\nzero"), "line 2 must be"),
    "a column more": (replaced(b"\n", b"\n0,"), "line 2 must be"),
    "an empty line": (lambda content: content + b"\n", "must be"),
    "a row cut off": (lambda content: content.rsplit(b",", 1)[0] + b"\n", "must be"),
}
OF_FILE = {
    paths.DATA: {
        "half a label": (replaced(b",1\n", b",0.5\n"), "the labels must be 0, 1, 2 and so on"),
        "a negative label": (replaced(b",1\n", b",-1\n"), "the labels must be"),
        "a huge label": (replaced(b",1\n", b",1e300\n"), "the labels must be"),
        "a label left out": (
            lambda content: content.replace(b",1\n", b",3\n"),
            "the labels must be",
        ),
        "one class": (
            lambda content: content.replace(b",1\n", b",0\n").replace(b",2\n", b",0\n"),
            "the labels",
        ),
    },
    CURVE: {
        "half an iteration": (
            lambda content: content + b"10.5,1.0,1.0\n",
            "the iterations must be whole numbers",
        ),
        "the same iteration": (
            lambda content: content + content.split(b"\n")[-2] + b"\n",
            "the iterations must be",
        ),
        "another start": (replaced(b"\n0", b"\n1"), "the iterations must be"),
    },
    PAIRS: {
        "an unknown class": (
            replaced(b",0\n", b",%d\n" % CLASSES),
            f"the classes must be whole numbers from 0 to {CLASSES - 1}",
        ),
        "a huge class": (replaced(b",0\n", b",1e300\n"), "the classes must be"),
        "half a class": (replaced(b",0\n", b",0.5\n"), "the classes must be"),
    },
    WEIGHTS: {
        "a list": (lambda content: b"[]", "the weights must be W, b, W2, b2"),
        "null": (lambda content: b"null", "the weights must be"),
        "one missing": (
            edited(lambda held: {**{key: held[key] for key in ("W", "b", "W2")}}),
            "the weights must be",
        ),
        "one too many": (edited(lambda held: {**held, "W3": []}), "the weights must be"),
        "NaN": (
            edited(lambda held: {**held, "b2": [float("nan")] * CLASSES}),
            "NaN is not a finite number",
        ),
        "infinity": (
            edited(lambda held: {**held, "b2": [float("inf")] * CLASSES}),
            "Infinity is not a finite number",
        ),
        "a number too large": (replaced(b'"b": [', b'"b": [1e999, '), "b must be finite numbers"),
        "an integer too large": (
            replaced(b'"b": [', b'"b": [1' + b"0" * 400 + b", "),
            "b must be numbers",
        ),
        "null in it": (edited(lambda held: {**held, "b": [None] * 2}), "b must be"),
        "text in it": (edited(lambda held: {**held, "b": ["x", 0]}), "b must be numbers"),
        "a row short": (
            edited(lambda held: held["W"][1].pop() and None),
            "W must be numbers, in rows of one length",
        ),
        "a wrong width": (
            edited(lambda held: {**held, "b": [0.0] * 3}),
            "b must be finite numbers of shape [H]",
        ),
        "a wrong number of axes": (edited(lambda held: {**held, "b": [[0.0, 0.0]]}), "b must be"),
        "another number of classes": (
            edited(
                lambda held: {
                    **held,
                    "W2": [[0.0] * (CLASSES + 1)] * 2,
                    "b2": [0.0] * (CLASSES + 1),
                }
            ),
            "W2 must be finite numbers of shape [H, K]",
        ),
        "three coordinates": (edited(lambda held: {**held, "W": [[0.0] * 2] * 3}), "W must be"),
    },
    SNAPSHOTS: {
        "a number": (lambda content: b"1", "it must be a list of moments"),
        "no moment": (lambda content: b"[]", "it must be a list of moments"),
        "another kind of moment": (lambda content: b"[1]", "every moment must have"),
        "a key missing": (
            edited(lambda held: held[3].pop("accuracy") and None),
            "every moment must have",
        ),
        "text": (
            edited(lambda held: held[3].update(accuracy="high")),
            "accuracy must be finite numbers",
        ),
        "weights that do not fit": (
            edited(lambda held: held[3]["weights"]["b"].clear()),
            "b must be",
        ),
    },
    METRICS: {
        "another model": (replaced(b'"mlp"', b'"forest"'), "mlp must have train_accuracy"),
        "a list": (lambda content: b"[]", "mlp must have"),
        "a value missing": (
            edited(lambda held: held["mlp"].pop("train_loss") and None),
            "mlp must have",
        ),
        "NaN": (
            edited(lambda held: held["mlp"].update(train_loss=float("nan"))),
            "NaN is not a finite number",
        ),
        "text": (
            edited(lambda held: held["mlp"].update(train_loss="low")),
            "the metrics must be finite numbers",
        ),
        "true": (
            edited(lambda held: held["mlp"].update(train_loss=True)),
            "the metrics must be finite numbers",
        ),
    },
}
CASES = [
    (path, kind, *case)
    for path in READERS
    for kind, case in {
        **WHAT_IS_READ,
        **(OF_CSV if path.suffix == ".csv" else {}),
        **OF_FILE[path],
    }.items()
]


@pytest.mark.parametrize(
    ("path", "kind", "spoil", "reason"),
    CASES,
    ids=[f"{path.name} {kind}" for path, kind, _, _ in CASES],
)
def test_a_spoiled_file_is_named_with_what_to_run(path, kind, spoil, reason, root):
    READERS[path](root / path)
    if spoil is None:
        (root / path).unlink()
    else:
        (root / path).write_bytes(spoil((root / path).read_bytes()))
    with pytest.raises(UserError) as caught:
        READERS[path](root / path)
    message = str(caught.value)
    assert message.startswith(f"cannot use {path}: ")
    assert message.endswith(". Run make, which makes it anew.")
    assert reason is None or reason in message
    assert len(message) < 250 and "\n" not in message


SHOWN = paths.learning([*MODELS][-1])  # the moving picture that the report shows
STAGES = {
    "train": (lambda params, root: train_model("mlp", params.train_mlp, root), [paths.DATA]),
    "evaluate": (
        lambda params, root: evaluate("mlp", params, root),
        [paths.DATA, paths.TEST, WEIGHTS],
    ),
    "plot": (
        lambda params, root: plot("mlp", params.plot, root),
        [paths.DATA, WEIGHTS, CURVE, SNAPSHOTS],
    ),
    "report": (
        report,
        [paths.DATA, CURVE, PAIRS, METRICS, paths.picture("mlp", "boundary"), SHOWN],
    ),
}


@pytest.mark.parametrize(
    ("stage", "path"), [(name, path) for name in STAGES for path in STAGES[name][1]]
)
def test_every_stage_checks_what_it_reads(stage, path, root):
    params = load_params(root)
    (root / path).write_bytes(b"spoiled")
    with pytest.raises(UserError, match=f"^cannot use {path}: "):
        STAGES[stage][0](params, root)


def test_a_folder_in_place_of_a_file(root):
    (root / paths.DATA).unlink()
    (root / paths.DATA).mkdir()
    with pytest.raises(UserError, match="^cannot use data/spirals.csv: Is a directory"):
        read_points(root / paths.DATA)


def test_weights_of_another_data_set(root):
    """Scripts run by hand, one of them forgotten."""
    text = (root / paths.DATA).read_text()
    assert text.endswith(f",{CLASSES - 1}\n")
    (root / paths.DATA).write_text(f"{text[:-2]}{CLASSES}\n")  # one class more
    params = load_params(root)
    for name, model in MODELS.items():
        last = [*model.shapes][-2]
        told = rf"^cannot use data/{name}/weights.json: {last} must be finite numbers of shape \[., K\]"
        with pytest.raises(UserError, match=told):
            evaluate(name, params, root)


def told(error):
    """What `exit_on_user_error` prints for an error, and the exit code."""
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise error
    return caught.value.code


def test_errors_of_the_system_in_plain_words(root):
    assert told(UserError("x")) == "error: x"
    assert told(PermissionError(errno.EACCES, "Permission denied", str(root / "data"))) == (
        "error: data: Permission denied"
    )
    assert told(
        FileNotFoundError(errno.ENOENT, "No such file or directory", str(root / "reports/a.png"))
    ) == ("error: reports/a.png: No such file or directory. Run make, which makes it anew.")
    assert told(MemoryError()) == "error: not enough memory for the sizes in params.yaml"
    assert told(KeyboardInterrupt()) == 130


def test_an_error_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), exit_on_user_error():
        raise ZeroDivisionError
    with pytest.raises(OSError, match="a picture"), exit_on_user_error():
        raise OSError("a picture that Pillow cannot read")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_write_that_fails_leaves_the_old_file_and_names_it(tmp_path, monkeypatch):
    write_text(tmp_path / "a.csv", "old")
    with (
        pytest.raises(OSError, match="No space left") as caught,
        files.atomic_write(tmp_path / "a.csv") as temporary,
    ):
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")
    assert caught.value.filename == str(tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_what_a_killed_process_left_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".a.{ended.pid}.csv").write_text("half")
    (tmp_path / f".ab.{ended.pid}.csv").write_text("of another file")
    (tmp_path / f".a.{os.getppid()}.csv").write_text("of a process that is still writing")
    write_text(tmp_path / "a.csv", "new")
    assert {path.name for path in tmp_path.iterdir()} == {
        f".ab.{ended.pid}.csv",
        f".a.{os.getppid()}.csv",
        "a.csv",
    }


def test_interrupt_while_writing(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.atomic_write(tmp_path / "a.csv") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
