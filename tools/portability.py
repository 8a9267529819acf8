"""Runs the stages on other CPUs and with other NumPys, and prints a Markdown table of the hashes.

Usage: python tools/portability.py [--folder FOLDER] [PYTHON ...]

Needs Linux on x86-64, and from Debian or Ubuntu qemu-user, apt-get and dpkg-deb (no root).
Python and its libraries for Arm come from the same two sources as everywhere: the
distribution's packages and pip. Each PYTHON is another interpreter to try, with the newest
NumPy that it can have. Downloads (300 MB) go to FOLDER, or else to a folder that is removed
at the end. Takes five minutes, and the downloads. Exit code 1 if a hash differs.
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
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGES = [
    "train_mlp.iterations=300",
    "plot.grid=60",
    "plot.dpi=60",
]  # emulated, the full run takes hours

X86 = ["Nehalem", "Haswell", "Skylake-Server", "EPYC"]
ARM = ["cortex-a53", "neoverse-n1", "max"]  # max: with the vectors of variable length (SVE)
NUMPYS = ["1.23.5", "1.26.4", "2.2.6"]  # and the one of requirements.lock
LIBRARIES = """numpy matplotlib pillow contourpy cycler fonttools kiwisolver packaging pyparsing python-dateutil six
    msgspec ruamel.yaml tqdm markdown-it-py mdurl jinja2 markupsafe""".split()

GROUPS = {
    "data": r"data/spirals\.csv",
    "weights, curves": r"data/.*\.(json|csv)",
    "metrics": r"reports/.*\.(json|csv)",
    "pictures": r".*\.(png|gif)",
    "report": r"reports/.*\.(md|html)",
    "plain NumPy": "plain NumPy",
}


def run(*command, timeout=3600, **environment):
    """A finished process; of the user's settings, none that NumPy, Python or OpenBLAS heed."""
    heeded = ("OPENBLAS_", "OMP_", "NPY_", "PYTHON", "MPL", "QEMU_")
    ours = {key: value for key, value in os.environ.items() if not key.startswith(heeded)}
    return subprocess.run(
        command, env={**ours, **environment}, capture_output=True, text=True, timeout=timeout
    )


def output(*command, **environment):
    done = run(*command, **environment)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}error: {' '.join(command)} failed")
    return done.stdout.strip()


def pip_install(folder, *arguments, python=sys.executable):
    """Installs wheels into a folder of their own; returns its path."""
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--no-compile",
    ]
    if not folder.exists():
        output(*pip, "--target", str(folder), *arguments)
    return str(folder)


def pinned(*others):
    """The libraries in the versions that are installed here."""
    return [f"{name}=={metadata.version(name)}" for name in LIBRARIES if name not in others]


def arm_python(folder):
    """Python for Arm: Debian's packages, unpacked, and the wheels of the versions that are installed here.

    apt-get is given a state of its own, so that the machine's is not touched.

    Returns:
        The command up to qemu's own options, the interpreter, and the environment it needs.
    """
    root, apt = folder / "root", folder / "apt"
    if not root.exists():
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
        output(*get, "update")
        output(
            *get,
            "--yes",
            "--download-only",
            "--no-install-recommends",
            "install",
            "python3",
            "libstdc++6",
        )
        for package in sorted((apt / "archives").glob("*.deb")):
            output("dpkg-deb", "--extract", str(package), str(root))
    interpreter = next(
        path for path in sorted((root / "usr/bin").glob("python3.*")) if path.name[8:].isdigit()
    )
    glibc = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (28, 27, 26, 17)]
    version = [
        "--python-version",
        interpreter.name.removeprefix("python"),
        "--implementation",
        "cp",
    ]
    site = pip_install(
        folder / "site", *version, *glibc, "--platform=manylinux2014_aarch64", *pinned()
    )
    return (
        ["qemu-aarch64", "-L", str(root)],
        str(interpreter),
        {"PYTHONPATH": site, "PYTHONHOME": str(root / "usr")},
    )


