"""The commands of the bridge: what they write, and what they say, in a project of one stage."""

import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from bridge import dvc_index, versions
from bridge.check import print_overview
from bridge.dvc_index import Index, StageDeclaration
from bridge.errors import UserError
from bridge.files import md5, project_root
from bridge.init import changes, missing_rules, stage_text, write_changes
from bridge.settings import Settings
from bridge.stages import Pipeline
from bridge.store import configured_store
from bridge.tracking import ui_command

FIT = StageDeclaration(
    lock="dvc.lock",
    name="fit",
    wdir=".",
    deps=[],
    outs=["metrics.json", "big.bin"],
    params=["params.yaml"],
    after=[],
)
STAGES = """\
# what we do
stages:
    fit:   # the model
        cmd: python fit.py
        deps: [ fit.py ]
        outs:
        - big.bin

# beside the stages
plots:
- history.csv
"""
ADDED = """\
    track:
      cmd: dvc-mlflow
      deps:
        - metrics.json
        - big.bin
        - params.yaml
      outs:
        - mlflow-bridge/receipt.json: {cache: false}
"""


def pipeline_of(root, **stages):
    index = Index(watched=[], stages=stages or {"fit": FIT}, metrics=["metrics.json"], curves=[])
    return Pipeline(root, index)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a Git repository, and one stage that has run."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    (root / "dvc.yaml").write_text(STAGES)
    (root / "metrics.json").write_text(json.dumps({"loss": 0.5}))
    (root / "params.yaml").write_text("rate: 1\n")
    (root / "big.bin").write_bytes(bytes(3000))
    outs = [{"path": path, "md5": md5(root / path)} for path in FIT.outs]
    lock = {"stages": {"fit": {"params": {"params.yaml": {"rate": 1}}, "outs": outs}}}
    (root / "dvc.lock").write_text(json.dumps(lock))
    monkeypatch.chdir(root)
    return root


def written(root, **options):
    """Write what init writes, and return dvc.yaml and .gitignore."""
    write_changes(changes(pipeline_of(root), force=False, **options), is_agreed=True)
    texts = []
    for name in ("dvc.yaml", ".gitignore"):
        with (root / name).open(newline="") as file:
            texts.append(file.read())
    return texts


def test_init_adds_the_stage_below_the_others_and_keeps_every_other_byte(project):
    text, _ = written(project)
    place = STAGES.index("\n# beside the stages")
    assert text == STAGES[:place] + ADDED + STAGES[place:]


def test_init_destroys_no_line_that_has_no_end(project):
    (project / ".gitignore").write_text("/data")
    (project / "dvc.yaml").write_text("stages:\n  fit:\n    cmd: python fit.py")
    text, ignored = written(project)
    assert ignored.splitlines()[:2] == ["/data", "/mlflow.db*"]
    assert text.startswith("stages:\n  fit:\n    cmd: python fit.py\n  track:\n    cmd:")


def test_init_keeps_the_line_ends_of_windows(project):
    (project / "dvc.yaml").write_bytes(STAGES.replace("\n", "\r\n").encode())
    (project / ".gitignore").write_bytes(b"/data\r\n")
    for text in written(project):
        assert text.count("\n") == text.count("\r\n") > 3


def test_init_a_second_time_changes_nothing(project):
    written(project)
    assert changes(pipeline_of(project), force=False) == []


def test_init_leaves_a_stage_that_was_changed_by_hand(project):
    text, _ = written(project)
    (project / "dvc.yaml").write_text(text.replace("        - big.bin\n", ""))
    assert changes(pipeline_of(project), force=False) == []


def test_init_force_writes_the_stage_again_and_nothing_else(project):
    text, _ = written(project)
    (project / "dvc.yaml").write_text(text.replace("        - big.bin\n        - p", "        - p"))
    write_changes(changes(pipeline_of(project), force=True), is_agreed=True)
    assert (project / "dvc.yaml").read_text() == text


def test_init_finds_the_stage_of_an_earlier_version_and_force_keeps_its_receipt(project):
    text, _ = written(project)
    old = "mlruns/receipt.json"
    (project / "dvc.yaml").write_text(text.replace("mlflow-bridge/receipt.json", old))
    assert changes(pipeline_of(project), force=False) == []
    ours = StageDeclaration("dvc.lock", "track", ".", FIT.outs, [old], [], ["fit"])
    assert pipeline_of(project, fit=FIT, track=ours).receipt == old


