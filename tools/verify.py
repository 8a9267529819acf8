"""Before `dvc repro`: check params.yaml, and remove files that DVC would fail at or wrongly trust.

`dvc repro` writes them again:

- A truncated file that DVC was writing when it was killed: `dvc.lock`, `.dvc/tmp/rwlock`; or an
  empty folder in its run cache, which it cannot read.
- An object of DVC's cache whose bytes do not have the MD5 that it is named after. DVC trusts a
  write-protected object without reading it (dvc issue 5978), and checks it out even for a stage
  that has just written the right bytes.
- The receipt of `track`, which says that the runs are published, if their database is gone.

DVC does not notice a section of params.yaml that no stage reads, so all of the file is checked.
"""

import getpass
import hashlib
import json
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.lock import make_lock
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError
from scmrepo.exceptions import SCMError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bridge.stages import RECEIPT
from bridge.store import configured_store
from pipeline import paths
from pipeline.errors import UserError, exit_on_user_error
from pipeline.params import load_params

LOCK_START = "schema: '2.0'\n"
MERGE_MARK = re.compile(r"^(<{7}|={7}|>{7})", re.MULTILINE)
MD5 = re.compile(r"\bmd5: ([0-9a-f]{32}(?:\.dir)?)$", re.MULTILINE)
OBJECT = re.compile(r"([0-9a-f]{30})(\.dir)?")  # file name of an object, in a folder of two digits


def check_user() -> None:
    """Raise UserError unless the user has a name and a home folder, as DVC needs.

    A container that is started with a user ID of its own, as by `docker run -u 12345`, has neither.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        raise UserError(
            "this user has no name, which DVC needs: set one with export USER=somebody"
        ) from None
    try:
        Path.home()
    except RuntimeError:
        raise UserError(
            "this user has no home folder, where DVC looks for its configuration: set one with"
            " export HOME=/tmp"
        ) from None


def remove_truncated(repo: Repo) -> list[Path]:
    """Remove DVC's own files that are truncated, and empty folders of its cache of runs.

    A dvc.lock with another first line belongs to another version of DVC, and one with merge
    conflicts waits for its user: both stay.

    Returns:
        Paths of what was removed.
    """
    removed = []
    lock = Path(repo.root_dir, paths.LOCK)
    if lock.exists() and _is_truncated_lock(repo, lock):
        lock.unlink()
        removed.append(lock)
    temporary = Path(repo.tmp_dir)
    rwlock = temporary / RWLOCK_FILE
    if rwlock.exists():
        hardlink = repo.config["core"]["hardlink_lock"]
        with make_lock(str(temporary / RWLOCK_LOCK), str(temporary), hardlink_lock=hardlink):
            try:
                json.loads(rwlock.read_text("utf-8"))
            except ValueError:
                rwlock.unlink()
                removed.append(rwlock)
    runs = Path(repo.cache.legacy.path, "runs")
    return removed + remove_empty_runs(runs, Path(repo.root_dir))


def _is_truncated_lock(repo: Repo, lock: Path) -> bool:
    text = lock.read_text("utf-8", errors="replace")
    ours = LOCK_START.startswith(text) or text.startswith(LOCK_START)
    if not ours or MERGE_MARK.search(text):
        return False
    try:
        Lockfile(repo, str(lock)).load()
    except (YAMLSyntaxError, YAMLValidationError):
        return True
    # A truncated file may still be valid, and DVC fails later: half an MD5 may be a number.
    return not text.endswith("\n")


def remove_empty_runs(cache: Path, root: Path) -> list[Path]:
    """Remove the empty folders of a cache of runs.

    In a shared cache a new one stays: somebody may be about to write into it.

    Args:
        cache: its folder `runs`.
        root: of the checkout.

    Returns:
        Paths of what was removed.
    """
    youngest = time.time() if is_own(cache, root) else time.time() - 60  # seconds
    removed = []
    for folder in sorted(cache.glob("??/*")):
        with suppress(OSError):  # it is not empty
            if folder.stat().st_mtime <= youngest:
                folder.rmdir()
                removed.append(folder)
    return removed


def is_own(cache: Path, root: Path) -> bool:
    """Return whether a cache is the checkout's own; one that lies elsewhere may be a team's."""
    return cache.resolve().is_relative_to(root.resolve())


def objects(cache: Path, root: Path) -> list[Path]:
    """Return paths of objects in a cache.

    Args:
        cache: its folder `files/md5`.
        root: of the checkout.

    Returns:
        All objects of the checkout's own cache; of another one, which may hold terabytes, only the
        objects that the checkout's dvc.lock names.
    """
    if is_own(cache, root):
        return sorted(cache.glob("??/*"))
    try:
        names = set(MD5.findall((root / paths.LOCK).read_text("utf-8")))
    except FileNotFoundError:
        return []
    for name in [*names]:
        if name.endswith(".dir"):
            names |= _names_in_folder(cache / name[:2] / name[2:])
    named = [cache / name[:2] / name[2:] for name in sorted(names)]
    return [path for path in named if path.exists()]


def _names_in_folder(listing: Path) -> set[str]:
    """Return the names of the files in a folder, of which DVC's cache holds a listing."""
    try:
        return {entry["md5"] for entry in json.loads(listing.read_text("utf-8"))}
    except (OSError, ValueError, LookupError, TypeError):  # missing, or corrupted itself
        return set()


def remove_corrupted(cache: Path, root: Path) -> list[Path]:
    """Remove the objects of a cache whose bytes do not have the MD5 that they are named after.

    Args:
        cache: its folder `files/md5`.
        root: of the checkout.

    Returns:
        Paths of what was removed.
    """
    corrupted = [path for path in objects(cache, root) if _is_corrupted(path)]
    for path in corrupted:
        path.unlink()
    return corrupted


def _is_corrupted(path: Path) -> bool:
    name = OBJECT.fullmatch(path.name)
    if not name:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() != path.parent.name + name[1]


def main() -> None:
    root = paths.ROOT
    load_params(root)
    store = configured_store(root, "")
    if store.file and not store.file.exists():
        (root / RECEIPT).unlink(missing_ok=True)
    check_user()
    try:
        with Repo(str(root)) as repo:
            for path in remove_truncated(repo):
                shown = paths.shown(path)
                print(f"removed {shown}, which was truncated: dvc repro resumes from the cache")
            for path in remove_corrupted(Path(repo.cache.local.path), root):
                shown = paths.shown(path)
                print(f"removed {shown}, which was corrupted: dvc repro writes it again")
    except (DvcException, SCMError) as error:
        raise UserError(f"DVC: {error}") from None


if __name__ == "__main__":
    with exit_on_user_error():
        main()
