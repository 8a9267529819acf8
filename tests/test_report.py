"""The report says what the files say, with the published numbers only where they belong."""

import csv
import json
import re
import shutil
from hashlib import md5

import pytest
from conftest import ROOT, Checkout, set_params
from PIL import Image
from ruamel.yaml import YAML
from sources import stages

from generate import generate
from pictures.figures import REPORT_FIGURES
from pipeline import paths
from pipeline.declared import check_models
from pipeline.errors import UserError
from pipeline.files import model_content, write_csv, write_json
from pipeline.params import load_params, used_params
from report import PACKAGES, read_published, read_versions, report
from spirals.models import MODELS

PUBLISHED = list(csv.DictReader((ROOT / "reference/published.csv").read_text().splitlines()))
OF_LINEAR = {"train_accuracy": 0.4933, "train_loss": 0.7863, "test_accuracy": 0.5287}
OF_MLP = {"train_accuracy": 0.98, "train_loss": 0.2452584, "test_accuracy": 0.9873}
METRICS = {name: {"linear": OF_LINEAR}.get(name, OF_MLP) for name in MODELS}


def row(label, linear, mlp, other=None):
    """A row of the table of all models; `other` is said of models that the case study has not."""
    cells = {"linear": linear, "mlp": mlp}
    return [label, *(cells.get(name, mlp if other is None else other) for name in MODELS)]


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The data of params.yaml: what the stage generate writes."""
    folder = tmp_path_factory.mktemp("generated")
    generate(load_params(ROOT), folder)
    return folder


@pytest.fixture
def root(generated, tmp_path, monkeypatch):
    """Return what the report reads: the published losses, and figures of a few pixels."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    shutil.copytree(generated, tmp_path, dirs_exist_ok=True)
    for name, model in MODELS.items():
        write_json(tmp_path / paths.metrics(name), {name: METRICS[name]})
        weights = model_content(model.initialize(2, 3, load_params(ROOT).train(name)))
        moments = [
            {"permille": at, "iteration": at, "accuracy": 0.5, "weights": weights}
            for at in (0, 1000)
        ]
        write_json(tmp_path / paths.weights(name), weights)
        write_json(tmp_path / paths.snapshots(name), moments)
        rows = [
            (int(r["iteration"]), float(r["loss"]), 0.5) for r in PUBLISHED if r["model"] == name
        ]
        write_csv(
            tmp_path / paths.curve(name),
            paths.CURVE_HEADER,
            rows or [(0, 1.1, 0.3), (1000, 0.5, 0.9)],
        )
        Image.new("RGB", (9, 1)).save(tmp_path / paths.learning(name))
    (tmp_path / paths.FIGURES).mkdir()
    for position, name in enumerate(sorted(REPORT_FIGURES)):
        Image.new("RGB", (position + 1, 1)).save(tmp_path / paths.FIGURES / f"{name}.png")
    monkeypatch.setattr("report.draw_figures", lambda *_: None)  # for this see test_figures.py
    return tmp_path


def reported(root):
    """The Markdown of the report."""
    report(load_params(root), root)
    return (root / paths.REPORT).read_text()


