"""The Makefile: how it builds the environment, what it prints, where it serves the UI."""

import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
from conftest import ROOT

ADDRESS = "https://name:s3cret@mirror.example/simple"
LOCK = """\
torch==1.0 \\
    --hash=sha256:aaa
uv==2.0 \\
    --hash=sha256:bbb \\
    --hash=sha256:ccc
uvicorn==3.0 \\
    --hash=sha256:ddd
"""

# Makes an environment whose pip and uv log what they are asked for, and install nothing.
PYTHON = f"""#!/bin/sh
[ "$1" = -c ] && exec {sys.executable} "$@"
mkdir -p .venv/bin
cat > .venv/bin/python <<'end'
#!/bin/sh
echo "pip $*" >> log
case "$*" in
  *"config list")
    [ -z "$INDEX" ] && exit
    echo "global.extra-index-url='other'"
    echo "global.index-url='$INDEX'" ;;
  *.venv/uv.lock)
    cp .venv/uv.lock uv.lock
    printf '#!/bin/sh\\necho "uv $UV_INDEX_URL $*" >> log\\n' > .venv/bin/uv
    printf 'echo noise >&2\\n$UV_DOES\\n' >> .venv/bin/uv
    chmod "$UV_MODE" .venv/bin/uv ;;
  *) $PIP_DOES ;;
esac
end
chmod +x .venv/bin/python
"""


def make(folder, *arguments, **environment):
    """Runs the Makefile in another folder; returns the finished process."""
    dropped = ("MAKE", "MFLAGS", "MLFLOW_", "UV_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    shutil.copy(ROOT / "Makefile", folder)
    command = ["make", *arguments]
    return subprocess.run(
        command, cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=60
    )


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def build(tmp_path):
    """Builds the environment with the Python above; returns the process, and the log."""

    def run(**environment):
        (tmp_path / "requirements.lock").write_text(LOCK)
        python = executable(tmp_path / "python", PYTHON)
        given = {
            "UV_MODE": "755",
            "UV_DOES": "touch .venv/bin/dvc",
            "PIP_DOES": "touch .venv/bin/dvc",
            "INDEX": "",
        }
        done = make(tmp_path, f"PYTHON={python}", ".venv/installed", **{**given, **environment})
        return done, (tmp_path / "log").read_text().splitlines()

    return run


def test_uv_installs_the_lock_and_comes_out_of_it_itself(build, tmp_path):
    done, asked = build()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"Building .venv: .*\n", done.stdout)
    assert (
        tmp_path / "uv.lock"
    ).read_text() == "uv==2.0 \\\n    --hash=sha256:bbb \\\n    --hash=sha256:ccc\n"
    first, *_, last = asked
    assert (
        first.startswith("pip ")
        and "--require-hashes" in first
        and first.endswith(" .venv/uv.lock")
    )
    assert last.startswith("uv  pip install ") and last.endswith(
        " --require-hashes --requirements requirements.lock"
    )
    assert "--python .venv " in last and "--compile-bytecode" in last
    assert (tmp_path / ".venv/installed").exists()


@pytest.mark.parametrize(
    "trouble",
    [{"UV_DOES": "exit 2"}, {"UV_MODE": "644"}, {"UV_DOES": "true"}],
    ids=["fails", "not-run", "elsewhere"],
)
def test_pip_does_it_where_uv_cannot(build, tmp_path, trouble):
    done, asked = build(**trouble)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["uv cannot run here: pip does it, which takes longer"]
    assert asked[-1].startswith("pip ") and asked[-1].endswith(" --requirement requirements.lock")
    assert "--require-hashes" in asked[-1] and "--compile" in asked[-1]
    assert (tmp_path / ".venv/installed").exists()


@pytest.mark.parametrize("does", ["true", "exit 1"])
def test_an_environment_without_the_packages_is_not_called_installed(build, tmp_path, does):
    done, _ = build(UV_DOES="exit 2", PIP_DOES=does)
    assert done.returncode != 0
    assert not (tmp_path / ".venv/installed").exists()


@pytest.mark.parametrize(
    ("environment", "used"),
    [({"INDEX": ADDRESS}, ADDRESS), ({"INDEX": ADDRESS, "UV_INDEX_URL": "mine"}, "mine"), ({}, "")],
)
def test_uv_takes_the_index_that_pip_is_set_to_and_nobody_sees_it(
    build, tmp_path, environment, used
):
    done, asked = build(**environment)
    assert done.returncode == 0
    assert asked[-1].startswith(f"uv {used} pip install ")
    assert ADDRESS not in done.stdout + done.stderr
    assert not any(
        ADDRESS in path.read_text() for path in (tmp_path / ".venv").rglob("*") if path.is_file()
    )


def test_an_environment_that_is_a_link_stays_as_it_is(tmp_path):
    shared = tmp_path / "shared"
    (shared / "bin").mkdir(parents=True)
    project = tmp_path / "project"
    project.mkdir()
    (project / ".venv").symlink_to(shared)
    (project / "requirements.lock").write_text(LOCK)
    done = make(project, f"PYTHON={sys.executable}", ".venv/installed")
    assert done.returncode != 0 and "error: .venv is a link" in done.stdout
    assert (shared / "bin").exists()


