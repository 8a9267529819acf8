"""The sweep: real DVC experiments in real clones, real faults, and a real Dask cluster."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import Checkout
from ports import free_port
from ruamel.yaml import YAML

import grid
import guard
import jobs
import summary
import warm
import worker
from pictures import figures
from pipeline.errors import UserError
from spirals.models import MODELS

LIMIT = 600  # seconds for anything that is waited for

needs_dask = pytest.mark.skipif(
    find_spec("distributed") is None, reason="Dask is an optional extra: pip install distributed"
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # DVC's dependencies
class TestGrid:
    def test_is_the_product_of_the_values_and_the_seeds(self):
        expanded = grid.expand(
            "s", ["train_mlp.hidden_units=range(4,10,2)", "train_mlp.l2=0,1e-3"], seeds=2
        )
        expected = {
            f"s-hidden_units={units}-l2={l2}-seed={seed}": {
                "train_mlp.hidden_units": units,
                "train_mlp.l2": l2,
                **{f"train_{name}.seed": seed for name in MODELS},
            }
            for units, l2, seed in product(["4", "6", "8"], ["0", "0.001"], ["0", "1"])
        }
        assert expanded.experiments == expected
        assert expanded.swept == ["train_mlp.hidden_units", "train_mlp.l2"]

    def test_names_tell_equal_parameters_of_two_models_apart(self):
        overrides = ["train_mlp.l2=0,1", "train_linear.l2=0,1", "train_mlp.iterations=5"]
        experiments = grid.expand("s", overrides).experiments
        assert list(experiments)[1] == "s-train_mlp.l2=0-train_linear.l2=1"
        assert len(experiments) == 4
        assert all(values["train_mlp.iterations"] == "5" for values in experiments.values())

    @pytest.mark.parametrize(
        ("name", "overrides", "seeds", "words"),
        [
            ("a-b", [], 0, "the name of a sweep"),
            ("s", ["train_mlp.hidden_unit=4,5"], 0, "hidden_unit"),
            ("s", ["train_mlp.hidden_units=4,0"], 0, "train_mlp.hidden_units is 0, but must be"),
            ("s", ["train_mlp.l2=interval(0,1)"], 0, "neither"),
            ("s", ["train_mlp.l2"], 0, "neither"),
            ("s", ["other.yaml:a.b=1,2"], 0, "neither"),
            ("s", ["train_mlp.seed=1,2"], 2, "--seeds sets"),
            ("s", [], -1, "--seeds is -1, but must be"),
        ],
    )
    def test_refuses_what_cannot_run(self, name, overrides, seeds, words):
        with pytest.raises(UserError, match=words):
            grid.expand(name, overrides, seeds)


@pytest.mark.parametrize(
    ("swept", "shown"),
    [("generate.noise", [*MODELS]), *((f"train_{name}.l2", [name]) for name in MODELS)],
)
def test_the_picture_has_a_line_for_every_model_that_is_concerned(swept, shown, monkeypatch):
    table = pd.DataFrame({swept: [0.1, 0.2, 0.3]})
    for index, name in enumerate(MODELS):
        table[f"{name}.train_loss"] = table[f"{name}.test_accuracy"] = index + table[swept]
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, *_: drawn.append(figure))
    summary.draw(None, table, [swept])
    for ax in drawn[0].axes:
        found = {line.get_linestyle(): line.get_ydata().tolist() for line in ax.lines}
        assert [*found.values()] == [table[f"{name}.train_loss"].tolist() for name in shown]
    if len(shown) > 1:
        assert [text.get_text() for text in drawn[0].axes[0].get_legend().texts] == shown


def test_a_swept_zero_overprints_no_tick_of_the_picture(monkeypatch):
    values = [0, 0.0001, 0.01]
    table = pd.DataFrame({"train_mlp.l2": values})
    for name in MODELS:
        table[f"{name}.train_loss"] = table[f"{name}.test_accuracy"] = [0.3, 0.2, 0.1]
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, *_: drawn.append(figure))
    summary.draw(None, table, ["train_mlp.l2"])
    ax = drawn[0].axes[-1]
    assert ax.get_xlabel() == "train_mlp.l2 (not to scale)"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.0001", "0.01"]
    assert ax.get_xticks().tolist() == ax.lines[0].get_xdata().tolist() == [0, 1, 2]


GUARDED = [sys.executable, guard.__file__]


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("false", 1)])
def test_guard_hands_on_how_a_command_ended(command, code):
    with subprocess.Popen([*GUARDED, command], stdin=subprocess.PIPE) as process:
        assert process.wait(timeout=60) == code


def test_nothing_outlives_its_worker():
    with subprocess.Popen([*GUARDED, "sleep", "60"], stdin=subprocess.PIPE) as process:
        process.stdin.close()  # what the kernel does when the worker is killed
        assert process.wait(timeout=20) != 0, "the guard waits until the command is gone"


@pytest.fixture
def hub(tmp_path):
    """A repository with one commit, and the job of running experiments of it."""
    checkout = Checkout(tmp_path / "hub", tmp_path / "site")
    environment = dict(checkout.environment)
    for person in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{person}_NAME": "a", f"GIT_{person}_EMAIL": "a@b"}
    for command in (
        ["init", "--quiet", "hub"],
        ["-C", "hub", "commit", "--quiet", "--allow-empty", "--message=start"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, env=environment, check=True)
    commit = checkout.run("git", "rev-parse", "HEAD").stdout.strip()
    job = worker.Job(commit, str(checkout.root), str(tmp_path / "clones"), {}, None, push=False)
    return checkout, job


def experiments_that_fail(monkeypatch, error, failures):
    """Have the first experiments raise the error; return whether each found what one had left."""
    found = []

    def experiment(clone, *_):
        left = clone.path / "data/left"
        found.append(left.exists())
        if len(found) <= failures:
            left.parent.mkdir()
            left.touch()
            raise error
        reference = f"{clone.job.experiments}/one"
        clone.run("git", "update-ref", reference, clone.job.commit)

    monkeypatch.setattr(worker.Clone, "dvc", experiment)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "message",
    [
        "[Errno 2] No such file: '/cache/runs/ab/abcd/.VqPq2tmnm.tmp'",
        "failed to reproduce 'generate': join() argument must be str, bytes, or os.PathLike object,"
        " not 'NoneType'",
    ],
)
def test_what_another_worker_broke_runs_again_as_if_nothing_had_run(message, hub, monkeypatch):
    checkout, job = hub
    found = experiments_that_fail(monkeypatch, worker.Failed(message), worker.TRIES - 1)
    assert worker.run_experiment("one", {}, job) is None
    assert found == [False] * worker.TRIES and refs(checkout) == {"one": job.commit}


@pytest.mark.slow
def test_a_killed_experiment_runs_again_in_a_new_clone(hub, monkeypatch):
    checkout, job = hub
    found = experiments_that_fail(monkeypatch, worker.Killed("killed"), 2)
    assert worker.run_experiment("one", {}, job) is None
    assert found == [False] * 3 and refs(checkout) == {"one": job.commit}


@pytest.mark.slow
def test_an_experiment_that_is_killed_every_time_has_failed(hub, monkeypatch):
    checkout, job = hub
    found = experiments_that_fail(monkeypatch, worker.Killed("killed by signal 9"), 100)
    assert worker.run_experiment("one", {}, job) == "killed by signal 9"
    assert len(found) == worker.TRIES and refs(checkout) == {}


def refs(checkout):
    """By name, the commit of every experiment."""
    lines = checkout.run(
        "git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps"
    ).stdout.splitlines()
    named = (line.split() for line in lines)
    return {
        ref.rpartition("/")[2]: commit
        for ref, commit in named
        if ref.count("/") == 4 and "/exec/" not in ref
    }


def until(condition, what):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {LIMIT} s in vain until {what}")


@contextmanager
def started(checkout, *command, cwd=None, **environment):
    """A process in the background; nothing of it is left at the end."""
    process = subprocess.Popen(
        command,
        cwd=cwd or checkout.root,
        env={**checkout.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=LIMIT)


def processes(words):
    """Processes with these words in their command line, and their parents': (pid, parent)."""
    found = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        if words in " ".join(process.info["cmdline"] or []):
            found.append((process.info["pid"], process.info["ppid"]))
    return found


