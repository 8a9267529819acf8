"""Where a result comes from: what Git is asked, and what a run's description says of it."""

import os
import re
import shlex
import shutil
import subprocess

import pytest

from bridge.description import describe, run_name
from bridge.dvc_index import Index, StageDeclaration
from bridge.lineage import Lineage, load_lineage
from bridge.results import load_results
from bridge.settings import Settings
from bridge.stages import Pipeline

LOCK = """\
schema: '2.0'
stages:
  fit:
    cmd: python fit.py
    deps:
    - {{path: code, md5: 00000000000000000000000000000000.dir}}
    params: {{params.yaml: {{fit.rate: {rate}}}}}
    outs:
    - {{path: weights.txt, md5: 11111111111111111111111111111111}}
"""
FIT = StageDeclaration(
    lock="dvc.lock",
    name="fit",
    wdir=".",
    deps=["code"],
    outs=["weights.txt"],
    params=["params.yaml"],
    after=[],
)
IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgSign=no")


FILES = {
    ".dvc/config": "",
    ".dvcignore": "*.swp\n",
    ".gitignore": "/weights.txt\n",
    "code/fit.py": "1\n",
    "dvc.lock": LOCK.format(rate=1),
    "dvc.yaml": "1\n",
    "params.yaml": "fit:\n  rate: 1\n",
}


class Project:
    """A checkout with one stage that has run."""

    def __init__(self, root):
        self.root = root

    def git(self, *arguments):
        done = subprocess.run(
            ["git", *IDENTITY, *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")

    def pipeline(self):
        index = Index(watched=["dvc.yaml"], stages={"fit": FIT}, metrics=[], curves=[])
        return Pipeline(self.root, index)

    def lineage(self):
        return load_lineage(self.pipeline())

    def result(self):
        (result,) = load_results(self.pipeline(), Settings())
        return result

    def description(self):
        return describe(self.result(), self.lineage(), {}, [])


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A project that is committed, to be copied."""
    project = Project(tmp_path_factory.mktemp("committed"))
    for name, text in FILES.items():
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(text)
    project.git("init", "--quiet", "--initial-branch=main", "--template=")
    project.commit()
    return project.root


@pytest.fixture
def users_config(tmp_path, monkeypatch):
    """The file with the settings of Git's user, and none of the machine's."""
    config = tmp_path / "gitconfig"
    config.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return config


@pytest.fixture
def project(committed, users_config, tmp_path):
    return Project(shutil.copytree(committed, tmp_path / "project"))


@pytest.fixture
def set_up_git(project, users_config, tmp_path):
    """A function that gives the user's Git settings; {folder} is that of the files beside."""
    monitor = tmp_path / "nothing-changed"
    monitor.write_text("#!/bin/sh\nprintf 'token\\0'\n")
    monitor.chmod(0o755)
    (tmp_path / "ignored").write_text("*.py\n")

    def set_up(settings):
        for key, value in settings.items():
            value = value.format(folder=tmp_path)
            project.git("config", "--file", str(users_config), key, value)
        project.git("update-index", "--really-refresh")
        project.git("status")  # so that a monitor has been asked

    return set_up


def test_a_checkout_that_is_as_committed_is_not_dirty(project):
    lineage = project.lineage()
    assert (lineage.dirty, lineage.git_refusal) == ("false", "")
    assert lineage.commit == project.git("rev-parse", "HEAD")


def test_dvcignore_hides_nothing_outside_of_the_project(users_config, tmp_path):
    project = Project(tmp_path / "repository/project")
    for name, text in {**FILES, "../shared/points.swp": "1\n"}.items():
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_text(text)
    lock = (project.root / "dvc.lock").read_text()
    (project.root / "dvc.lock").write_text(lock.replace("path: code,", "path: ../shared,"))
    project.git("init", "--quiet", "--template=", "..")
    project.git("-C", "..", "add", "--all")
    project.git("commit", "--quiet", "--message", "all")
    assert project.lineage().dirty == "false"
    (project.root / "../shared/points.swp").write_text("2\n")
    assert project.lineage().dirty == "true"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"status.showUntrackedFiles": "no"},
        {"status.relativePaths": "false", "color.ui": "always", "core.quotePath": "true"},
        {"core.fsmonitor": "{folder}/nothing-changed"},
        {"core.excludesFile": "{folder}/ignored", "core.untrackedCache": "true"},
        {"status.short": "true", "status.branch": "true", "status.showStash": "true"},
    ],
)
def test_an_untracked_input_is_dirty_whatever_git_is_set_to(project, set_up_git, settings):
    set_up_git(settings)
    (project.root / "code/größe.py").write_text("2\n")
    assert project.lineage().dirty == "true"


