"""Run the stages on other CPUs and with other NumPys, and print a Markdown table of the hashes.

Usage: python maintenance/portability.py [--folder FOLDER] [PYTHON ...]

It needs Linux on x86-64, and from Debian or Ubuntu qemu-user, apt-get and dpkg-deb (no root).
Python and its libraries for Arm come from the same two sources as everywhere: the distribution's
packages and pip. Each PYTHON is another interpreter to try, with the newest NumPy that it can
have. Downloads (300 MB) go to FOLDER, or else to a folder that is removed at the end. It takes
five minutes, and the downloads. The exit code is 1 if a hash differs.
"""

import argparse
import datetime
import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Emulated, the full run takes hours.
CHANGES = ["train_mlp.iterations=300", "plot.grid=60", "plot.dpi=60"]

X86 = ["Nehalem", "Haswell", "Skylake-Server", "EPYC"]
ARM = ["cortex-a53", "neoverse-n1", "max"]  # max: with the vectors of variable length (SVE)
NUMPYS = ["1.23.5", "1.26.4", "2.2.6"]  # and the one of requirements.lock
LIBRARIES = [
    *["numpy", "matplotlib", "pillow", "contourpy", "cycler", "fonttools", "kiwisolver"],
    *["packaging", "pyparsing", "python-dateutil", "six", "msgspec", "ruamel.yaml", "tqdm"],
    *["markdown-it-py", "mdurl", "jinja2", "markupsafe"],
]

# Columns of the table: a file counts for the first whose pattern it fits.
GROUPS = {
    "data": r"data/spirals\.csv",
    "weights, curves": r"data/.*\.(json|csv)",
    "metrics": r"reports/.*\.(json|csv)",
    "pictures": r".*\.(png|gif)",
    "report": r"reports/.*\.(md|html)",
    "plain NumPy": "plain NumPy",
}
USERS_SETTINGS = ("OPENBLAS_", "OMP_", "NPY_", "PYTHON", "MPL", "QEMU_")

# Prints the instruction sets that NumPy chooses at run time on this CPU.
SIMD = """
from numpy._core import _multiarray_umath as core
print(*(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]))
"""


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    name: str
    command: list[str]  # that starts Python
    environment: dict[str, str] = field(default_factory=dict)


class StagesFailed(Exception):
    """The stages did not run in a setting; says why."""