def running(folder):
    """A process that runs an experiment below the folder, and the parents of all that are like it.

    Other tests have such processes, too. None if there is none.
    """
    clones = folder / ".dvc/tmp/exps/sweep"
    parents = dict(processes("warm.py"))
    for pid, parent in parents.items():
        with suppress(psutil.Error):
            if parent in parents and Path(psutil.Process(pid).cwd()).is_relative_to(clones):
                return pid, parents
    return None


def without_last_stages(checkout):
    """Leaves out figures and MLflow: half of the time, and not what is tested."""
    path = checkout.root / "dvc.yaml"
    yaml = YAML()
    content = yaml.load(path)
    content["stages"] = {
        name: content["stages"][name] for name in ("generate", "train", "evaluate")
    }
    yaml.dump(content, path)
    checkout.run("git", "rm", "--quiet", "dvc.lock")
    checkout.commit("no figures, no MLflow")


SWEEP = (sys.executable, "tools/sweep")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_workers_and_their_number_do_not_change_a_byte(checkout, tmp_path):
    without_last_stages(checkout)
    arguments = ["s", "-S", "train_mlp.hidden_units=4,5", "--seeds", "2"]
    checkout.run(*SWEEP, *arguments, "--workers", "4")
    trees, tables = [], []
    other = type(checkout)(tmp_path / "other", tmp_path / "site2")
    checkout.run("git", "clone", "--quiet", ".", str(other.root))
    other.run(*SWEEP, *arguments, "--workers", "1")
    for made in (checkout, other):
        trees.append(
            {
                name: made.run("git", "rev-parse", f"{ref}^{{tree}}").stdout
                for name, ref in refs(made).items()
            }
        )
        tables.append((made.root / "reports/sweeps/s.csv").read_bytes())
    assert len(trees[0]) == 4 and len(set(trees[0].values())) == 4
    assert trees[0] == trees[1]
    assert tables[0] == tables[1] and tables[0].count(b"\n") == 5
    clones = sorted(path.name for path in (other.root / ".dvc/tmp/exps/sweep").iterdir())
    assert clones == ["0", "0.lock"], "one worker has one clone"


