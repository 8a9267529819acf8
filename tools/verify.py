"""Before `dvc repro`: checks params.yaml, and removes what DVC would stumble over or believe wrongly; it is made anew.

- A file that DVC was writing when it was killed, cut off: `dvc.lock`, `.dvc/tmp/rwlock`; or the folder that it had
  made for one in its cache of runs, and that it later cannot read empty.
- An object of DVC's cache that is not what its name says, the MD5 of its bytes: DVC believes one that is
  write-protected without reading it (dvc issue 5978), and hands it out even to a stage that has just
  written the right bytes.
- The receipt of `track`, which says that the runs are published: it must not outlive the database that holds them.

DVC does not see to params.yaml where a section was added that no stage reads.
"""

import hashlib
import json
import re
import sys
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

from bridge.stages import RECEIPT  # noqa: E402
from bridge.store import configured_store  # noqa: E402
from pipeline import paths  # noqa: E402
from pipeline.errors import UserError, exit_on_user_error  # noqa: E402
from pipeline.params import load_params  # noqa: E402

LOCK_BEGINS = "schema: '2.0'\n"


def remove_cut_off(repo):
    """Removes DVC's own files that are cut off, and the empty folders of its cache of runs.

    A dvc.lock that begins otherwise than this DVC's is another version's, and one with the
    marks of a merge waits for its user: both stay.

    Returns:
        Their paths.
    """
    removed = []
    lock = Path(repo.root_dir, paths.LOCK)
    if lock.exists() and _is_cut_off(repo, lock):
        lock.unlink()
        removed.append(lock)
    folder = Path(repo.tmp_dir)
    if (folder / RWLOCK_FILE).exists():
        with make_lock(
            str(folder / RWLOCK_LOCK),
            str(folder),
            hardlink_lock=repo.config["core"]["hardlink_lock"],
        ):
            try:
                json.loads((folder / RWLOCK_FILE).read_text("utf-8"))
            except ValueError:
                (folder / RWLOCK_FILE).unlink()
                removed.append(folder / RWLOCK_FILE)
    for folder in sorted(Path(repo.cache.legacy.path, "runs").glob("??/*")):
        with suppress(OSError):  # it has something in it
            folder.rmdir()
            removed.append(folder)
    return removed


def _is_cut_off(repo, lock):
    text = lock.read_text("utf-8", errors="replace")
    ours = LOCK_BEGINS.startswith(text) or text.startswith(LOCK_BEGINS)
    if not ours or re.search(r"^(<{7}|={7}|>{7})", text, re.MULTILINE):
        return False
    try:
        Lockfile(repo, str(lock)).load()
    except (YAMLSyntaxError, YAMLValidationError):
        return True
    return not text.endswith(
        "\n"
    )  # what is left may have a meaning, and DVC stumble later: half an MD5 is a number


def objects(cache, root):
    """Paths of the objects in a cache: of all in the checkout's own, else of those that its dvc.lock names.

    A cache elsewhere may be a team's, with terabytes of others.
    """
    if cache.is_relative_to(root):
        return sorted(cache.glob("??/*"))
    try:
        names = re.findall(
            r"\bmd5: ([0-9a-f]{32}(?:\.dir)?)$",
            (root / paths.LOCK).read_text("utf-8"),
            re.MULTILINE,
        )
    except FileNotFoundError:
        names = []
    for name in [name for name in names if name.endswith(".dir")]:
        try:
            names += [
                entry["md5"]
                for entry in json.loads((cache / name[:2] / name[2:]).read_text("utf-8"))
            ]
        except (OSError, ValueError, LookupError, TypeError):  # not there, or spoiled itself
            continue
    return [
        path
        for path in (cache / name[:2] / name[2:] for name in sorted(set(names)))
        if path.exists()
    ]


def remove_spoiled(cache, root):
    """Removes the objects of a cache (`.dvc/cache/files/md5`) whose bytes are not what their name says.

    Returns:
        Their paths.
    """
    spoiled = []
    for path in objects(cache, root):
        name = re.fullmatch(r"([0-9a-f]{30})(\.dir)?", path.name)
        if name:
            with path.open("rb") as file:
                digest = hashlib.file_digest(
                    file, lambda: hashlib.md5(usedforsecurity=False)
                ).hexdigest()
            if digest != path.parent.name + name[1]:
                path.unlink()
                spoiled.append(path)
    return spoiled


def main():
    root = paths.ROOT
    load_params(root)
    store = configured_store(root, "")
    if store.file and not store.file.exists():
        (root / RECEIPT).unlink(missing_ok=True)
    try:
        with Repo(str(root)) as repo:
            for path in remove_cut_off(repo):
                print(
                    f"removed {paths.shown(path)}, which was cut off: dvc repro goes on from the cache"
                )
            for path in remove_spoiled(Path(repo.cache.local.path), root):
                print(f"removed {paths.shown(path)}, which was spoiled: dvc repro makes it anew")
    except (DvcException, SCMError) as error:
        raise UserError(f"DVC: {error}") from None


if __name__ == "__main__":
    with exit_on_user_error():
        main()
