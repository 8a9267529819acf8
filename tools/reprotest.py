"""Runs the stages twice by reprotest, the second time in another setting of everything that it varies, and compares.

It is the tool of the Reproducible Builds project, in Debian and Ubuntu (`apt install reprotest`); it varies home,
locale, time zone, clock, umask, path, number of CPUs, kernel's name, order of files and some more. On top come the
settings of tests/test_settings.py, as many as can be had at once. Exit code 1 if a byte differs.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from test_settings import HERE, SETTINGS, write_files  # noqa: E402

SOURCES = ["src", "tools", "params.yaml", "reference", "requirements.lock"]
CHANGES = ["train_mlp.iterations=1000", "plot.grid=60"]
ITS_OWN = {"HOME", "LC_ALL", "LANGUAGE", "TZ", "umask"}


def main():
    if not shutil.which("reprotest"):
        sys.exit("error: reprotest is not installed: apt install reprotest, on Debian or Ubuntu")
    with tempfile.TemporaryDirectory() as folder:
        variables = {}
        for setting, files in SETTINGS.values():
            variables |= {
                key: value.replace(HERE, folder)
                for key, value in setting.items()
                if key not in ITS_OWN
            }
            write_files(Path(folder), files)
        # To reprotest a value is a regular expression, and comma and semicolon have meanings.
        escaped = [f"{key}={re.escape(value)}" for key, value in variables.items()]
        varied = ";".join(text.replace(",", r"\x2c").replace(";", r"\x3b") for text in escaped)
        done = subprocess.run(
            [
                *[
                    "reprotest",
                    "--verbose",
                    "--no-diffoscope",
                    f"--source-pattern={' '.join(SOURCES)}",
                ],
                f"--vary=-user_group,environment.variables+={varied}",  # another user could not read .venv
                f"--build-command={sys.executable} -E tools/run_stages.py made {' '.join(CHANGES)}",
                *[str(ROOT), "made/data/* made/reports/*"],
            ]
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
