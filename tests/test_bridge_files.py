"""What the bridge reads and writes by itself: tables, pictures, names, and its own folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.errors import UserError
from bridge.files import flatten, is_picture, main_checkout, read, read_table
from bridge.names import display_names, name_parts, valid_name
from bridge.results import load_results, points_of
from bridge.settings import Settings
from bridge.stages import Pipeline, overlapping_paths

BRIDGE = Path(__file__).resolve().parents[1] / "src/bridge"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "x,größe\n1,2\n".encode("latin-1"), "can't decode"),
        ("a.csv", b"x,y\n1," + b"2" * 200_000 + b"\n", "field larger than"),
        ("a.json", b"[" * 100_000, "recursion"),
        ("a.toml", b"x = ", "Invalid value"),
        ("a.yaml", b"x: [", "while parsing"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"^cannot use {name}: .*{reason}"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b"x,y\n1,2\n"),
        ("rows.tsv", b"\xef\xbb\xbfx\ty\r\n1\t2\r\n"),  # as Excel writes it
        ("rows.json", b'{"about": "rows", "rows": [{"x": 1, "y": 2}]}'),
        ("rows.yaml", b"- {x: 1, y: 2}\n"),
    ],
)
def test_a_table_is_read_by_its_suffix(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    (row,) = read_table(tmp_path / name)
    assert {key: float(value) for key, value in row.items()} == {"x": 1, "y": 2}


def test_a_line_break_in_quotes_ends_no_row(tmp_path):
    (tmp_path / "quoted.csv").write_text('x,"y\nz"\n1,2\n')
    assert read_table(tmp_path / "quoted.csv") == [{"x": "1", "y\nz": "2"}]


def test_what_is_no_table_has_no_rows(tmp_path):
    (tmp_path / "number.json").write_text("3")
    assert read_table(tmp_path / "number.json") == []
    assert read_table(tmp_path / "weights.bin") == []


def test_nested_values_have_dotted_names():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "d": [1]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png"], True),
        (["a.PNG", "more/b.jpg"], True),
        (["a.png", "0.txt"], False),
        ([], False),
    ],
)
def test_a_folder_of_pictures_holds_nothing_else(names, expected, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert is_picture(tmp_path) == expected


def test_a_picture_is_known_by_its_suffix(tmp_path):
    assert is_picture(tmp_path / "a.PNG")
    assert not is_picture(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("x", "y", "points"),
    [
        (["0", "10"], ["1.5", "2"], {0: 1.5, 10: 2.0}),
        ([0, 1, 2], [None, "", 3], {2: 3.0}),
        ([0, 1, 0], [1, 2, 3], None),  # of two trainings, or of a confusion matrix
        ([1, 0], [1, 2], None),
        ([0, 0.5, 1], [0, 0.7, 1], None),  # a ROC curve
        (["rain", "sun"], [1, 2], None),
        ([0, 1], ["rain", "sun"], None),
        ([0, 1], [1, 10**400], None),
        (["nan", "inf"], [1, 2], None),
    ],
)
def test_a_curve_has_whole_steps_that_grow(x, y, points):
    rows = [{"x": step, "y": value} for step, value in zip(x, y, strict=True)]
    assert points_of(rows, "x", "y") == points


def test_a_column_that_is_not_there_is_no_curve():
    assert points_of([{"x": 1, "y": 2}], "x", "z") is None


@pytest.mark.parametrize(
    ("file", "key", "name"),
    [
        ("metrics.json", "loss", "loss"),
        ("out/metrics.json", "train/loss", "train/loss"),
        ("params.yaml", "fit.rate", "fit.rate"),
        ("conf/model.toml", "fit.rate", "model/fit.rate"),
        ("scores/en.json", "loss", "en/loss"),
        ("best.json", "best", "best"),
        ("best.json", "", "best"),
        ("history.csv", "loss", "loss"),
        ("dvclive/plots/metrics/train/loss.tsv", "loss", "train/loss"),
        ("dvclive/plots/metrics/train/loss.tsv", "train/loss", "train/loss"),
    ],
)
def test_a_name_depends_on_its_file_alone(file, key, name):
    assert display_names([(file, key)], {}) == {(file, key): name}
    others = [("other.json", "loss"), ("more/other.yaml", "fit.rate")]
    assert display_names([(file, key), *others], {})[file, key] == name


def test_of_two_files_with_the_same_names_the_second_has_its_folder_in_front():
    keys = [("a/metrics.json", "loss"), ("b/metrics.json", "loss"), ("b/metrics.yaml", "loss")]
    names = ["loss", "b/loss", "b/metrics.yaml/loss"]
    assert list(display_names(keys, {}).values()) == names


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("logs/train/loss.tsv", "logs"), ["train", "loss"]),
        (("out/en/metrics.json", "", "en"), ["en"]),
        (("out/en.json", "", "en"), ["en"]),
        (("out/scores.json", "", "en"), ["en", "scores"]),
        (("out/scores.json", "", "en", "en"), ["scores"]),
    ],
)
def test_the_item_of_a_list_is_part_of_a_name_unless_the_run_is_about_it(arguments, parts):
    assert name_parts(*arguments) == parts


def test_beginnings_of_names_are_replaced():
    keys = [("params.yaml", "x.y"), ("params.yaml", "z"), ("a.json", "x")]
    names = display_names(keys, {"x.": "", "z": "w", "a/": "b/"})
    assert list(names.values()) == ["y", "w", "b/x"]


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("train/loss.max", "train/loss.max"),
        ("size (mm)", "size _mm_"),
        ("/srv/data//loss", "srv/data/loss"),
        ("../loss/./last/", "loss/last"),
        ("..", "_"),
    ],
)
def test_a_name_becomes_one_that_mlflow_takes(name, valid):
    assert valid_name(name) == valid


def test_paths_overlap_where_one_is_the_other_or_lies_in_it():
    paths = ["a", "a/b", "ab", "c/d", "e"]
    assert overlapping_paths(paths, ["a/b/x", "c"]) == ["a", "a/b", "c/d"]


def test_no_stages_no_result(tmp_path):
    from bridge.dvc_index import Index

    empty = Index(watched=[], stages={}, metrics=[], curves=[])
    with pytest.raises(UserError, match="there are no stages"):
        load_results(Pipeline(tmp_path, empty), Settings())


def test_an_experiment_in_another_folder_belongs_to_the_main_checkout():
    folder = Path("/home/me/project/.dvc/tmp/exps/standalone/tmpabc")
    assert main_checkout(folder) == Path("/home/me/project")
    assert main_checkout(Path("/home/me/project")) == Path("/home/me/project")


# Modules of the standard library and of packages that the bridge needs, as a user may call a file.
USERS_MODULES = ("logging", "secrets", "json", "msgspec", "pathspec", "bridge")


@pytest.mark.parametrize("folder", ["bridge", "to mlflow"])
def test_a_copy_of_the_folder_runs_beside_files_named_as_pythons_own(tmp_path, folder):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(BRIDGE, tmp_path / folder, ignore=ignored)
    for name in USERS_MODULES:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the user')\n")
    done = subprocess.run(
        [sys.executable, "-E", tmp_path / folder], capture_output=True, text=True, cwd=tmp_path
    )
    message = f"error: {tmp_path} is in no DVC project: go to one, or run dvc init\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_the_folder_that_is_run_hides_no_package_with_a_file_of_the_same_name(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(BRIDGE, tmp_path / "bridge", ignore=ignored)
    main = tmp_path / "bridge/__main__.py"
    main.write_text(main.read_text().replace('if __name__ == "__main__":', "import git\nif False:"))
    command = [sys.executable, "-X", "importtime", "-E", tmp_path / "bridge"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "git.repo" in done.stderr  # GitPython, which MLflow asks