def tables(text):
    """Rows of all the tables of a Markdown text, as lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_results_are_one_table(root):
    """A blank line would end it."""
    _, _, results = reported(root).partition("## Results of the pipeline\n\n")
    table, _, _ = results.partition("\n\n")
    labels = [row[0] for row in tables(table)]
    assert labels[2] == "Loss after training"
    assert labels[-1].startswith("Test accuracy (")


@pytest.mark.case_study
def test_published_parameters_have_the_published_numbers_beside_them(root):
    text = reported(root)
    rows = tables(text)
    assert row("Training accuracy", "49.3%", "98.0%") in rows
    assert row("Training accuracy as published", "49%", "98%", other="") in rows
    assert row("Loss after training", "0.786300", "0.245258") in rows
    assert row("Test accuracy (3,000 points)", "52.9%", "98.7%") in rows
    assert "All 30 losses" in text
    titles = {"linear": "Linear softmax classifier", "mlp": "Two-layer network"}
    for said in PUBLISHED:
        assert [
            titles[said["model"]],
            f"{int(said['iteration']):,}",
            said["loss"],
            said["loss"],
        ] in rows
    assert ["", "iteration", "here", "published"] in rows
    assert "the case study's own parameters" in text
    assert json.loads((root / paths.METRICS).read_text()) == METRICS


@pytest.mark.case_study
def test_a_loss_that_differs_is_said(root):
    path = root / paths.curve("mlp")
    path.write_text(path.read_text().replace("0.294946", "0.294947"))
    text = reported(root)
    assert "29 of the 30 losses" in text
    assert ["Two-layer network", "1,000", "0.294947", "0.294946", "differs"] in tables(text)
    assert ["", "iteration", "here", "published", ""] in tables(text)


@pytest.mark.case_study
def test_other_parameters_have_no_published_numbers(root):
    set_params(root, {"train_mlp.hidden_units": 20})
    text = reported(root)
    assert row("Training accuracy as published", "49%", "") in tables(text)
    assert "All 20 losses" in text and "0.294946" not in text
    assert ["train_mlp.hidden_units", "20", "100"] in tables(text)

    set_params(root, {"generate.noise": 0.3})
    generate(load_params(root), root)
    text = reported(root)
    assert "published" not in text and "losses printed" not in text
    assert ["generate.noise", "0.3", "0.2"] in tables(text)


def test_other_data_have_no_published_numbers_and_are_counted(root, monkeypatch):
    """Of another function, or another class: no key of params.yaml says it."""
    rows = [(0.1 * k, 0.2, k % 3) for k in range(1501)]
    write_csv(root / paths.DATA, paths.DATA_HEADER, rows)
    write_csv(root / paths.TEST, paths.DATA_HEADER, rows)
    text = reported(root)
    assert "published" not in text and "losses printed" not in text and "own parameters" not in text
    assert row("Test accuracy (1,501 points)", "52.9%", "98.7%") in tables(text)
    published = read_published(ROOT)
    (_, *found) = next(cells for cells in tables(text) if cells[0] == f"md5.{paths.DATA}")
    assert found == [
        md5((root / paths.DATA).read_bytes()).hexdigest(),
        published.md5[str(paths.DATA)],
    ]
    published.sections["generate"]["gone"] = 3
    monkeypatch.setattr("report.read_published", lambda _: published)
    assert ["generate.gone", "\u2013", "3"] in tables(reported(root))


@pytest.mark.case_study
def test_what_does_not_change_the_result_is_no_difference(root):
    set_params(root, {"train_mlp.record_every": 1000, "plot.dpi": 60, "evaluate.seed": 5})
    assert "the case study's own parameters" in reported(root)


@pytest.mark.case_study
def test_the_published_parameters_are_the_committed_ones(params):
    """Otherwise the default run would not be compared with anything."""
    published = YAML(typ="safe").load((ROOT / "reference/published.yaml").read_text())
    for section in ("generate", "train_linear", "train_mlp"):
        ours = getattr(params, section)
        assert {key: getattr(ours, key) for key in published[section]} == published[section]


def read_repository_files(root):
    read_versions(root)
    read_published(root)


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        (paths.REQUIREMENTS, b"", "its structure is not"),
        (paths.REQUIREMENTS, b"\xff", "can't decode"),
        (paths.PUBLISHED_PARAMS, b"", "its structure is not"),
        (paths.PUBLISHED_PARAMS, b"generate: [", "while parsing"),
        (paths.PUBLISHED_PARAMS, b"generate: {}", "its structure is not"),
        (paths.PUBLISHED_PARAMS, b"\xff", "can't decode"),
        (paths.PUBLISHED, b"", "it must have losses of linear and mlp"),
        (paths.PUBLISHED, b"model,iteration,value\nmlp,0,1.1\n", "its structure is not"),
        (paths.PUBLISHED, b"model,iteration,loss\nforest,0,1.1\n", "its structure is not"),
        (paths.PUBLISHED, b"model,iteration,loss\nmlp,0,low\n", "could not convert"),
    ],
)
def test_a_broken_file_of_the_repository_is_named(path, content, reason, tmp_path):
    for name in (paths.REQUIREMENTS, paths.PUBLISHED_PARAMS, paths.PUBLISHED):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    assert {*read_versions(tmp_path)} == {*PACKAGES} and read_published(tmp_path).losses["mlp"][
        0
    ] == "1.098744"
    (tmp_path / path).write_bytes(content)
    with pytest.raises(UserError, match=rf"{path}: .*{reason}.*\. Restore it with git checkout\.$"):
        read_repository_files(tmp_path)


def test_a_training_that_ended_worse_than_it_began_is_said(root):
    assert "worse" not in reported(root)
    write_csv(
        root / paths.curve("mlp"),
        paths.CURVE_HEADER,
        [(0, 1.1, 0.3), (10, 0.5, 0.6), (20, 37.5, 0.3)],
    )
    text = reported(root)
    assert "**Two-layer network: the training ended worse than it began.**" in text
    assert "The loss was 1.1 before it and 37.5 after 20 iterations" in text
    assert "Linear softmax classifier: the training" not in text


def test_the_page_is_named_in_the_markdown_and_not_in_itself(root):
    assert "reports/report.html" in reported(root)
    assert "report.html" not in (root / paths.REPORT_PAGE).read_text()


def test_the_same_page_twice_with_nothing_of_the_moment(root):
    report(load_params(root), root)
    first = (root / paths.REPORT).read_bytes(), (root / paths.REPORT_PAGE).read_bytes()
    report(load_params(root), root)
    assert ((root / paths.REPORT).read_bytes(), (root / paths.REPORT_PAGE).read_bytes()) == first
    assert str(root).encode() not in first[1]


def test_versions_are_those_of_the_lock(root):
    text = reported(root)
    lock = (ROOT / "requirements.lock").read_text()
    for name in ("numpy", "matplotlib", "dvc", "mlflow"):
        version = re.search(rf"{name} ([\d.]+)", text)[1].rstrip(".")
        assert f"\n{name}=={version} " in f"\n{lock}"


def test_the_parameters_are_those_that_a_frozen_stage_was_run_with(params, tmp_path):
    assert used_params(params, tmp_path) == params
    used = (
        "stages: {generate: {params: {params.yaml: {generate: {noise: 0.5}, evaluate: {seed: 7}}}}}"
    )
    (tmp_path / "dvc.lock").write_text(used)
    ours = used_params(params, tmp_path)
    assert (ours.generate.noise, ours.evaluate.seed) == (0.5, 7)
    assert (ours.generate.seed, ours.train_mlp) == (params.generate.seed, params.train_mlp)


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "stages:",
        "stages: [1]",
        "stages: {generate: [1]}",
        "stages: {generate: {params: {params.yaml: {gone: {seed: 1}}}}}",
        "stages: {generate: {params: {params.yaml: {generate: {seed: -1}}}}}",
        "<<<<<<< HEAD",
    ],
)
def test_a_broken_lock_is_told_plainly(text, params, tmp_path):
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(
        UserError, match=r"cannot use .*dvc\.lock: .*\. Delete it and run dvc repro\."
    ):
        used_params(params, tmp_path)


@pytest.fixture
def pipeline(tmp_path):
    """A dvc.yaml to change, as text."""
    path = tmp_path / paths.PIPELINE
    path.write_bytes((ROOT / paths.PIPELINE).read_bytes())
    check_models(tmp_path)
    return path


def change(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_a_model_that_was_taken_out_of_the_pipeline_is_not_reported(pipeline):
    change(pipeline, "&models [linear, mlp", "&models [linear")
    with pytest.raises(UserError, match=r"the model mlp is in MODELS .* does not train it"):
        check_models(pipeline.parent)


def test_a_model_that_is_only_in_the_pipeline_is_refused(pipeline):
    change(pipeline, "&models [linear,", "&models [linear, other,")
    with pytest.raises(UserError, match=r"dvc\.yaml trains the model other, .* not in MODELS"):
        check_models(pipeline.parent)


def test_a_model_whose_files_the_report_does_not_depend_on_is_refused(pipeline):
    change(pipeline, "      - reports/models/mlp/metrics.json\n", "")
    said = r"stage report must have reports/models/mlp/metrics\.json in its deps"
    with pytest.raises(UserError, match=said):
        check_models(pipeline.parent)


@pytest.mark.parametrize("text", ["", "stages: {}", "stages: {train: 1}", "stages: [", "\0"])
def test_a_broken_pipeline_is_said_in_one_sentence(text, tmp_path):
    (tmp_path / paths.PIPELINE).write_text(text)
    with pytest.raises(UserError, match=r"^cannot use .*dvc\.yaml: .*\. Restore it with git"):
        check_models(tmp_path)


def test_every_figure_of_the_report_is_an_output_in_the_pipeline():
    """REPORT_FIGURES says which files the stage writes, and dvc.yaml which ones it declares."""
    outputs = [
        path
        for out in stages()["report"]["outs"]
        for path in ([out] if isinstance(out, str) else out)
    ]
    declared = {path for path in outputs if path.startswith(f"{paths.FIGURES}/")}
    assert declared == {f"{paths.FIGURES}/{name}.png" for name in REPORT_FIGURES}


@pytest.mark.slow
def test_a_fresh_clone_can_be_checked_without_its_data(ran, tmp_path):
    """As a CI run does: nothing has to be there but what Git has."""
    ran.run("git", "clone", "--quiet", ran.root, tmp_path / "clone")
    clone = Checkout(tmp_path / "clone", ran.root.with_name("site"))
    dry = clone.run("dvc", "repro", "--allow-missing", "--dry")
    assert "Running" not in dry.stdout
    clone.run("dvc", "repro", "--allow-missing")
    assert clone.run("git", "status", "--short").stdout == ""


@pytest.mark.slow
def test_taking_a_model_out_of_the_pipeline_runs_the_report_which_refuses(ran):
    change(ran.root / paths.PIPELINE, "&models [linear, mlp]", "&models [linear]")
    done = ran.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "the model mlp is in MODELS" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_file_that_lies_among_the_results_by_chance_changes_nothing(ran):
    for stray in ("data/notes.txt", "data/mlp/notes.txt", "reports/models/old/metrics.json"):
        write_json(ran.root / stray, {})
    assert "up to date" in ran.run("dvc", "status").stdout
