"""Kills, full disks, other places, corrupted caches: the next `dvc repro` mends what is lost."""

import hashlib
import itertools
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest
from conftest import Checkout
from runs import all_complete
from sources import stages

from spirals.models import MODELS

pytestmark = pytest.mark.slow

STAGES = {name: stage["cmd"].partition(" -E ")[2] for name, stage in stages().items()}


@pytest.fixture
def ran(ran):
    ran.lock = (ran.root / "dvc.lock").read_bytes()
    return ran


def assert_as_before(checkout, lock):
    """The same results, nothing left over, one complete run for each model."""
    assert (checkout.root / "dvc.lock").read_bytes() == lock
    assert checkout.run("git", "status", "--porcelain").stdout == ""
    assert "up to date" in checkout.run("dvc", "status").stdout
    for folder in ("data", "reports"):
        assert [
            path for path in (checkout.root / folder).rglob(".*") if path.name != ".gitignore"
        ] == []
    # A copy: MLflow keeps a database open that was at the same path before.
    copy = shutil.copy(
        checkout.root / "mlflow.db", checkout.root.parent / f"{time.monotonic_ns()}.db"
    )
    assert len(all_complete(f"sqlite:///{copy}")) == len(MODELS)


def repro_after_kill(checkout, *stage):
    """Run `dvc repro`, and what `make` runs before it if DVC was killed while it wrote (dvc#7615).

    Returns:
        Those files, which were removed.
    """
    done = checkout.run("dvc", "repro", *stage, check=False)
    if done.returncode == 0:
        return []
    broken = r"'(?:\./)?(dvc\.lock|\.dvc/tmp/rwlock)'.*(invalid|failed|corrupted)"
    assert re.search(rf"{broken}|join\(\) argument must be str", done.stderr), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    verified = checkout.run("python", "tools/verify.py").stdout
    checkout.run("dvc", "repro", *stage)
    return re.findall(r"removed (.*), which was truncated", verified)


class Running:
    """A `dvc repro` in the background, in a process group of its own, and the stage it is at."""

    def __init__(self, checkout, *options):
        self.log = checkout.root.parent / "log"
        with self.log.open("w") as log:
            self.dvc = subprocess.Popen(
                ["dvc", "repro", *options],
                cwd=checkout.root,
                env=checkout.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stage(self, name, limit=120):
        """The process of the stage, as soon as it is there; None if it never was."""
        ends = time.monotonic() + limit
        while self.dvc.poll() is None and time.monotonic() < ends:
            for process in psutil.Process(self.dvc.pid).children(recursive=True):
                try:
                    if (
                        process.cmdline()[2:] == STAGES[name].split()
                    ):  # not the shell that started it
                        return process
                except psutil.Error:
                    pass
            time.sleep(0.05)
        return None

    def end(self):
        """Waits for dvc, and for a stage that outlived it; returns what was printed."""
        self.dvc.wait(300)
        while left := [
            process for process in psutil.process_iter(["cmdline"]) if self._is_ours(process)
        ]:
            psutil.wait_procs(left, timeout=10)
        return self.log.read_text()

    def _is_ours(self, process):
        try:
            return (
                os.getpgid(process.pid) == self.dvc.pid and process.status() != psutil.STATUS_ZOMBIE
            )
        except (OSError, psutil.Error):
            return False


def worked(process):
    """Seconds that a process has computed, however busy the machine is; None if it has ended."""
    with suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE:
            return sum(process.cpu_times()[:2])
    return None


def caught(checkout, name, part):
    """Return a `dvc repro` of the stage when that has computed a part of what it computes alone.

    How much that is differs from one moment to the next, so a stage that ends before runs again.
    """
    whole, force = 1.5, []  # seconds: more than most compute
    for _ in range(20):
        running = Running(checkout, *force, "--single-item", name)
        process, seen = running.stage(name), 0
        while process and (seconds := worked(process)) is not None:
            if seconds >= part * whole:
                return running, process
            seen = seconds
            time.sleep(0.01)
        running.end()
        whole, force = seen, ["--force"]
    pytest.fail(f"{name} ended before it could be killed, 20 times")


# Which process is killed, after which part of the time that the stage computes when left alone.
KILLS = [("stage", 0.1), ("dvc", 0.4), ("both", 0.7)]


def kill(running, process, victim):
    """Kill a stage, the dvc that started it, or both."""
    if victim in ("stage", "both"):
        with suppress(psutil.NoSuchProcess):  # it ended just now
            process.kill()
    if victim in ("dvc", "both"):
        running.dvc.kill()
    running.dvc.wait(300)


def test_a_kill_in_every_stage_loses_nothing(ran):
    ran.run("git", "clean", "-dfxq")
    # Or stages whose outputs are all in Git would have nothing to do.
    (ran.root / "dvc.lock").unlink()
    for name, (victim, part) in zip(STAGES, itertools.cycle(KILLS), strict=False):
        running, process = caught(ran, name, part)
        kill(running, process, victim)
        repro_after_kill(ran, name)  # where dvc alone was killed, the stage goes on beside it
        running.end()
    assert_as_before(ran, ran.lock)


def test_dvc_killed_while_it_writes_a_file_of_its_own(ran):
    # Python writes a file in pieces of 8192 bytes.
    for name, kept in [("dvc.lock", 0), ("dvc.lock", 8192), (".dvc/tmp/rwlock", 0)]:
        (ran.root / name).write_bytes((ran.root / name).read_bytes()[:kept])
        shutil.rmtree(ran.root / "data")
        deleted = repro_after_kill(ran)
        assert deleted == [name] or (kept and not deleted)
        assert_as_before(ran, ran.lock)


def test_interrupt_and_two_at_once(ran):
    lock = ran.lock
    # Ctrl-C reaches dvc and the stage.
    ran.set_params({"train_mlp.iterations": 10_000_000, "train_mlp.record_every": 10_000})
    running = Running(ran)
    process = running.stage("train@mlp")
    while (
        "iteration 0: loss" not in running.log.read_text()
    ):  # Python alone, while it imports, would say where it is
        assert process.is_running()
        time.sleep(0.05)
    # A second dvc meanwhile.
    second = ran.run("dvc", "repro", check=False)
    assert second.returncode != 0
    assert "lock" in second.stderr and "Traceback" not in second.stderr
    assert process.is_running()
    os.killpg(running.dvc.pid, signal.SIGINT)
    printed = running.end()
    assert running.dvc.returncode != 0
    assert "Traceback" not in printed
    assert (
        not list((ran.root / "data/mlp").glob(".*"))
        and not (ran.root / "data/mlp/weights.json").exists()
    )
    ran.run("git", "checkout", "--quiet", "params.yaml")
    ran.run("dvc", "repro")
    assert_as_before(ran, lock)


def test_a_full_disk_and_one_that_is_read_only(ran):
    lock = ran.lock
    # A file where a folder is expected; a full disk; a disk that is read-only.
    data = ran.root / "data"
    shutil.rmtree(data)
    data.write_text("")
    done = ran.run("python", "src/generate.py", check=False)
    assert (done.returncode, done.stderr) == (1, "error: data: File exists\n")
    data.unlink()
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(data)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        done = ran.run("dvc", "repro", "--force", check=False)
        assert done.returncode != 0
        assert "No space left on device\n" in done.stderr and "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,ro", data], check=True)
        done = ran.run("python", "src/generate.py", check=False)
        assert (done.returncode, done.stderr) == (
            1,
            "error: data/spirals.csv: Read-only file system\n",
        )
    finally:
        subprocess.run(["umount", data], check=True)
    ran.run("dvc", "repro")
    assert_as_before(ran, lock)


