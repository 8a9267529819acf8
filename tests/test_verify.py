"""What `make` checks before `dvc repro`: files that a killed DVC left truncated, and the cache."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import warnings

import pytest
from conftest import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of DVC's own
    from dvc.repo import Repo

    import verify
    from verify import objects, remove_corrupted, remove_empty_runs, remove_truncated

LOCK = (ROOT / "dvc.lock").read_text("utf-8")


@pytest.fixture
def repo(tmp_path, monkeypatch):
    for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
        monkeypatch.setenv(f"DVC_{kind}_DIR", str(tmp_path / "dvc"))
    root = tmp_path / "project"
    root.mkdir()
    with Repo.init(str(root), no_scm=True) as made:
        yield made


def store(cache, content, suffix="", corrupted=None):
    """An object of DVC's cache, or a corrupted one; write-protected, as DVC does."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = cache / digest[:2] / (digest[2:] + suffix)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content if corrupted is None else corrupted)
    path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    return path


def test_corrupted_objects_are_removed(tmp_path):
    good = [store(tmp_path, b"data"), store(tmp_path, b"[]", ".dir"), store(tmp_path, b"")]
    bad = [store(tmp_path, b"more", corrupted=b"m0re"), store(tmp_path, b"[1]", ".dir", b"[2]")]
    bad.append(store(tmp_path, b"last", corrupted=b""))
    other = tmp_path / bad[0].parent.name / "being-written"
    other.write_bytes(b"half")
    assert sorted(remove_corrupted(tmp_path, tmp_path)) == sorted(bad)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted([*good, other])
    assert (
        remove_corrupted(tmp_path, tmp_path)
        == remove_corrupted(tmp_path / "missing", tmp_path)
        == []
    )


@pytest.mark.parametrize("kind", ["config.local", "config"])
def test_a_cache_elsewhere_is_found_and_what_others_keep_there_is_not_read(repo, tmp_path, kind):
    root, shared = tmp_path / "project", tmp_path / "shared"
    (root / ".dvc" / kind).write_text(f"[core]\n    no_scm = true\n[cache]\n    dir = {shared}\n")
    with Repo(str(root)) as repo:
        cache = tmp_path / repo.cache.local.path
    assert cache == shared / "files/md5"
    inside = store(cache, b"inside", corrupted=b"1nside")
    listing = json.dumps([{"md5": inside.parent.name + inside.name, "relpath": "a"}]).encode()
    folder, bad = store(cache, listing, ".dir"), store(cache, b"file", corrupted=b"fi1e")
    missing = "0" * 32
    theirs = store(cache, b"theirs", corrupted=b"the1rs")
    names = [path.parent.name + path.name for path in (folder, bad)]
    (root / "dvc.lock").write_text(
        "".join(f"    - path: a\n      md5: {name}\n" for name in [*names, missing])
    )
    assert sorted(objects(cache, root)) == sorted([inside, folder, bad])
    assert sorted(remove_corrupted(cache, root)) == sorted([inside, bad])
    assert theirs.exists()


@pytest.mark.parametrize("linked", [".dvc/cache", ".dvc/cache/files"])
def test_a_cache_that_is_a_link_is_a_teams(tmp_path, linked):
    root, shared = tmp_path / "project", tmp_path / "shared"
    link = root / linked
    link.parent.mkdir(parents=True)
    shared.mkdir()
    link.symlink_to(shared)
    cache = root / ".dvc/cache/files/md5"
    ours = store(cache, b"ours", corrupted=b"0urs")
    theirs = store(cache, b"theirs", corrupted=b"the1rs")
    (root / "dvc.lock").write_text(f"    - path: a\n      md5: {ours.parent.name}{ours.name}\n")
    assert objects(cache, root) == [ours]
    assert remove_corrupted(cache, root) == [ours]
    assert theirs.exists()


def test_the_own_cache_of_a_checkout_that_is_reached_by_a_link_is_its_own(tmp_path):
    (tmp_path / "project").mkdir()
    root = tmp_path / "link"
    root.symlink_to(tmp_path / "project")
    cache = tmp_path / "project/.dvc/cache/files/md5"
    bad = store(cache, b"ours", corrupted=b"0urs")
    assert remove_corrupted(cache, root) == [bad]


