"""mlflow.yaml: what it may say, and that all that is wrong in it is told before a run is begun."""

import json

import numpy as np
import pytest
from PIL import Image

from bridge.dvc_index import CurveTable, Index, StageDeclaration
from bridge.errors import UserError
from bridge.files import md5
from bridge.results import load_results
from bridge.settings import load_settings
from bridge.stages import Pipeline
from bridge.validation import check_result, check_tags

OUTS = ["weights.txt", "table", "frames", "last.png", "metrics.json", "history.csv"]
FIT = StageDeclaration(
    lock="dvc.lock", name="fit@a", wdir=".", deps=[], outs=OUTS, params=["params.yaml"], after=[]
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with one stage, fit@a, that has run: root and pipeline."""
    root = tmp_path_factory.mktemp("project")
    for folder in (".dvc", "table", "frames", "serving", "other/serving"):
        (root / folder).mkdir(parents=True)
    (root / "weights.txt").write_text("1.0")
    (root / "table/rows.csv").write_text("x,y\n")
    (root / "metrics.json").write_text(json.dumps({"score": 1.0}))
    (root / "history.csv").write_text("epoch,loss\n0,1\n1,2\n")
    (root / "serving/model.py").write_text("")
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    for name in ("frames/0.png", "frames/50.png", "last.png"):
        picture.save(root / name)
    params = {"params.yaml": {"fit": {"rate": 1, "depth": 2}}}
    outs = [{"path": out, "md5": md5(root / out)} for out in OUTS]
    stages = {"fit@a": {"params": params, "outs": outs}}
    (root / "dvc.lock").write_text(json.dumps({"stages": stages}))
    curves = [CurveTable("history.csv", "epoch", ["loss"])]
    index = Index(watched=[], stages={"fit@a": FIT}, metrics=["metrics.json"], curves=curves)
    return Pipeline(root, index)


def check(pipeline, folder, text):
    """Check all results, with this text as mlflow.yaml."""
    (folder / "mlflow.yaml").write_text(text + "\n")
    for result in load_results(pipeline, load_settings(folder)):
        check_result(result)


def test_without_it_everything_has_a_default(tmp_path):
    settings = load_settings(tmp_path)
    assert (settings.runs, settings.params, settings.model) == ([], {}, None)
    assert settings.max_bytes == 10_000_000


def test_an_empty_file_says_nothing(tmp_path):
    (tmp_path / "mlflow.yaml").write_text("# nothing yet\n")
    assert load_settings(tmp_path) == load_settings(tmp_path / "elsewhere")


def test_the_name_of_the_run_takes_its_place_in_every_value(tmp_path):
    text = """
        params: {model: "{run}", depth: 3}
        names: {"fit_{run}.": ""}
        images: {"{run}": "out/{run}.png"}
        model: {loader: serve, file: "out/{run}", config: {names: ["{run}"]}, inputs: [int8, [1]]}
    """
    (tmp_path / "mlflow.yaml").write_text(text)
    settings = load_settings(tmp_path).for_run('"a"')
    assert settings.params == {"model": '"a"', "depth": 3}
    assert settings.names == {'fit_"a".': ""}
    assert settings.images == {'"a"': 'out/"a".png'}
    assert (settings.model.file, settings.model.config) == ('out/"a"', {"names": ['"a"']})
    assert (settings.model.inputs.kind, settings.model.inputs.shape) == ("int8", [1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]", "the whole is ['a'], but must be keys and values"),
        ("a: b: c", "cannot use mlflow.yaml: mapping values are not allowed in this context"),
        ("run: [fit]", "run is not a setting; the settings are experiment, runs, params, names,"),
        ("runs: fit", "runs is 'fit', but must be a list"),
        ("runs: [3]", "runs.0 is 3, but must be text"),
        ("names: {a: b, c: 3}", "names.c is 3, but must be text"),
        ("curves: {a.csv: loss}", "curves.a.csv is 'loss', but must be a list"),
        ("max_bytes: 1 MB", "max_bytes is '1 MB', but must be a whole number"),
        ("max_bytes: true", "max_bytes is True, but must be a whole number"),
        ("max_bytes: -1", "max_bytes is -1, but must be a whole number >= 0"),
        ("model: serve", "model is 'serve', but must be keys and values"),
        ("model: {loader: serve}", "model.file is missing; the settings are loader, file, code,"),
        ("model: {loader: a, file: b, x: c}", "model.x is not a setting; the settings are loader,"),
        ("model: {loader: a, file: b, inputs: [c]}", "model.inputs is ['c'], but must be a list"),
        ("model: {loader: a, file: b, inputs: [c, [d]]}", "inputs.1.0 is 'd', but must be a whole"),
        ("champion: {metric: score, on: []}", "champion needs a model: it is the alias of one"),
    ],
)
def test_a_mistake_is_told_with_key_value_and_what_is_allowed(tmp_path, text, message):
    (tmp_path / "mlflow.yaml").write_text(text + "\n")
    with pytest.raises(UserError) as error:
        load_settings(tmp_path)
    assert message in str(error.value)
    assert str(error.value).count("mlflow.yaml") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs: [evaluate]", "runs: no stage upstream is called evaluate"),
        ("runs: [fit, evaluate]", "runs: no stage upstream is called evaluate"),
        ("images: {frames: out/frames}", "out/frames is not a file of a stage upstream"),
        ("{runs: [fit], data: [b.csv]}", "b.csv is not a file of a stage upstream of a"),
        ("model: {loader: serve, file: w.txt}", "w.txt is not a file of a stage upstream"),
        ("names: {fit.rate: x, fit.depth: x}", "fit.depth of params.yaml and fit.rate of params"),
        ("curves: {other.csv: [loss]}", "curves: dvc.yaml has no plot of other.csv with an x"),
        ("curves: {history.csv: [gain]}", "curves: history.csv has no numbers gain by growing"),
        ("images: {all: table}", "images: rows.csv in table is not named after its step"),
    ],
)
def test_what_is_not_in_the_pipeline_is_told_by_name(project, tmp_path, text, message):
    with pytest.raises(UserError) as error:
        check(project, tmp_path, text)
    assert message in str(error.value)
    assert str(error.value).count("mlflow.yaml") == 1


MODEL = "loader: serving.model, file: weights.txt"
ARRAYS = "inputs: [float64, [-1, 2]], outputs: [int64, [-1]]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params: {'a#b': 1}", "params: MLflow does not accept the name 'a#b'"),
        ("params: {'../a': 1}", "params: MLflow does not accept the name '../a'"),
        ("images: {'a#b': last.png}", "images: MLflow takes no image 'a#b'"),
        ("images: {a: metrics.json}", "images: metrics.json is no picture that Pillow can read"),
        (f"model: {{{MODEL}, code: [src]}}", "model.code: src is not a folder"),
        (f"model: {{{MODEL}, code: [serving, other/serving]}}", "have the same name"),
        ("model: {loader: serving.x, file: weights.txt, code: [serving]}", "serving.x is no mod"),
        (
            f"model: {{{MODEL}, inputs: [float65, [-1]], outputs: [int8, [-1]]}}",
            "no type 'float65'",
        ),
        (f"model: {{{MODEL}, inputs: [int8, [-2]], outputs: [int8, [1]]}}", "sizes above 0, or -1"),
        (f"model: {{{MODEL}, inputs: [int8, [1]]}}", "model.inputs and model.outputs need one"),
        (f"model: {{{MODEL}, {ARRAYS}, example: [[1, 2, 3]]}}", "has the shape [1, 3], but inputs"),
        (f"model: {{{MODEL}, {ARRAYS}, example: [[1], [2, 3]]}}", "example is no array of numbers"),
        (
            f"{{model: {{{MODEL}}}, champion: {{metric: scores, on: [weights.txt]}}}}",
            "champion.metric is scores, but the metrics are a/score",
        ),
    ],
)
def test_what_mlflow_would_refuse_is_told_before_there_is_a_run(project, tmp_path, text, message):
    with pytest.raises(UserError) as error:
        check(project, tmp_path, text)
    assert message in str(error.value)
    assert str(error.value).count("mlflow.yaml") == 1


def test_a_metric_whose_name_is_too_long_for_mlflow_is_refused(project, tmp_path):
    name = "x" * 251
    with pytest.raises(UserError, match="has 251 characters, and MLflow takes 250"):
        check(project, tmp_path, f"names: {{a/score: {name}}}")


@pytest.mark.parametrize("content", [b"no picture", b"\x89PNG\r\n\x1a\n", None])
def test_a_picture_that_cannot_be_read_is_named(project, tmp_path, content):
    frame = project.root / "frames/50.png"
    whole = frame.read_bytes()
    frame.write_bytes(whole[:-30] if content is None else content)
    lock = project.locks["fit@a"].outs
    before = lock["frames"]
    lock["frames"] = md5(project.root / "frames")  # a stage wrote it so
    try:
        with pytest.raises(UserError, match=r"images: frames/50\.png is no picture that Pillow"):
            check(project, tmp_path, "images: {training: frames}")
    finally:
        frame.write_bytes(whole)
        lock["frames"] = before


def test_what_is_right_is_taken(project, tmp_path):
    model = f"{{{MODEL}, code: [serving], {ARRAYS}, example: [[1, 2], [3, 4]]}}"
    images = "{training: frames, last/one: last.png}"
    champion = "{metric: score, on: [weights.txt]}"
    text = f"runs: [fit]\nimages: {images}\nmodel: {model}\nchampion: {champion}"
    check(project, tmp_path, f"{text}\ncurves: {{history.csv: [loss]}}\nparams: {{a b/c: 1}}")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"cpu (architecture)": "x"}, r"a run cannot have the tag 'cpu \(architecture\)'"),
        ({"": "x"}, "a run cannot have the tag ''"),
        ({"cpu": None}, "the tag cpu of a run is None, but must be a text"),
    ],
)
def test_a_tag_that_mlflow_cannot_change_later_is_refused(tags, message):
    with pytest.raises(UserError, match=f"^{message}"):
        check_tags(tags)