@pytest.mark.parametrize(
    "settings",
    [
        {"core.fsmonitor": "{folder}/nothing-changed"},
        {"core.ignoreStat": "true"},
        {"diff.ignoreSubmodules": "all", "diff.external": "/bin/true", "diff.noprefix": "true"},
    ],
)
def test_a_changed_input_is_dirty_whatever_git_is_set_to(project, set_up_git, settings):
    set_up_git(settings)
    (project.root / "code/fit.py").write_text("2\n")
    assert project.lineage().dirty == "true"


def test_a_script_that_was_made_executable_is_dirty_with_and_without_file_modes(project):
    (project.root / "code/fit.py").chmod(0o755)
    assert project.lineage().dirty == "true"
    project.git("config", "core.fileMode", "false")
    assert project.lineage().dirty == "true"


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_to_overlook_is_dirty_once_it_is_changed(project, flag):
    project.git("update-index", flag, "params.yaml")
    assert project.lineage().dirty == "false"
    (project.root / "params.yaml").write_text("fit:\n  rate: 2\n")
    assert project.lineage().dirty == "true"


def test_a_changed_submodule_is_dirty_although_it_is_set_to_be_ignored(project, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    git = ("git", *IDENTITY, "-C", str(other))
    subprocess.run([*git, "init", "--quiet", "--template="], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "start"], check=True)
    allow = ("-c", "protocol.file.allow=always")
    project.git(*allow, "submodule", "--quiet", "add", str(other), "code/other")
    project.commit()
    project.git("config", "submodule.code/other.ignore", "all")
    (project.root / "code/other/new.py").write_text("2\n")
    assert project.lineage().dirty == "true"


def test_a_file_that_dvc_does_not_count_makes_nothing_dirty(project):
    (project.root / "code/.fit.py.swp").write_text("2\n")
    assert project.lineage().dirty == "false"


def test_names_are_no_patterns_for_git(project):
    (project.root / "code/[a].py").write_text("2\n")
    project.commit()
    assert project.lineage().dirty == "false"


def test_inputs_outside_of_the_repository_do_not_keep_git_from_answering(project):
    lock = (project.root / "dvc.lock").read_text()
    outside = "    - {path: /srv/data.csv, md5: 2}\n    - {path: ../data.csv, md5: 3}\n"
    (project.root / "dvc.lock").write_text(lock.replace("    params:", outside + "    params:"))
    project.commit()
    assert project.lineage().dirty == "false"


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_TRACE"])
def test_variables_of_a_hook_do_not_reach_git(project, monkeypatch, name):
    monkeypatch.setenv(name, "1" if name == "GIT_TRACE" else "/nowhere")
    assert (project.lineage().dirty, project.lineage().git_refusal) == ("false", "")


def test_no_repository_is_not_a_refusal_in_any_language(project, tmp_path, monkeypatch):
    script = tmp_path / "bin/git"  # complains as Git does where its translations are installed
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\n[ $LC_ALL = C ] && echo 'fatal: not a git repository' >&2\n"
        "[ $LC_ALL = C ] || echo 'Schwerwiegend: Kein Git-Repository' >&2\nexit 128\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("PATH", str(script.parent))
    lineage = project.lineage()
    assert (lineage.commit, lineage.dirty, lineage.git_refusal) == (None, "unknown", "")