def spoil(path, content=b"spoiled"):
    """Other bytes, and the mode that makes DVC believe them."""
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


OUTS = [
    "data/spirals.csv",
    "data/linear/weights.json",
    "data/mlp/curve.csv",
    "data/mlp/snapshots.json",
]


def test_files_that_are_corrupted_in_the_checkout_are_made_again(ran):
    root = ran.root
    good = {name: (root / name).read_bytes() for name in OUTS}
    (root / OUTS[0]).write_bytes(good[OUTS[0]].replace(b"\n", b"\r\n"))
    (root / OUTS[1]).unlink()
    (root / OUTS[2]).write_bytes(good[OUTS[2]][:500])
    (root / OUTS[3]).write_bytes(b"")
    ran.run("dvc", "repro")
    assert {name: (root / name).read_bytes() for name in OUTS} == good
    assert_as_before(ran, ran.lock)


def test_what_no_stage_writes_does_not_get_into_dvc_lock(ran):
    """What lies there of a model that was removed, say: nobody else could reproduce it."""
    (ran.root / "data/old").mkdir()
    (ran.root / "data/old/weights.json").touch()
    ran.run("dvc", "repro", "--force", "--single-item", "report")
    assert (ran.root / "dvc.lock").read_bytes() == ran.lock


def test_objects_that_are_corrupted_in_the_cache_are_found_by_make_and_made_again(ran):
    """DVC does not notice, and hands them out."""
    root, cache, outs = ran.root, ran.root / ".dvc/cache/files/md5", OUTS
    good = {name: (root / name).read_bytes() for name in outs}
    frames = root / "reports/models/mlp/frames"
    frame = next(frames.iterdir())
    hashes = [hashlib.md5((root / name).read_bytes()).hexdigest() for name in (*outs, frame)]
    for digest in hashes:
        spoil(cache / digest[:2] / digest[2:])
    shutil.rmtree(root / "data")
    shutil.rmtree(frames)
    ran.run("dvc", "repro")
    assert frame.read_bytes() == b"spoiled"
    assert {(root / name).read_bytes() for name in outs} == {b"spoiled"}
    failed = ran.run("python", "src/evaluate.py", "mlp", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: cannot use data/spirals.csv: ")
    # What `make` runs.
    verified = ran.run("python", "tools/verify.py")
    assert verified.stdout.count("which was corrupted") == len(hashes)
    ran.run("dvc", "repro")
    assert {name: (root / name).read_bytes() for name in outs} == good
    assert ran.run("python", "tools/verify.py").stdout == ""
    assert_as_before(ran, ran.lock)


@pytest.mark.exhaustive
def test_other_places_and_settings(ran, tmp_path):
    """A shallow clone at an odd path without home, Git identity or usual settings; an archive."""
    odd = tmp_path / "Mein Verzeichnis \N{EN DASH} ü 日本 $x"
    settings = {
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
        "COLUMNS": "20",
        "PYTHONHASHSEED": "12345",
    }
    settings |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    secret = secrets.token_hex(16)
    names = ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "API_TOKEN")
    settings |= dict.fromkeys(names, secret)
    clone = Checkout(odd / "project", odd / "site")
    clone.environment = {
        key: value for key, value in clone.environment.items() if key != "HOME"
    } | settings
    odd.mkdir()
    ran.run("git", "clone", "--quiet", "--depth=1", f"file://{ran.root}", str(clone.root))
    umask = os.umask(0o077)
    try:
        clone.run("dvc", "repro")
        for script in [*STAGES.values()][
            :-1
        ]:  # in plain ASCII, which DVC and MLflow cannot bear at this path
            clone.run("python", *script.split(), PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
        assert_as_before(clone, ran.lock)
        written = [
            path for path in clone.root.rglob("*") if path.is_file() and not path.is_symlink()
        ]
        assert not [path for path in written if secret.encode() in path.read_bytes()]
        clone.run("dvc", "exp", "run", "--name", "wide", "--set-param", "train_mlp.hidden_units=9")
        clone.run("git", "checkout", "--quiet", ".")
        assert clone.run("dvc", "exp", "list", "--name-only").stdout.split() == ["wide"]
    finally:
        os.umask(umask)

    archive = Checkout(odd / "archive", odd / "site2")
    archive.root.mkdir()
    ran.run("git", "archive", "--output", str(odd / "archive.tar"), "HEAD")
    shutil.unpack_archive(odd / "archive.tar", archive.root, filter="data")
    shutil.copytree(ran.root / ".dvc/cache", archive.root / ".dvc/cache")  # to save the time
    refused = archive.run("dvc", "repro", check=False)
    assert refused.returncode != 0 and "is not a git repository" in refused.stderr
    archive.run("dvc", "config", "--local", "core.no_scm", "true")  # what `make` does
    archive.run("dvc", "repro")
    assert (archive.root / "dvc.lock").read_bytes() == ran.lock
    assert len(all_complete(f"sqlite:///{archive.root / 'mlflow.db'}")) == len(MODELS)


def test_bad_parameters_and_a_divergence_in_a_queue(ran):
    done = ran.run("dvc", "exp", "run", "--set-param", "train_mlp.hidden_units=many", check=False)
    assert done.returncode != 0
    assert (
        "error: params.yaml: train_mlp.hidden_units is the text 'many', but must be a whole"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    ran.run("git", "checkout", "--quiet", "params.yaml")
    (ran.root / "params.yaml").write_text("plot: [1\nevaluate: 2\n")
    done = ran.run("dvc", "repro", check=False)
    assert done.returncode != 0 and "params.yaml" in done.stderr and "line 2" in done.stderr
    ran.run("git", "checkout", "--quiet", "params.yaml")

    for name, rate in {"one": 1.5, "diverging": 10_000, "two": 0.5}.items():
        changes = [f"train_linear.learning_rate={rate}", "train_linear.iterations=200"]
        ran.run(
            "dvc",
            "exp",
            "run",
            "--queue",
            "--name",
            name,
            *(f"--set-param={change}" for change in changes),
        )
    ran.run("dvc", "exp", "run", "--run-all")
    listed = ran.run("dvc", "queue", "status").stdout
    assert {line.split()[1]: line.split()[-1] for line in listed.splitlines()[1:4]} == {
        "one": "Success",
        "diverging": "Failed",
        "two": "Success",
    }
    logs = ran.run("dvc", "queue", "logs", "diverging").stdout
    assert "the training of linear diverged: the loss is not finite at iteration" in logs
    assert "Try a train_linear.learning_rate below 2000." in logs
    curve = (ran.root / "diverged/linear_diverging.csv").read_text().splitlines()
    assert len(curve) > 100 and curve[0] == "iteration,loss,accuracy"
    assert len(all_complete(f"sqlite:///{ran.root / 'mlflow.db'}")) == len(MODELS) + 2
