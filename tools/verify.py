"""Before `dvc repro`: checks params.yaml, and removes what DVC would believe wrongly, so that it is made anew.

DVC sees nothing to do where a section was added to params.yaml that no stage reads, and
it believes an object that is write-protected without reading it (dvc issue 5978): it
hands it out for ever, even to a stage that has just written the right bytes. Every object
is named after the MD5 of its bytes, so reading it tells. A cache that was moved out of
`.dvc/cache` by a setting of DVC's own is not looked at. The receipt of `track` says that
the runs are published: it must not outlive the database that holds them.
"""

import hashlib
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bridge.stages import RECEIPT  # noqa: E402
from bridge.store import configured_store  # noqa: E402
from pipeline import paths  # noqa: E402
from pipeline.errors import plain_errors  # noqa: E402
from pipeline.params import load_params  # noqa: E402


def remove_spoiled(cache):
    """Removes the objects below `cache` (`.dvc/cache/files/md5`) whose bytes are not what their name says.

    Returns:
        Their paths.
    """
    spoiled = []
    for path in sorted(cache.glob("??/*")):
        name = re.fullmatch(r"([0-9a-f]{30})(\.dir)?", path.name)
        if name:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if digest != path.parent.name + name[1]:
                path.unlink()
                spoiled.append(path)
    return spoiled


def main():
    load_params(paths.ROOT)
    store = configured_store(paths.ROOT, "")
    if store.file and not store.file.exists():
        (paths.ROOT / RECEIPT).unlink(missing_ok=True)
    for path in remove_spoiled(paths.ROOT / ".dvc/cache/files/md5"):
        print(f"removed {paths.shown(path)}, which was spoiled: dvc repro makes it anew")


if __name__ == "__main__":
    with plain_errors():
        main()