@pytest.mark.slow
def test_kill_interrupt_and_divergence_cost_nothing_but_themselves(checkout):
    without_last_stages(checkout)
    command = [
        *SWEEP,
        "s",
        "-S",
        "train_mlp.learning_rate=10000,0.1,0.2,0.3,0.4,0.5",
        "-S",
        "train_mlp.l2=100",
    ]
    command += ["-S", "train_mlp.iterations=50", "--workers", "2"]
    with started(checkout, *command) as process:
        until(lambda: len(refs(checkout)) >= 1, "an experiment is finished")
        fork, parents = until(lambda: running(checkout.root), "another one runs")
        server = parents[fork]
        os.kill(fork, signal.SIGKILL)
        until(
            lambda: {fork, server}.isdisjoint(dict(processes("warm.py"))),
            "whatever had been started for it has ended too",
        )
        until(lambda: len(refs(checkout)) >= 2, "two experiments are finished")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, output
    assert "killed" not in output
    before = refs(checkout)
    assert 2 <= len(before) < 5
    assert not processes(str(checkout.root))

    again = checkout.run(*command, check=False)
    assert again.returncode == 1
    assert (
        "s-learning_rate=10000 failed: the training of mlp diverged" in again.stdout + again.stderr
    )
    after = refs(checkout)
    assert sorted(after) == [f"s-learning_rate=0.{tenth}" for tenth in range(1, 6)]
    assert before.items() <= after.items(), "what was finished did not run again"
    table = (checkout.root / "reports/sweeps/s.csv").read_text().splitlines()
    assert len(table) == 7
    assert "diverged" in table[1] and not any("diverged" in line for line in table[2:])
    shown = checkout.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert sorted(shown) == sorted(after)

    other = [*SWEEP, "s", "-S", "train_mlp.learning_rate=0.1,0.2", "-S", "train_mlp.l2=0.5"]
    other = checkout.run(*other, check=False)
    assert other.returncode == 1 and "give this sweep another name" in other.stderr
    checkout.set_params({"train_mlp.l2": 0.5})
    dirty = checkout.run(*command, check=False)
    assert dirty.returncode == 1 and "commit first" in dirty.stderr