def test_what_git_refuses_is_told_and_nothing_is_said_to_be_clean(project, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setattr("bridge.git.KEPT_VARIABLES", ("GIT_",))
    lineage = project.lineage()
    assert (lineage.commit, lineage.dirty) == (None, "unknown")
    assert "dubious ownership" in lineage.git_refusal


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://user:s3cret@host/team/project.git", "https://host/team/project.git"),
        ("user:s3cret@host:team/project.git", "host:team/project.git"),
        ("git@host:team/project.git", "git@host:team/project.git"),
        ("/srv/git/project.git", "project"),
    ],
)
def test_the_source_is_the_remote_without_its_secrets(project, remote, shown):
    project.git("remote", "add", "origin", remote)
    assert project.lineage().source == shown
    assert "s3cret" not in project.description()


def test_the_only_remote_is_the_source_whatever_it_is_called(project):
    project.git("remote", "add", "upstream", "https://host/project.git")
    assert project.lineage().source == "https://host/project.git"


def test_a_result_of_the_commit_is_got_back_by_a_plain_checkout(project):
    commit = project.lineage().commit[:7]
    back = f"To get it back: `git checkout {commit}`, then `dvc checkout` or `dvc repro`."
    assert project.description().endswith(back)


def test_a_commit_whose_parameters_made_the_result_gives_it_back_although_its_lock_is_older(
    project,
):
    (project.root / "params.yaml").write_text("fit:\n  rate: 2\n")
    project.commit()
    (project.root / "dvc.lock").write_text(LOCK.format(rate=2))
    assert project.lineage().dirty == "false"
    assert "with the uncommitted changes" not in project.description()


def test_parameters_that_are_not_the_commits_are_never_got_back_by_a_plain_checkout(project):
    """Git calls them clean where it ignores their file."""
    (project.root / ".gitignore").write_text("/weights.txt\n/params.yaml\n")
    project.git("rm", "--quiet", "--cached", "params.yaml")
    project.commit()
    (project.root / "params.yaml").write_text("fit:\n  rate: 2\n")
    (project.root / "dvc.lock").write_text(LOCK.format(rate=2))
    assert project.lineage().dirty == "false"
    assert ", with the uncommitted changes of that day, then" in project.description()


def lineage_of(project, **values):
    fields = {"commit": "0123456789", "dirty": "false", "git_refusal": "", "experiment": None}
    fields |= {"source": "spirals", "user": ""}
    return Lineage(root=project.root, **{**fields, **values})


@pytest.mark.parametrize("name", ["n$(touch${IFS}INJ)", "n;reboot", "n`id`", "n'o", "--help"])
def test_the_command_of_an_experiment_runs_nothing_else(project, name):
    about = describe(project.result(), lineage_of(project, commit=None), {}, [name])
    fence, command = re.search(r"To get it back: (`+) ?(dvc exp apply .*?) ?\1,", about).groups()
    assert fence not in command
    words = shlex.split(command)
    assert words[-1] == name
    assert "--" in words or not name.startswith("-")
    script = f"dvc() {{ printf '%s\\n' \"$@\"; }}; {command}"
    arguments = subprocess.check_output(["sh", "-c", script], text=True)
    assert arguments.splitlines()[-1] == name
    assert not os.path.exists("INJ")


def test_what_markdown_could_take_for_marks_is_escaped(project):
    odd = "a|b`c`*d*[e](javascript:f)<g>_h_"
    result = project.result()
    about = describe(result, lineage_of(project, source=f"h:{odd}\nnext"), {odd: 1.0, "a_b": 2}, [])
    escaped = r"a\|b\`c\`\*d\*\[e\](javascript:f)\<g\>\_h\_"
    lines = about.splitlines()
    assert f"Result of the DVC pipeline in h:{escaped} next" == lines[0]
    assert f"| {escaped} | 1 |  |" in lines
    assert "| a_b | 2 |  |" in lines


def test_the_name_of_a_run_begins_with_what_differs_from_the_commit(project):
    (project.root / "dvc.lock").write_text(LOCK.format(rate=0.25))
    lineage, result = project.lineage(), project.result()
    commit = lineage.commit[:7]
    assert run_name(result, lineage) == f"fit.rate=0.25 {commit}"