def test_an_old_python_gets_one_sentence(tmp_path):
    pretend = "import sys; sys.version_info = (3, 10, 13); exec(sys.argv[1])"
    old = f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$2"\n'
    (tmp_path / "requirements.lock").write_text(LOCK)
    done = make(tmp_path, f"PYTHON={executable(tmp_path / 'python', old)}", ".venv/installed")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "Python 3.11 or newer is needed: make PYTHON=python3.12"
    assert not (tmp_path / ".venv").exists()


def test_help_tells_every_target_in_one_line_of_a_terminal(tmp_path):
    lines = make(tmp_path, "help").stdout.splitlines()
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(line.split()[0] for line in lines) == sorted(phony[1].split())
    assert {re.match(r"\S+ +", line).end() for line in lines} == {11}
    assert max(map(len, lines)) <= 80


def test_help_leaves_out_what_only_keeps_the_project_itself_up():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert "test-fast" in done.stdout and "portability" not in done.stdout
    assert done.stderr == ""


@pytest.fixture
def results(tmp_path):
    """A folder in which `make results` can run."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/results.py", tmp_path / "tools")
    script = f'#!/bin/sh\n[ "$1" = tools/verify.py ] || exec {sys.executable} "$@"\n'
    executable(tmp_path / ".venv/bin/python", script)
    return tmp_path


REPORT = """
# Title

| | A long title | B |
| --- | ---: | ---: |
| Loss | 0.5 | 1.25 |
| Test accuracy | 9.1% |  |

More.

| not | this |
"""


def test_results_are_a_table_for_people(results):
    (results / "reports/README.md").write_text(REPORT)
    before, *table, after, next_ = make(results, "results").stdout.splitlines()[:6]
    assert (before, after) == ("", "")
    cells = [["A", "long", "title", "B"], ["Loss", "0.5", "1.25"], ["Test", "accuracy", "9.1%"]]
    assert [row.split() for row in table] == cells
    assert table[0].index("title") + 5 == table[1].index("0.5") + 3 == table[2].index("9.1%") + 4
    assert next_.startswith("Look at")


def test_results_that_are_missing_give_one_sentence(results):
    done = make(results, "results")
    assert "error: reports/README.md is missing: run make" in done.stderr
    assert "Traceback" not in done.stderr


HINT = "Use `dvc push` to send your updates to remote storage."


@pytest.mark.parametrize("code", [0, 255])
def test_make_drops_the_hint_to_push_and_nothing_else(results, code):
    (results / ".git").mkdir()
    (results / "requirements.lock").touch()
    (results / "reports/README.md").write_text("| | A |\n|---|---|\n| Loss | 1 |\n\n")
    script = f"#!/bin/sh\necho 'Running'\necho '{HINT}'\nexit {code}\n"
    executable(results / ".venv/bin/dvc", script)
    (results / ".venv/installed").touch()
    done = make(results)
    assert done.stdout.splitlines()[0] == "Running"
    assert "dvc push" not in done.stdout
    assert (done.returncode == 0) == (code == 0) == ("Loss" in done.stdout)
    assert (str(code) in done.stderr) == (code != 0)


@pytest.fixture
def ui(tmp_path):
    """Runs what `make ui` runs, with a bridge and an MLflow that print how they were called."""
    shutil.copytree(ROOT / "src/bridge", tmp_path / "src/bridge")
    (tmp_path / "src/bridge/__main__.py").write_text(
        "import os\nprint('bridge', os.environ['MLFLOW_PORT'])\n"
    )
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/ui.py", tmp_path / "tools")
    mlflow = executable(tmp_path / "bin/mlflow", '#!/bin/sh\necho "mlflow $*"\n')

    def run(**environment):
        path = f"{mlflow.parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, **environment}
        command = [sys.executable, tmp_path / "tools/ui.py"]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )

    return run


def test_the_ui_says_the_port_that_it_is_served_at(ui, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message, bridge, mlflow = ui(
            MLFLOW_PORT=str(port), MLFLOW_HOST="0.0.0.0"
        ).stdout.splitlines()
    free = int(bridge.split()[1])
    assert free > port
    assert message == f"port {port} is taken: this is port {free}"
    assert f" --host 127.0.0.1 --port {free} " in mlflow
    assert f" --backend-store-uri sqlite:///{tmp_path}/mlflow.db " in mlflow
    assert ui(MLFLOW_PORT=str(free)).stdout.splitlines()[0] == f"bridge {free}"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"MLFLOW_PORT": "abc"},
            "error: MLFLOW_PORT is abc, but must be a whole number from 1 to 65535\n",
        ),
        (
            {"MLFLOW_PORT": "65536"},
            "error: MLFLOW_PORT is 65536, but must be a whole number from 1 to 65535\n",
        ),
        (
            {"MLFLOW_TRACKING_URI": "https://name:s3cret@host/"},
            "error: the runs are already at https://host/, which MLFLOW_TRACKING_URI names\n",
        ),
    ],
)
def test_the_ui_says_in_one_sentence_why_it_is_not_served(ui, environment, said):
    done = ui(**environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
