"""Run the stages twice by reprotest, in two settings of everything that it varies, and compare.

It is the tool of the Reproducible Builds project, in Debian and Ubuntu (`apt install reprotest`).
It varies home, locale, time zone, clock, umask, path, number of CPUs, name of the kernel, order of
files and some more. On top come the settings of tests/test_settings.py, as many as can be had at
once. The exit code is 1 if a byte differs.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from test_settings import HERE, SETTINGS, write_files

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["src", "maintenance", "params.yaml", "reference", "requirements.lock"]
CHANGES = ["train_mlp.iterations=1000", "plot.grid=60"]
VARIED_BY_REPROTEST = {"HOME", "LC_ALL", "LANGUAGE", "TZ", "umask"}


def write_settings(folder: Path) -> dict[str, str]:
    """Write the files of all settings into a folder; return their variables."""
    variables = {}
    for setting, files in SETTINGS.values():
        for key, value in setting.items():
            if key not in VARIED_BY_REPROTEST:
                variables[key] = value.replace(HERE, str(folder))
        write_files(folder, files)
    return variables


def escape(text: str) -> str:
    """Return text without a comma or semicolon, which have meanings to reprotest."""
    return text.replace(",", r"\x2c").replace(";", r"\x3b")


def main() -> None:
    if not shutil.which("reprotest"):
        sys.exit("error: reprotest is not installed: apt install reprotest, on Debian or Ubuntu")
    with tempfile.TemporaryDirectory() as folder:
        settings = []
        for key, value in write_settings(Path(folder)).items():
            settings.append(escape(f"{key}={re.escape(value)}"))  # a value is a regular expression
        varied = ";".join(settings)
        build = f"{sys.executable} -E maintenance/run_stages.py made {' '.join(CHANGES)}"
        command = [
            "reprotest",
            "--verbose",
            "--no-diffoscope",
            f"--source-pattern={' '.join(SOURCES)}",
            # Another user could not read .venv.
            f"--vary=-user_group,environment.variables+={varied}",
            f"--build-command={build}",
            str(ROOT),
            "made/data/* made/reports/*",
        ]
        done = subprocess.run(command)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