@pytest.mark.slow
def test_runs_are_found_in_mlflow_by_the_name_of_the_sweep(ran):
    from mlflow import MlflowClient

    # Batch systems set such folders; the address of a socket has at most 107 characters.
    temporary = ran.root.parent / ("t" * 120)
    temporary.mkdir()
    command = [*SWEEP, "s", "-S", "train_mlp.hidden_units=4,5", "--workers", "2"]
    ran.run(*command, TMPDIR=str(temporary))
    client = MlflowClient(f"sqlite:///{ran.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("spirals")
    found = client.search_runs([experiment.experiment_id], "tags.`dvc.experiments` LIKE '%s-%'")
    assert sorted(run.data.params["model"] for run in found) == sorted([*MODELS, "mlp"])
    for run in found:
        assert client.download_artifacts(
            run.info.run_id, f"data/{run.data.params['model']}/curve.csv"
        )
    assert (ran.root / "reports/sweeps/s.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_local_sweep_listens_at_no_port_and_a_second_interrupt_ends_all_of_it(checkout):
    without_last_stages(checkout)
    command = [*SWEEP, "s", "-S", "train_mlp.l2=1,2,3,4", "--workers", "2"]
    with started(checkout, *command) as process:
        until(lambda: running(checkout.root), "an experiment runs")
        sweep = psutil.Process(process.pid)
        listening = []
        for part in [sweep, *sweep.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                found = part.net_connections("tcp")
                listening += [each for each in found if each.status == psutil.CONN_LISTEN]
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == -signal.SIGINT
        until(lambda: not processes(str(checkout.root)), "its commands have ended")
        until(lambda: not running(checkout.root), "its experiments have ended")
    assert listening == []


@pytest.fixture
def forking(tmp_path, monkeypatch):
    """A process that forks for each script, in a folder for temporary files with a long path."""
    temporary = tmp_path / ("t" * 120)
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with warm.WarmPython(["json"]) as made:
        yield made


SCRIPT = """
import json, os, sys
print(os.getcwd(), sys.argv[1:], os.environ["NAME"], hasattr(json, "left"), __name__)
json.left = True
print("to the other", file=sys.stderr)
os.system("echo from a child")
match sys.argv[1]:
    case "exit":
        sys.exit(3)
    case "say":
        sys.exit("error: said")
    case "raise":
        1 / 0
    case "die":
        os.kill(os.getpid(), 9)
"""


def test_a_fork_is_as_a_process_of_its_own(forking, tmp_path):
    """Folder, environment, arguments, output, exit code; and nothing stays for the next one."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    codes = {}
    for way in ("end", "exit", "say", "raise", "die"):
        environment = {"NAME": way, "PATH": os.defpath, **dict.fromkeys("abcd", "x" * 2**16)}
        with open(tmp_path / "output", "w+") as output, open(tmp_path / "errors", "w+") as errors:
            command = [str(script), way]
            codes[way] = forking.run(command, tmp_path, environment, [output, errors])
            output.seek(0)
            errors.seek(0)
            said, complained = output.read(), errors.read()
        if way != "die":  # what it had not yet handed on is gone, as it would be elsewhere
            assert f"{tmp_path} ['{way}'] {way} False __main__" in said and "from a child" in said
        assert complained.startswith("to the other\n")
        assert ("error: said" in complained) == (way == "say")
        assert ("ZeroDivisionError" in complained) == (way == "raise")
    assert codes == {"end": 0, "exit": 3, "say": 1, "raise": 1, "die": warm.KILLED}


# Its fork takes a while to end.
SLOW_TO_END = """
import os, time
end = os._exit
os._exit = lambda code: (time.sleep(0.2), end(code))
"""


def test_what_a_fork_held_is_free_when_its_exit_code_is_known(forking, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SLOW_TO_END)
    for _ in range(2):
        with open(tmp_path / "lock", "w") as lock, open(os.devnull, "w") as output:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert forking.run([str(script)], tmp_path, {}, [output, output, lock]) == 0


@pytest.mark.parametrize("part", [b"", b'[["script'])
def test_a_fork_ends_with_whoever_asked_for_it(forking, part):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(forking.address)
        connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(20)
        assert connection.recv(16) == b""


def test_a_fork_that_ends_at_once_has_its_exit_code(tmp_path, monkeypatch):
    send_fds = socket.send_fds
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def send_slowly(connection, buffers, fds):
            sent = send_fds(connection, buffers, fds)
            fork, _ = server.accept()
            fork.recv(2**20)
            fork.sendall(b"3")
            fork.close()
            return sent

        monkeypatch.setattr(socket, "send_fds", send_slowly)
        with open(os.devnull, "w") as output:
            code = warm.call(str(tmp_path / "s"), ["script"], tmp_path, {}, [output, output])
    assert code == 3


def test_a_warm_process_ends_with_whoever_started_it(forking):
    forking.process.stdin.close()  # what the kernel does when that process is killed
    assert forking.process.wait(timeout=20) == -signal.SIGKILL
    assert not forking.folder.exists()
    with open(os.devnull, "w") as output:
        assert forking.run(["script"], Path.cwd(), {}, [output, output]) == warm.KILLED


def test_the_bridge_is_run_by_the_warm_process_and_all_else_by_python(forking, tmp_path):
    bridge = tmp_path / "src/bridge"
    bridge.mkdir(parents=True)
    (bridge / "__main__.py").write_text("import os\nprint(os.getppid())\nraise SystemExit(3)\n")
    environment = forking.environment({"PATH": os.environ["PATH"]})

    def shell(command):
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        return done.returncode, done.stdout.strip()

    assert shell("python -E src/bridge") == (3, str(forking.process.pid))
    assert shell("cd src && python bridge") == (3, str(forking.process.pid))
    own = "import os; print(os.getppid(), end=''); raise SystemExit(4)"
    code, parent = shell(f'python -c "{own}"')
    assert code == 4 and parent != str(forking.process.pid)


VALUES = ("train_mlp.hidden_units", "4,5,6,7")


@needs_dask
@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_cluster_that_has_too_little_in_common_is_refused(checkout, tmp_path):
    checkout.run("git", "init", "--quiet", "--bare", str(tmp_path / "hub.git"))
    server = f"http://127.0.0.1:{free_port()}"  # nothing listens there
    address = f"127.0.0.1:{free_port()}"  # nor here

    def refused(scheme="tcp", **environment):
        command = [*SWEEP, "s", "-S", "=".join(VALUES), "--scheduler", f"{scheme}://{address}"]
        done = checkout.run(*command, check=False, **environment)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr

    assert "--repo" in refused()
    checkout.run("git", "remote", "add", "origin", str(tmp_path / "hub.git"))
    assert "MLflow server" in refused()
    assert "DVC remote" in refused(MLFLOW_TRACKING_URI=server)
    checkout.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    checkout.commit("remote")
    checkout.run("git", "push", "--quiet", "origin", "main")
    assert "no scheduler answers" in refused(MLFLOW_TRACKING_URI=server)
    assert "needs TLS certificates" in refused("tls", MLFLOW_TRACKING_URI=server)


DASK_SETTINGS = """
distributed:
  comm:
    require-encryption: true
    tls:
      ca-file: {folder}/dask-cert.pem
      scheduler: {{cert: {folder}/dask-cert.pem, key: {folder}/dask-key.pem}}
      worker: {{cert: {folder}/dask-cert.pem, key: {folder}/dask-key.pem}}
      client: {{cert: {folder}/dask-cert.pem, key: {folder}/dask-key.pem}}
"""


class Cluster:
    """A Dask cluster on this machine, with certificates as docs/cluster.md says."""

    def __init__(self, checkout, folder):
        from distributed.security import Security

        certificates = Security.temporary()
        (folder / "dask-cert.pem").write_text(certificates.tls_client_cert)
        (folder / "dask-key.pem").write_text(certificates.tls_client_key)
        (folder / "dask.yaml").write_text(DASK_SETTINGS.format(folder=folder))
        self.checkout = checkout
        self.folder = folder
        self.environment = {"DASK_CONFIG": str(folder / "dask.yaml")}
        self.port = free_port()
        self.address = f"tls://127.0.0.1:{self.port}"

    def scheduler(self):
        """A scheduler, as long as the block runs."""
        command = [sys.executable, "-m", "dask", "scheduler", "--protocol", "tls"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        command += ["--dashboard-address", "127.0.0.1:0"]
        return started(self.checkout, *command, cwd=self.folder, **self.environment)

    def worker(self, name):
        """A worker in a folder of its own, as long as the block runs."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "dask", "worker", self.address, "--nthreads", "1"]
        command += ["--no-dashboard", "--death-timeout", "60"]
        return started(self.checkout, *command, cwd=folder, **self.environment)


@needs_dask
@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_cluster_shares_servers_only(checkout, server, tmp_path):
    """Workers in folders of their own: they share Git, a DVC remote and an MLflow server."""
    from mlflow import MlflowClient

    checkout.run("git", "init", "--quiet", "--bare", str(tmp_path / "hub.git"))
    checkout.run("git", "remote", "add", "origin", str(tmp_path / "hub.git"))
    checkout.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    checkout.commit("remote")
    checkout.run("git", "push", "--quiet", "origin", "main")
    cluster = Cluster(checkout, tmp_path)
    command = [*SWEEP, "s", "-S", "=".join(VALUES), "--scheduler", cluster.address]
    environment = {
        **cluster.environment,
        "MLFLOW_TRACKING_URI": server[0],
        "MLFLOW_EXPERIMENT_NAME": "cluster",
    }

    with cluster.worker("one"), cluster.worker("two"), cluster.scheduler() as lost:
        with started(checkout, *command, **environment) as process:
            pushed = ["git", "-C", str(tmp_path / "hub.git"), "for-each-ref", "refs/exps"]
            until(lambda: checkout.run(*pushed).stdout, "an experiment is pushed")
            os.killpg(lost.pid, signal.SIGKILL)
            output, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 1, output
        assert "the scheduler is lost" in output and "Traceback" not in output
    kept = refs(checkout)
    assert 1 <= len(kept) < 4
    with cluster.worker("one"), cluster.worker("two"), cluster.scheduler():
        checkout.run(*command, **environment)
    assert kept.items() <= refs(checkout).items() and len(refs(checkout)) == 4
    client = MlflowClient(server[0])
    experiment = client.get_experiment_by_name("cluster")
    found = client.search_runs([experiment.experiment_id], "tags.`dvc.experiments` LIKE '%s-%'")
    models = sorted(run.data.params["model"] for run in found)
    assert models == sorted([*MODELS, "mlp", "mlp", "mlp"])
    # It says that the data are not here.
    checkout.run("dvc", "exp", "apply", "s-hidden_units=5", check=False)
    assert "fetched" in checkout.run("dvc", "pull").stdout


def test_a_cluster_is_sent_the_address_of_the_server_and_no_credentials(monkeypatch):
    sent = {"MLFLOW_TRACKING_URI": "http://server:5000", "MLFLOW_EXPERIMENT_NAME": "team"}
    secrets = {"MLFLOW_TRACKING_PASSWORD": "secret", "AWS_SECRET_ACCESS_KEY": "secret"}
    for name, value in {**sent, **secrets}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jobs, "output", lambda *_: "store")
    assert jobs.cluster_job("commit", "address").environment == sent