def test_truncated_files_of_dvc_are_removed(repo, tmp_path):
    lock, rwlock = tmp_path / "project/dvc.lock", tmp_path / "project/.dvc/tmp/rwlock"
    digit = re.search(r"md5: [1-9]", LOCK)  # of which YAML makes a number
    ends = ["schema: '2.0'", "generate:", "md5:", "params:", "params.yaml:\n", "outs:\n"]
    cuts = [0, 5, digit.end(), *(LOCK.index(end) + len(end) for end in ends)]
    for cut in cuts:
        lock.write_text(LOCK[:cut])
        assert remove_truncated(repo) == [lock], LOCK[:cut]
        assert not lock.exists()
    for content in ("", '{"read": {"/data'):
        rwlock.write_text(content)
        assert remove_truncated(repo) == [rwlock], content
        assert not rwlock.exists()
    # Complete, or complete enough for DVC.
    lock.write_text(LOCK)
    rwlock.write_text("{}")
    assert remove_truncated(repo) == []
    lock.write_text(LOCK[: LOCK.index("  report:\n")])
    shutil.rmtree(rwlock.parent)
    assert remove_truncated(repo) == []


@pytest.mark.slow
def test_an_empty_folder_in_the_cache_of_runs_is_removed(repo, tmp_path):
    """DVC, killed between making it and writing into it, cannot run that stage again."""
    root = tmp_path / "project"
    (root / "dvc.yaml").write_text("stages: {one: {cmd: echo 1 > one, deps: [dep], outs: [one]}}")
    (root / "dep").touch()
    command = [sys.executable, "-m", "dvc", "repro"]
    subprocess.run(command, cwd=root, check=True)
    [run] = (root / ".dvc/cache/runs").glob("*/*/*")
    run.unlink()
    (root / "dvc.lock").unlink()
    failed = subprocess.run(command, cwd=root, stderr=subprocess.PIPE, text=True)
    assert failed.returncode and "join() argument must be str" in failed.stderr
    assert remove_truncated(repo) == [run.parent]
    subprocess.run(command, cwd=root, check=True)
    assert run.exists()
    assert remove_truncated(repo) == []


def test_a_new_empty_folder_in_a_teams_cache_of_runs_stays(tmp_path):
    """Somebody may be about to write into it."""
    root, shared = tmp_path / "project", tmp_path / "shared"
    cache = root / ".dvc/cache"
    cache.parent.mkdir(parents=True)
    new, old = shared / "runs/ab/abcd", shared / "runs/ab/abce"
    new.mkdir(parents=True)
    old.mkdir()
    an_hour_ago = time.time() - 3600
    os.utime(old, (an_hour_ago, an_hour_ago))
    cache.symlink_to(shared)
    assert remove_empty_runs(cache / "runs", root) == [cache / "runs/ab/abce"]
    assert new.exists() and not old.exists()


@pytest.fixture
def anonymous(monkeypatch):
    """The user of a container that was started by `docker run -u 12345`."""

    def getpwuid(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", getpwuid)
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)


def ends_with(message):
    """What a tool ends with whose user made a mistake: no traceback."""
    return pytest.raises(SystemExit, match=re.escape(f"error: {message}"))


def test_a_user_without_a_name_is_told_what_to_set(anonymous, monkeypatch):
    with ends_with("this user has no name, which DVC needs"), verify.exit_on_user_error():
        verify.main()
    monkeypatch.setenv("USER", "somebody")
    verify.check_user()


def test_a_user_without_a_home_folder_is_told_what_to_set(anonymous, monkeypatch):
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.delenv("HOME")
    with ends_with("this user has no home folder"), verify.exit_on_user_error():
        verify.main()


def test_a_store_that_cannot_be_used_gives_one_sentence(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite://")
    with ends_with("MLFLOW_TRACKING_URI is sqlite://"), verify.exit_on_user_error():
        verify.main()


def test_a_lock_that_is_not_truncated_waits_for_its_user(repo, tmp_path):
    lock = tmp_path / "project/dvc.lock"
    merging = LOCK.replace("stages:\n", "stages:\n<<<<<<< HEAD\n", 1).replace(
        "  deps:", "=======\n>>>>>>> other\n  deps:"
    )
    later = LOCK.replace("'2.0'", "'3.0'", 1)
    for content in (
        merging,
        later,
        f"<<<<<<< HEAD\n{LOCK}=======\n{later}>>>>>>> other\n",
        "[unfinished",
    ):
        lock.write_text(content)
        assert remove_truncated(repo) == []
        assert lock.read_text() == content