@pytest.mark.parametrize(
    "text",
    [
        "stages: {fit: {cmd: python fit.py}}\n",
        "stages:\n  fit:\n    cmd: |\n      python fit.py\n      # the end\n",
    ],
)
def test_init_shows_the_stage_where_it_cannot_add_it(text, project):
    (project / "dvc.yaml").write_text(text)
    with pytest.raises(UserError, match=r"cannot add a stage to dvc.yaml(.|\n)*  track:\n"):
        changes(pipeline_of(project), force=False)
    assert (project / "dvc.yaml").read_text() == text
    assert not (project / ".gitignore").exists()


def test_init_makes_a_pipeline_file_where_all_stages_are_in_folders(project):
    (project / "dvc.yaml").unlink()
    text, _ = written(project)
    assert YAML(typ="safe").load(text)["stages"].keys() == {"track"}


def test_init_takes_another_name_where_a_stage_is_called_track(project):
    (project / "dvc.yaml").write_text(STAGES.replace("    fit: ", "    track: "))
    text, _ = written(project)
    assert YAML(typ="safe").load(text)["stages"].keys() == {"track", "publish-to-mlflow"}


def test_init_without_a_stage_says_so(project):
    with pytest.raises(UserError, match="there is no stage to publish"):
        changes(Pipeline(project, Index([], {}, [], [])), force=False)


def test_init_refuses_a_pipeline_that_writes_nothing(project):
    pipeline = pipeline_of(project, fit=replace(FIT, outs=[]))
    with pytest.raises(UserError, match="no result to publish: no stage in"):
        changes(pipeline, force=False)


def test_a_stage_that_writes_nothing_is_part_of_no_result(project):
    """Else there is one more result as soon as our own stage is there, which cannot come after."""
    pipeline = pipeline_of(project, fit=FIT, look=replace(FIT, name="look", outs=[]))
    assert pipeline.upstream == ["fit"]


def test_init_writes_nothing_where_nobody_can_be_asked(project, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(UserError, match="say init --yes"):
        write_changes(changes(pipeline_of(project), force=False), is_agreed=False)
    assert (project / "dvc.yaml").read_text() == STAGES
    assert "+    track:" in capsys.readouterr().out


def test_a_rule_that_git_has_otherwise_is_not_added(project):
    (project / ".gitignore").write_text("*.db\n.mlflow.*\nmlflow-*\n")
    assert missing_rules(project) == []


def test_the_stage_that_is_printed_is_the_one_that_init_adds(project):
    assert stage_text(pipeline_of(project), indent=4) + "\n" == ADDED


def test_the_stage_names_a_file_of_parameters_once_and_as_the_first_stage_does(project):
    first = replace(FIT, params=["a.yaml"], templates={"a.yaml": "${name}.yaml"})
    text = stage_text(pipeline_of(project, fit=first, more=replace(FIT, params=["a.yaml"])))
    assert text.count(".yaml") == text.count("- ${name}.yaml") == 1


def test_an_answer_of_dvc_that_an_older_bridge_has_kept_is_not_used(project, monkeypatch):
    answers = [Index([], {}, [name], []) for name in ("first", "second")]
    monkeypatch.setattr(dvc_index, "ask_dvc", lambda root: answers.pop(0))
    for metrics in (["first"], ["first"]):
        assert dvc_index.load_index(project).metrics == metrics
    monkeypatch.setattr(dvc_index, "ANSWER_FORMAT", 0)
    assert dvc_index.load_index(project).metrics == ["second"]


def check(root, capsys, settings=None):
    settings = settings or Settings()
    is_good = print_overview(pipeline_of(root), settings, configured_store(root, "project"))
    return is_good, capsys.readouterr().out


def test_check_says_what_would_be_published(project, capsys):
    written(project)
    is_good, said = check(project, capsys)
    assert is_good, said
    assert "project: not published yet" in said
    assert "params      1: rate=1" in said
    assert "metrics     1: loss" in said
    assert "files       2: metrics.json, big.bin" in said


def test_check_says_what_is_left_out_and_why(project, capsys):
    written(project)
    _, said = check(project, capsys, Settings(max_bytes=1000))
    assert "left out    big.bin: it has 0.0 MB, and max_bytes is 0.001 MB" in said


def test_check_says_that_a_parameter_was_changed_and_not_run(project, capsys):
    written(project)
    (project / "params.yaml").write_text("rate: 2\n")
    is_good, said = check(project, capsys)
    assert not is_good
    assert "PROBLEM     params.yaml: rate is 2, but the results were made with 1" in said


def test_check_says_that_git_tracks_the_store(project, capsys):
    written(project)
    (project / "mlflow.db").touch()
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "add", "--force", "mlflow.db"], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "a"], check=True)
    is_good, said = check(project, capsys)
    assert not is_good
    assert "PROBLEM     Git tracks mlflow.db: git rm -r --cached mlflow.db" in said