def settings(folder, pythons):
    """What is compared: a name, the command that starts Python, and its environment. The first is the measure."""
    here = [sys.executable]
    version = f"Python {platform.python_version()}, NumPy {metadata.version('numpy')}"
    yield f"this machine, {version}", here, {}
    yield (
        "OpenBLAS kernel Nehalem, one thread",
        here,
        {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"},
    )
    yield "NumPy's SIMD off", here, {"NPY_DISABLE_CPU_FEATURES": output(*here, "-c", ENABLED)}
    for numpy in NUMPYS:
        yield (
            f"NumPy {numpy}",
            here,
            {"PYTHONPATH": pip_install(folder / f"numpy-{numpy}", f"numpy=={numpy}")},
        )
    for python in pythons:
        version = output(python, "-c", "import platform; print(platform.python_version())")
        site = pip_install(folder / f"python-{version}", "numpy", *pinned("numpy"), python=python)
        newest = output(python, "-c", "import numpy; print(numpy.__version__)", PYTHONPATH=site)
        yield f"Python {version}, NumPy {newest}", [python], {"PYTHONPATH": site}
    for cpu in X86:
        yield f"{cpu} (emulated)", ["qemu-x86_64", "-cpu", cpu, *here], {}
    qemu, interpreter, environment = arm_python(folder / "arm64")
    version = output(*qemu, interpreter, "--version", **environment)
    for cpu in ARM:
        yield f"Arm {cpu} (emulated), {version}", [*qemu, "-cpu", cpu, interpreter], environment


ENABLED = """
from numpy._core import _multiarray_umath as core
print(*(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]))
"""


def hashes(command, environment, folder):
    """Runs the stages; returns the hashes by file, or None and the end of what it said."""
    fonts = {
        "MPLCONFIGDIR": str(folder.parent / f"matplotlib-{Path(command[0]).name}")
    }  # a cache, slow to make
    done = run(
        *command, str(ROOT / "tools/run_stages.py"), str(folder), *CHANGES, **environment, **fonts
    )
    if done.returncode != 0:
        return None, (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]
    return {
        name: md5 for md5, name in (line.split(" ", 1) for line in done.stdout.splitlines())
    }, None


def grouped(found):
    """One short hash for each column; a file counts for the first whose pattern it fits."""
    digests = {group: hashlib.md5(usedforsecurity=False) for group in GROUPS}
    for name, md5 in sorted(found.items()):
        group = next(group for group, pattern in GROUPS.items() if re.fullmatch(pattern, name))
        digests[group].update(f"{md5} {name}\n".encode())
    return [digest.hexdigest()[:6] for digest in digests.values()]


def print_head():
    commit = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    libraries = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("numpy", "matplotlib", "pillow")
    )
    print(f"- Date: {datetime.date.today()}, commit {commit}")
    print(
        f"- This machine: {model[1] if model else 'x86-64'}, {platform.freedesktop_os_release()['PRETTY_NAME']}"
    )
    print(f"- Versions: Python {platform.python_version()}, {libraries}")
    print(f"- Emulator: {output('qemu-x86_64', '--version').splitlines()[0]}")
    print(f"- Parameters: those of params.yaml, but {', '.join(CHANGES)}\n")
    print(f"| setting | {' | '.join(GROUPS)} | result | s |")
    print("|---" * (len(GROUPS) + 3) + "|", flush=True)


def main(folder, pythons):
    print_head()
    first, all_same = None, True
    for number, (name, command, environment) in enumerate(settings(folder, pythons)):
        start = time.monotonic()
        with tempfile.TemporaryDirectory(dir=folder) as results:
            found, trouble = hashes(command, environment, Path(results))
        cells = grouped(found) if found else ["-"] * len(GROUPS)
        if found and number == 0:
            first = found
        if not first:
            sys.exit(f"error: the run that all others are compared with failed: {trouble}")
        differing = [
            path
            for path in first
            if found and path != "plain NumPy" and found.get(path) != first[path]
        ]
        result = (
            "failed: " + trouble
            if trouble
            else "differs: " + ", ".join(differing)
            if differing
            else "same"
        )
        all_same = all_same and result == "same"
        print(
            f"| {name} | {' | '.join(cells)} | {result} | {time.monotonic() - start:.0f} |",
            flush=True,
        )
    sys.exit(not all_same)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path)
    parser.add_argument("pythons", metavar="PYTHON", nargs="*")
    given = parser.parse_args()
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
        main(given.folder.resolve(), given.pythons)
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary), given.pythons)