def run(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command with none of the user's settings for NumPy, Python and OpenBLAS."""
    cleaned = {}
    for key, value in os.environ.items():
        if not key.startswith(USERS_SETTINGS):
            cleaned[key] = value
    cleaned |= environment or {}
    return subprocess.run(command, env=cleaned, capture_output=True, text=True, timeout=3600)


def output(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the output of a command; if it fails, end the program with its output."""
    done = run(command, environment)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}error: {' '.join(command)} failed")
    return done.stdout.strip()


def pip_install(folder: Path, *arguments: str, python: str = sys.executable) -> str:
    """Install wheels into a folder of their own, once; return its path."""
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    if not folder.exists():
        output(*pip, "--only-binary=:all:", "--target", str(folder), *arguments)
    return str(folder)


def pinned(*others: str) -> list[str]:
    """Return the libraries, except for some, in the versions that are installed here."""
    return [f"{name}=={metadata.version(name)}" for name in LIBRARIES if name not in others]


def unpack_arm_python(root: Path, apt: Path) -> None:
    """Unpack Debian's packages of Python for Arm into a folder.

    apt-get is given a state of its own, so that the machine's is not touched.
    """
    for name in ("lists/partial", "archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Debug::NoLocking": 1,
    }
    get = ["apt-get", *(f"-o{key}={value}" for key, value in options.items()), "--quiet"]
    install = [*get, "--yes", "--download-only", "--no-install-recommends", "install"]
    output(*get, "update")
    output(*install, "python3", "libstdc++6")
    for package in sorted((apt / "archives").glob("*.deb")):
        output("dpkg-deb", "--extract", str(package), str(root))


def arm_settings(folder: Path) -> Iterator[Setting]:
    """Return the settings of emulated Arm, with the library versions that are installed here."""
    root = folder / "root"
    if not root.exists():
        unpack_arm_python(root, folder / "apt")
    interpreters = []
    for path in sorted((root / "usr/bin").glob("python3.*")):
        if path.name.removeprefix("python3.").isdigit():
            interpreters.append(path)
    interpreter = interpreters[0]
    version = interpreter.name.removeprefix("python")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (28, 27, 26, 17)]
    platforms.append("--platform=manylinux2014_aarch64")
    python = ["--python-version", version, "--implementation", "cp"]
    site = pip_install(folder / "site", *python, *platforms, *pinned())
    environment = {"PYTHONPATH": site, "PYTHONHOME": str(root / "usr")}
    qemu = ["qemu-aarch64", "-L", str(root)]
    full_version = output(*qemu, str(interpreter), "--version", environment=environment)
    for cpu in ARM:
        command = [*qemu, "-cpu", cpu, str(interpreter)]
        yield Setting(f"Arm {cpu} (emulated), {full_version}", command, environment)


def other_python(folder: Path, python: str) -> Setting:
    """Return the setting of another interpreter, with the newest NumPy that it can have."""
    version = output(python, "-c", "import platform; print(platform.python_version())")
    site = pip_install(folder / f"python-{version}", "numpy", *pinned("numpy"), python=python)
    environment = {"PYTHONPATH": site}
    newest = output(python, "-c", "import numpy; print(numpy.__version__)", environment=environment)
    return Setting(f"Python {version}, NumPy {newest}", [python], environment)


def settings(folder: Path, pythons: Sequence[str]) -> Iterator[Setting]:
    """Return the settings to compare; all others are compared with the first."""
    here = [sys.executable]
    version = f"Python {platform.python_version()}, NumPy {metadata.version('numpy')}"
    yield Setting(f"this machine, {version}", here)
    kernel = {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}
    yield Setting("OpenBLAS kernel Nehalem, one thread", here, kernel)
    simd = output(*here, "-c", SIMD)
    yield Setting("NumPy's SIMD off", here, {"NPY_DISABLE_CPU_FEATURES": simd})
    for numpy in NUMPYS:
        site = pip_install(folder / f"numpy-{numpy}", f"numpy=={numpy}")
        yield Setting(f"NumPy {numpy}", here, {"PYTHONPATH": site})
    for python in pythons:
        yield other_python(folder, python)
    for cpu in X86:
        yield Setting(f"{cpu} (emulated)", ["qemu-x86_64", "-cpu", cpu, *here])
    yield from arm_settings(folder / "arm64")


def run_stages(setting: Setting, folder: Path) -> dict[str, str]:
    """Run the stages, and return the hashes by file.

    Raises:
        StagesFailed: they did not run.
    """
    # Matplotlib's list of fonts, which takes long to write, is kept for each kind of CPU.
    fonts = folder.parent / f"matplotlib-{Path(setting.command[0]).name}"
    environment = {**setting.environment, "MPLCONFIGDIR": str(fonts)}
    script = str(ROOT / "maintenance" / "run_stages.py")
    done = run([*setting.command, script, str(folder), *CHANGES], environment)
    if done.returncode != 0:
        lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        raise StagesFailed(lines[-1])
    hashes = {}
    for line in done.stdout.splitlines():
        md5, _, name = line.partition(" ")
        hashes[name] = md5
    return hashes


def find_group(name: str) -> str:
    """Return the column that a file counts for."""
    for group, pattern in GROUPS.items():
        if re.fullmatch(pattern, name):
            return group
    raise ValueError(f"{name} belongs to no column")


def group_hashes(hashes: Mapping[str, str]) -> list[str]:
    """Return one short hash for each column."""
    digests = {group: hashlib.md5(usedforsecurity=False) for group in GROUPS}
    for name, md5 in sorted(hashes.items()):
        digests[find_group(name)].update(f"{md5} {name}\n".encode())
    return [digest.hexdigest()[:6] for digest in digests.values()]


def print_head() -> None:
    commit = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    shown = ("numpy", "matplotlib", "pillow")
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in shown)
    print(f"- Date: {datetime.date.today()}, commit {commit}")
    print(f"- This machine: {model[1] if model else 'x86-64'}, {system}")
    print(f"- Versions: Python {platform.python_version()}, {libraries}")
    print(f"- Emulator: {output('qemu-x86_64', '--version').splitlines()[0]}")
    print(f"- Parameters: those of params.yaml, but {', '.join(CHANGES)}\n")
    print(f"| setting | {' | '.join(GROUPS)} | result | s |")
    print("|---" * (len(GROUPS) + 3) + "|", flush=True)


def compare(expected: Mapping[str, str], hashes: Mapping[str, str]) -> str:
    """Return "same", or which files differ."""
    differing = []
    for name, md5 in expected.items():
        if name != "plain NumPy" and hashes.get(name) != md5:
            differing.append(name)
    return "differs: " + ", ".join(differing) if differing else "same"


def compare_all(folder: Path, pythons: Sequence[str]) -> bool:
    """Print the table; return whether all is the same."""
    print_head()
    expected: dict[str, str] = {}
    all_same = True
    for setting in settings(folder, pythons):
        start = time.monotonic()
        cells = ["-"] * len(GROUPS)
        try:
            with tempfile.TemporaryDirectory(dir=folder) as results:
                hashes = run_stages(setting, Path(results))
            expected = expected or hashes
            cells = group_hashes(hashes)
            result = compare(expected, hashes)
        except StagesFailed as error:
            if not expected:
                sys.exit(f"error: the run that all others are compared with failed: {error}")
            result = f"failed: {error}"
        all_same = all_same and result == "same"
        seconds = time.monotonic() - start
        print(f"| {setting.name} | {' | '.join(cells)} | {result} | {seconds:.0f} |", flush=True)
    return all_same


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path)
    parser.add_argument("pythons", metavar="PYTHON", nargs="*")
    arguments = parser.parse_args()
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        all_same = compare_all(arguments.folder.resolve(), arguments.pythons)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            all_same = compare_all(Path(temporary), arguments.pythons)
    sys.exit(not all_same)


if __name__ == "__main__":
    main()