@pytest.mark.parametrize(
    ("package", "version", "message"),
    [
        ("mlflow", "2.22.2", r"mlflow 2\.22\.2 is installed, but the bridge needs mlflow>=3\.1,<4"),
        ("dvc", "3.49.0", r"dvc 3\.49\.0 is installed, but the bridge needs dvc>=3\.50,<4"),
        ("dvc", None, "dvc is not installed; the bridge needs dvc"),
    ],
)
def test_a_version_that_is_not_supported_is_refused(package, version, message, monkeypatch):
    installed = {"dvc": "3.67.1", "mlflow": "3.1.0", package: version}
    monkeypatch.setattr(versions, "installed_version", installed.get)
    with pytest.raises(UserError, match=message):
        versions.check_versions()


def test_a_version_that_is_supported_is_not_refused(monkeypatch):
    installed = {"dvc": "3.50.0", "mlflow": "3.10.0rc1"}
    monkeypatch.setattr(versions, "installed_version", installed.get)
    versions.check_versions()


@pytest.mark.parametrize(("version", "path"), [("2.0.44", "a%20b.db"), ("2.1.1", "a b.db")])
def test_an_address_is_decoded_as_sqlalchemy_does(version, path, tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "installed_version", {"sqlalchemy": version}.get)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a%20b.db")
    assert configured_store(tmp_path, "a").file == tmp_path / path


def test_the_printed_command_opens_the_store_from_where_one_is(tmp_path, monkeypatch):
    store = configured_store(tmp_path, "a")
    assert ui_command(store) == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    assert ui_command(store) == "mlflow ui --backend-store-uri sqlite:///mlflow.db"


def test_the_printed_command_has_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:s3cret@db.example/runs")
    command = ui_command(configured_store(tmp_path, "a"))
    assert command == 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'


def test_the_project_is_the_nearest_one_that_the_current_folder_is_in(tmp_path, monkeypatch):
    for folder in (".dvc", "inner/.dvc", "inner/below", "beside"):
        (tmp_path / folder).mkdir(parents=True)
    for folder, root in (("inner/below", "inner"), ("beside", "."), (".", ".")):
        monkeypatch.chdir(tmp_path / folder)
        assert project_root() == tmp_path / root


@pytest.mark.slow
def test_every_command_says_what_it_does():
    for command in ([], ["init"], ["check"], ["publish"]):
        done = subprocess.run(
            [sys.executable, ROOT / "src/bridge", *command, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(f"usage: {' '.join(['python bridge', *command])} [-h]")
        assert len(done.stdout.splitlines()) > 5


def test_the_versions_in_the_code_are_those_of_the_package():
    text = (ROOT / "src/bridge/pyproject.toml").read_text()
    changelog = (ROOT / "src/bridge/CHANGELOG.md").read_text()
    assert f"\n## [{versions.bridge_version()}] - " in changelog
    for package, (oldest, end) in versions.SUPPORTED.items():
        first, last = (".".join(map(str, numbers)) for numbers in (oldest, end))
        assert f'"{package}>={first},<{last}"' in text


def test_the_package_needs_what_the_bridge_imports():
    text = (ROOT / "src/bridge/pyproject.toml").read_text()
    imported = set()
    for file in (ROOT / "src/bridge").glob("*.py"):
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(), re.MULTILINE))
    others = imported - set(sys.stdlib_module_names) - {"bridge"}
    packages = {"PIL": "pillow", "ruamel": "ruamel.yaml"}
    indirect = {"sqlalchemy"}  # MLflow's own
    for name in others - indirect:
        assert re.search(rf'^  "{packages.get(name, name)}[>"]', text, re.MULTILINE), name


@pytest.mark.slow
def test_a_file_store_that_is_there_stays_as_it_is(tmp_path):
    """MLflow takes every folder in mlruns for an experiment."""
    store = tmp_path / "mlruns"
    (store / "0").mkdir(parents=True)
    (store / "0/meta.yaml").write_text("experiment_id: '0'\n")
    before = sorted(store.rglob("*"))
    assert configured_store(tmp_path, "a").folder == tmp_path / "mlflow-bridge"
    assert sorted(store.rglob("*")) == before


def test_a_package_that_is_missing_is_named(tmp_path):
    shutil.copytree(ROOT / "src/bridge", tmp_path / "bridge")
    command = [sys.executable, "-I", "-S", tmp_path / "bridge", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"error: the bridge needs \w+: pip install dvc mlflow.*\n", done.stderr)
    assert Path(tmp_path / "bridge").exists()
