"""Files that are missing or corrupted: one sentence names the file and what to run."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, run_to_metrics
from PIL import Image

from bridge.atomic import atomic_write
from evaluate import evaluate
from pipeline import paths
from pipeline.errors import UserError, exit_on_user_error
from pipeline.files import (
    model_content,
    read_confusion,
    read_curve,
    read_metrics,
    read_model,
    read_points,
    read_snapshots,
    write_metrics,
    write_text,
)
from pipeline.params import load_params
from plot import plot
from report import report
from spirals.models import MODELS
from train import train_model

CURVE = paths.curve("mlp")
WEIGHTS = paths.weights("mlp")
SNAPSHOTS = paths.snapshots("mlp")
CONFUSION = paths.confusion("mlp")
METRICS = paths.metrics("mlp")
READERS = {
    paths.DATA: read_points,
    CURVE: read_curve,
    CONFUSION: lambda path: read_confusion(path, CLASSES),
    WEIGHTS: lambda path: read_model(path, "mlp", CLASSES),
    SNAPSHOTS: lambda path: read_snapshots(path, "mlp", CLASSES),
    METRICS: lambda path: read_metrics(path, "mlp"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with params.yaml and what the stages up to evaluate write, and pictures."""
    root = tmp_path_factory.mktemp("made")
    for name in (paths.PIPELINE, paths.PUBLISHED, paths.PUBLISHED_PARAMS, paths.REQUIREMENTS):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(paths.ROOT / name, root / name)
    run_to_metrics(
        root,
        {"generate.points_per_class": 10, "train_mlp.iterations": 5, "train_mlp.hidden_units": 2},
    )
    for name in MODELS:
        Image.new("RGB", (1, 1)).save(root / paths.picture(name, "boundary"))
    return root


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    """A copy of it that counts as the checkout."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


def replaced(old, new):
    """A change of bytes: one place, which must be there."""

    def change(content):
        assert old in content
        return content.replace(old, new, 1)

    return change


def edited(change):
    """A change of what JSON holds, by a function that changes it in place."""

    def rewrite(content):
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return rewrite


def with_values(**values):
    """A change of JSON: other values of some keys."""
    return edited(lambda value: value.update(values))


def with_third_line(line):
    def change(content):
        lines = content.split(b"\n")
        return b"\n".join([*lines[:2], line, b""])

    return change


def without_first_line(content):
    return content.split(b"\n", 1)[1]


def one_class(content):
    return content.replace(b",1\n", b",0\n").replace(b",2\n", b",0\n")


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
    "the last line's end": (lambda content: content[:-1], "it is truncated"),
    "no rows": (lambda content: content.split(b"\n")[0] + b"\n", "it is truncated"),
    "another header": (
        lambda content: b"a,b,c\n" + without_first_line(content),
        "the first line must be",
    ),
    "no header": (without_first_line, "the first line must be"),
    "NaN": (with_third_line(b"nan,nan,nan"), "line 3 must be"),
    "infinity": (with_third_line(b"1e999,0,0"), "line 3 must be"),
    "a word": (replaced(b"\n0", b"\nzero"), "line 2 must be"),
    "a column more": (replaced(b"\n", b"\n0,"), "line 2 must be"),
    "an empty line": (lambda content: content + b"\n", "must be"),
    "a truncated row": (lambda content: content.rsplit(b",", 1)[0] + b"\n", "must be"),
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
        "one class": (one_class, "the labels"),
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
    CONFUSION: {
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
        "one missing": (edited(lambda value: value.pop("b2")), "the weights must be"),
        "one too many": (with_values(W3=[]), "the weights must be"),
        "NaN": (with_values(b2=[float("nan")] * CLASSES), "NaN is not a finite number"),
        "infinity": (with_values(b2=[float("inf")] * CLASSES), "Infinity is not a finite number"),
        "a number too large": (replaced(b'"b": [', b'"b": [1e999, '), "b must be finite numbers"),
        "an integer too large": (
            replaced(b'"b": [', b'"b": [1' + b"0" * 400 + b", "),
            "b must be numbers",
        ),
        "null in it": (with_values(b=[None] * 2), "b must be"),
        "text in it": (with_values(b=["x", 0]), "b must be numbers"),
        "a row short": (
            edited(lambda value: value["W"][1].pop()),
            "W must be numbers, in rows of one length",
        ),
        "a wrong number of axes": (
            with_values(b=[[0.0, 0.0]]),
            "b must be finite numbers, in 1 dimensions",
        ),
        "a wrong width": (
            with_values(b=[0.0] * 3),
            f"the weights do not fit 2 coordinates and {CLASSES} classes: W [2, 2], b [3], W2 [",
        ),
        "one bias for all units": (with_values(b=[0.0]), "the weights do not fit"),
        "another number of classes": (
            with_values(W2=[[0.0] * (CLASSES + 1)] * 2, b2=[0.0] * (CLASSES + 1)),
            "the weights do not fit",
        ),
        "three coordinates": (with_values(W=[[0.0] * 2] * 3), "the weights do not fit"),
        "no hidden unit": (with_values(W=[[], []], b=[], W2=[]), "must be"),
    },
    SNAPSHOTS: {
        "a number": (lambda content: b"1", "it must be a list of snapshots"),
        "no snapshot": (lambda content: b"[]", "it must be a list of snapshots"),
        "another kind of snapshot": (lambda content: b"[1]", "every snapshot must have"),
        "a key missing": (
            edited(lambda value: value[3].pop("accuracy")),
            "every snapshot must have",
        ),
        "text": (
            edited(lambda value: value[3].update(accuracy="high")),
            "accuracy must be finite numbers",
        ),
        "weights that do not fit": (
            edited(lambda value: value[3]["weights"]["b"].clear()),
            "the weights do not fit",
        ),
    },
    METRICS: {
        "another model": (replaced(b'"mlp"', b'"forest"'), "mlp must have train_accuracy"),
        "a list": (lambda content: b"[]", "mlp must have"),
        "a value missing": (edited(lambda value: value["mlp"].pop("train_loss")), "mlp must have"),
        "NaN": (
            edited(lambda value: value["mlp"].update(train_loss=float("nan"))),
            "NaN is not a finite number",
        ),
        "text": (
            edited(lambda value: value["mlp"].update(train_loss="low")),
            "the metrics must be finite numbers",
        ),
        "true": (
            edited(lambda value: value["mlp"].update(train_loss=True)),
            "the metrics must be finite numbers",
        ),
    },
}


def cases():
    """Every file, with every way to corrupt it: path, name of the way, change, reason."""
    for path in READERS:
        ways = {**WHAT_IS_READ, **OF_FILE[path]}
        if path.suffix == ".csv":
            ways |= OF_CSV
        for kind, (change, reason) in ways.items():
            yield pytest.param(path, change, reason, id=f"{path.name} {kind}")


@pytest.fixture
def copy_one(made, tmp_path, monkeypatch):
    """A function that copies one of the files to a folder that counts as the checkout."""

    def copy(path):
        (tmp_path / path).parent.mkdir(parents=True)
        return Path(shutil.copy(made / path, tmp_path / path))

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return copy


@pytest.mark.parametrize("path", READERS, ids=str)
def test_a_file_as_a_stage_wrote_it_is_read(path, copy_one):
    READERS[path](copy_one(path))


@pytest.mark.parametrize(("path", "corrupt", "reason"), [*cases()])
def test_a_corrupted_file_is_named_with_what_to_run(path, corrupt, reason, copy_one):
    file = copy_one(path)
    if corrupt is None:
        file.unlink()
    else:
        file.write_bytes(corrupt(file.read_bytes()))

    with pytest.raises(UserError) as caught:
        READERS[path](file)

    message = str(caught.value)
    assert message.startswith(f"cannot use {path}: ")
    assert message.endswith(". Run make, which writes it again.")
    assert reason is None or reason in message
    assert len(message) < 250 and "\n" not in message


def test_what_is_written_of_a_model_is_read_again(root):
    model = read_model(root / WEIGHTS, "mlp", CLASSES)
    assert model_content(model) == json.loads((root / WEIGHTS).read_text())


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
        [paths.DATA, CURVE, CONFUSION, METRICS, paths.picture("mlp", "boundary")],
    ),
}


@pytest.mark.parametrize(
    ("stage", "path"), [(name, path) for name in STAGES for path in STAGES[name][1]]
)
def test_every_stage_checks_what_it_reads(stage, path, root):
    run, _ = STAGES[stage]
    (root / path).write_bytes(b"corrupted")
    with pytest.raises(UserError, match=f"^cannot use {path}: "):
        run(load_params(root), root)


def test_a_folder_in_place_of_a_file(root):
    (root / paths.DATA).unlink()
    (root / paths.DATA).mkdir()
    with pytest.raises(UserError, match=r"^cannot use data/spirals\.csv: Is a directory"):
        read_points(root / paths.DATA)


@pytest.mark.parametrize("name", MODELS)
def test_weights_of_another_data_set(name, root):
    """Scripts run by hand, one of them forgotten."""
    text = (root / paths.DATA).read_text()
    assert text.endswith(f",{CLASSES - 1}\n")
    (root / paths.DATA).write_text(f"{text[:-2]}{CLASSES}\n")  # one class more
    misfit = f"the weights do not fit 2 coordinates and {CLASSES + 1} classes: W "
    with pytest.raises(UserError, match=f"^cannot use data/{name}/weights.json: {misfit}"):
        evaluate(name, load_params(root), root)


def exit_code(error):
    """What the program ends with for an error: a message, or a number."""
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise error
    return caught.value.code


def test_a_mistake_of_the_user_s_is_a_message():
    assert exit_code(UserError("x")) == "error: x"


def test_an_error_of_the_system_names_the_file_in_the_checkout(root):
    error = PermissionError(errno.EACCES, "Permission denied", str(root / "data"))
    assert exit_code(error) == "error: data: Permission denied"


def test_a_missing_file_is_told_with_what_to_run(root):
    missing = str(root / "reports/a.png")
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", missing)
    assert exit_code(error) == (
        "error: reports/a.png: No such file or directory. Run make, which writes it again."
    )


def test_too_little_memory_is_told_with_what_to_change():
    assert exit_code(MemoryError()) == "error: not enough memory for the sizes in params.yaml"


def test_an_interrupt_ends_with_the_code_of_shells():
    assert exit_code(KeyboardInterrupt()) == 130


def test_an_error_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), exit_on_user_error():
        raise ZeroDivisionError


def test_an_error_of_the_system_without_a_reason_keeps_its_traceback():
    with pytest.raises(OSError, match="a picture"), exit_on_user_error():
        raise OSError("a picture that Pillow cannot read")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_write_that_fails_leaves_the_old_file_and_names_it(tmp_path):
    def write_to_a_full_disk():
        with atomic_write(tmp_path / "a.csv") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_text("new")

    write_text(tmp_path / "a.csv", "old")
    with pytest.raises(OSError, match="No space left") as caught:
        write_to_a_full_disk()
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


def test_an_interrupt_while_writing_leaves_nothing(tmp_path):
    def write_half():
        with atomic_write(tmp_path / "a.csv") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


OF_EVERY_MODEL = {"train_accuracy": 1.0, "train_loss": 0.5, "test_accuracy": 1.0}


def test_a_model_may_have_metrics_of_its_own(tmp_path):
    values = {**OF_EVERY_MODEL, "unused_units": 5}
    path = tmp_path / "metrics.json"
    write_metrics(path, "mlp", values)
    assert json.loads(path.read_text()) == {"mlp": values}
    assert read_metrics(path, "mlp") == values


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"margin": float("nan")}, "the metric margin of mlp is nan, but must be a finite int or"),
        ({"margin": 10**400}, "the metric margin of mlp is 1000"),
        ({"margin": np.float32(1)}, "the metric margin of mlp is np.float32"),
        ({"margin": "large"}, "the metric margin of mlp is 'large', but must be a finite int or"),
        ({"margin": True}, "the metric margin of mlp is True, but must be a finite int or"),
        ({"train_accuracy": 3.6}, "the metric train_accuracy of mlp is 3.6, but must be from 0 to"),
        ({"loss": 0.3}, "the metric loss of mlp needs another name: a column of the curve has"),
    ],
    ids=["NaN", "too large", "NumPy's", "text", "bool", "accuracy", "name"],
)
def test_a_metric_that_cannot_be_shown_is_refused_before_it_is_written(metrics, reason, tmp_path):
    path = tmp_path / "metrics.json"
    with pytest.raises(UserError, match=f"^{re.escape(reason)}"):
        write_metrics(path, "mlp", {**OF_EVERY_MODEL, **metrics})
    assert not path.exists()


def test_a_metric_of_every_model_that_is_missing_is_named(tmp_path):
    with pytest.raises(
        UserError, match=r"^the metrics of mlp must have train_loss, test_accuracy$"
    ):
        write_metrics(tmp_path / "metrics.json", "mlp", {"train_accuracy": 1.0})
