"""No setting of a user's reaches a byte of a stage's output, nor prints a warning.

A table of settings is run through the stages. As a control every setting is also given to the
libraries themselves, where it must show.
"""

import ast
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALLEST = [
    "generate.points_per_class=20",
    "train_linear.iterations=20",
    "train_mlp.iterations=20",
    "train_mlp.hidden_units=10",
    "evaluate.points_per_class=20",
    "plot.grid=20",
    "plot.dpi=50",
]

# Prints what the libraries make of the setting by themselves.
CONTROL = """
import hashlib, io, os, sys, time
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from matplotlib import get_data_path
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

figure = Figure()
ax = figure.subplots()
ax.plot([0, 1, 3], [-1, 2, 0], label="$x_1$")
ax.imshow([[0, 1], [1, 0]])
ax.legend()
figure.savefig(drawn := io.BytesIO(), format="png", metadata={"Software": None})
letters = Image.new("L", (300, 40))
font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 20)
ImageDraw.Draw(letters).text((4, 30), "iteration 0, 98% right", 255, font, anchor="ls")
x = np.linspace(-3.0, 3.0, 30_000).reshape(300, 100)
for content in (drawn.getvalue(), letters, x @ x[:100], np.exp(x), np.sin(x)):
    content = content if isinstance(content, bytes) else content.tobytes()
    print(hashlib.md5(content).hexdigest())
figure.savefig(dated := io.BytesIO(), format="svg")
print(b"<dc:date>1970" in dated.getvalue(), Image.core.get_block_size(), matplotlib.get_backend())
# 165, inverted, is what glibc then fills memory with.
print(np.empty(9999, np.uint8).tobytes().count(90) > 9000)
print(time.localtime(0).tm_hour, sys.stdout.encoding, sys.flags, oct(os.umask(0)))
"""

MATPLOTLIBRC = """
font.family: serif
font.size: 20
lines.linewidth: 3
lines.antialiased: False
axes.prop_cycle: cycler(color=["k"])
axes.formatter.use_locale: True
axes.unicode_minus: False
axes.xmargin: 0.4
contour.linewidth: 5
figure.autolayout: True
figure.dpi: 30
image.interpolation: bilinear
image.origin: lower
legend.numpoints: 3
mathtext.fontset: cm
path.simplify: False
path.sketch: (1, 100, 2)
savefig.bbox: tight
scatter.edgecolors: red
text.antialiased: False
text.hinting: none
toolbar: toolmanager
no.such.key: 1
"""
USETEX = "text.usetex: True\npgf.texsystem: none\n"
HERE = "{here}"  # in a value or a path: the folder of the row, where it is run


def font_list(fonts):
    """Matplotlib's list of the fonts that are installed, as it lies in the user's cache."""
    entry = {
        "style": "normal",
        "variant": "normal",
        "weight": 400,
        "stretch": "normal",
        "size": "scalable",
    }
    listed = [
        {**entry, "__class__": "FontEntry", "name": name, "fname": file}
        for name, file in fonts.items()
    ]
    default = {
        "_FontManager__default_weight": "normal",
        "defaultFamily": {"ttf": "DejaVu Sans", "afm": "Helvetica"},
    }
    return json.dumps(
        {**default, "_version": 390, "__class__": "FontManager", "ttflist": listed, "afmlist": []}
    )


# What a row sets: variables, and files by path. First what changes how figures look.
LOOKS = {
    "MATPLOTLIBRC, a file": ({"MATPLOTLIBRC": f"{HERE}/mine"}, {"mine": MATPLOTLIBRC}),
    "MATPLOTLIBRC, a folder": ({"MATPLOTLIBRC": HERE + "/rc"}, {"rc/matplotlibrc": MATPLOTLIBRC}),
    "matplotlibrc in the current folder": ({}, {"matplotlibrc": MATPLOTLIBRC}),
    "matplotlibrc that is no text": ({}, {"matplotlibrc": b"\xff\xfe"}),
    "MPLCONFIGDIR": ({"MPLCONFIGDIR": HERE}, {"matplotlibrc": MATPLOTLIBRC}),
    "XDG_CONFIG_HOME": ({"XDG_CONFIG_HOME": HERE}, {"matplotlib/matplotlibrc": MATPLOTLIBRC}),
    "~/.config": ({"HOME": HERE}, {".config/matplotlib/matplotlibrc": MATPLOTLIBRC}),
    "usetex": ({"MATPLOTLIBRC": f"{HERE}/mine"}, {"mine": USETEX}),
    "styles": (
        {"MPLCONFIGDIR": HERE},
        {"stylelib/mine.mplstyle": b"\xff", "stylelib/classic.mplstyle": MATPLOTLIBRC},
    ),
    "MPLBACKEND of a notebook": ({"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, {}),
    "MPLBACKEND with a window": ({"MPLBACKEND": "tkagg"}, {}),
    "MPLBACKEND that is none": ({"MPLBACKEND": "nonsense"}, {}),
    "another DejaVu Sans": (
        {"XDG_CACHE_HOME": HERE},
        {"matplotlib/fontlist-v390.json": font_list({"DejaVu Sans": "fonts/ttf/cmb10.ttf"})},
    ),
    "no fonts": ({"XDG_CACHE_HOME": HERE}, {"matplotlib/fontlist-v390.json": font_list({})}),
    "a truncated list of fonts": (
        {"XDG_CACHE_HOME": HERE},
        {"matplotlib/fontlist-v390.json": '{"ttfl'},
    ),
    "FREETYPE_PROPERTIES": ({"FREETYPE_PROPERTIES": "truetype:interpreter-version=35"}, {}),
}
OTHERS = {
    "Pillow's blocks": ({"PILLOW_BLOCK_SIZE": "4096", "PILLOW_ALIGNMENT": "64"}, {}),
    "SOURCE_DATE_EPOCH": ({"SOURCE_DATE_EPOCH": "0"}, {}),
    "NumPy's SIMD": ({"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F X86_V3 X86_V4 ASIMDHP"}, {}),
    "OpenBLAS": (
        {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        {},
    ),
    "memory that is not zero": ({"MALLOC_PERTURB_": "165"}, {}),
    "glibc without AVX and FMA": (
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2_Usable,-AVX2,-FMA_Usable,-FMA"},
        {},
    ),
    "PYTHONSAFEPATH": ({"PYTHONSAFEPATH": "1"}, {}),
    "PYTHONPATH": (
        {"PYTHONPATH": HERE},
        {f"{name}.py": "raise SystemExit(name)" for name in ("numpy", "pipeline")},
    ),
    "PYTHONHOME": ({"PYTHONHOME": "/nowhere"}, {}),
    "PYTHONWARNINGS": (
        {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1", "PYTHONMALLOC": "debug"},
        {},
    ),
    "PYTHONOPTIMIZE": (
        {"PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "7", "PYTHONINTMAXSTRDIGITS": "640"},
        {},
    ),
    "ASCII": (
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
        {},
    ),
    "locale and time zone": ({"LC_ALL": "C", "LANGUAGE": "de", "TZ": "Asia/Kathmandu"}, {}),
    "umask": ({"umask": "0o077"}, {}),
}
SETTINGS = LOOKS | OTHERS
ITSELF = {"a truncated list of fonts"}  # Matplotlib writes it again: nothing to be seen


def run(command, home, folder, umask="0o022", **variables):
    """A finished Python with these variables and no others of the user's."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **variables},
        cwd=folder,
        umask=int(umask, 8),
        capture_output=True,
        text=True,
    )


def write_files(folder, files):
    """Files by their paths below the folder, which is made too."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def stages(home, folder, **variables):
    """What the stages wrote, a line of hash and name for each file, or what they said."""
    command = ["-E", ROOT / "maintenance/run_stages.py", folder / "made", *SMALLEST]
    done = run(command, home, folder, **variables)
    if done.returncode or done.stderr:
        return f"exit code {done.returncode}: {done.stderr[-500:]}"
    return [line for line in done.stdout.splitlines() if not line.endswith("plain NumPy")]


def control(home, folder, **variables):
    done = run(["-c", CONTROL], home, folder, **variables)
    return done.returncode, done.stdout, done.stderr


def trial(run, home, folder, names):
    """Run the stages, or the control, with some rows of the table at once."""
    variables = {}
    for name in names:
        more, files = SETTINGS[name]
        write_files(folder, files)
        for key, value in more.items():
            variables[key] = value.replace(HERE, str(folder))
    home = variables.pop("HOME", home)
    return run(home, folder, **variables)


def trials(run, rows, tmp_path):
    """Run rows of names side by side, each in a folder of its own; what they gave, by row."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    rows = [("",), *rows]  # first with no setting at all
    folders = [tmp_path / f"{run.__name__} {position}" for position in range(len(rows))]
    for folder in folders:
        folder.mkdir()
    names = [tuple(name for name in row if name) for row in rows]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(partial(trial, run, home), folders, names)
        return dict(zip(names, results, strict=True))


@pytest.mark.slow
@pytest.mark.exhaustive
def test_settings_change_nothing_that_the_stages_write(tmp_path):
    # Two rows at once: neither hides the other.
    written = trials(stages, zip_longest(LOOKS, OTHERS), tmp_path)
    usual = written.pop(())
    assert len(usual) > 60
    assert {names: found for names, found in written.items() if found != usual} == {}


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_same_settings_do_reach_the_libraries(tmp_path):
    """Where nothing is done about it; else the test above would prove nothing."""
    printed = trials(control, [(name,) for name in SETTINGS], tmp_path)
    usual = printed.pop(())
    assert (usual[0], usual[2]) == (0, "")
    unseen = {name for (name,), found in printed.items() if found == usual}
    assert unseen == ITSELF


def imported_packages(path):
    """Names of the packages that a file imports, wherever in it the import stands."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name.partition(".")[0] for name in names}


FOLDERS = ("src", "tools", "maintenance")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_matplotlib_comes_from_one_place(path):
    """Else it is imported with the settings of its user."""
    assert "matplotlib" not in imported_packages(path) or path.parent.name == "pictures"


def test_make_hands_on_nothing_that_a_user_has_set_for_other_programs():
    settings = {
        "PYTHONPATH": "/other",
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "error",
        "SHELL": "/bin/false",
        "BASH_ENV": "/other",
    }
    done = subprocess.run(
        ["make", "--eval=show: ; @env", "show"],
        cwd=ROOT,
        env={**os.environ, **settings, "OTHER": "stays"},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = done.stdout.splitlines()
    assert "OTHER=stays" in shown and "SHELL=/bin/sh" in shown
    assert [line for line in shown if line.startswith(("PYTHON", "BASH_ENV"))] == []


CHECKOUT = """
import os, pathlib, conftest
made = conftest.Checkout(pathlib.Path("project"), pathlib.Path("site"))
made.root.mkdir()
made.run("git", "init", "--quiet")
made.run("git", "config", "user.name", "Test")
made.run("git", "config", "user.email", "test@example.com")
(made.root / "file").write_bytes(b"1")
made.commit()
made.run("dvc", "init")
print(made.run("dvc", "config", "--list").stdout, *os.environ, sep=chr(10))
"""
GITCONFIG = """
[commit]
    gpgsign = true
[core]
    hooksPath = {here}/hooks
"""


@pytest.mark.slow
def test_a_users_settings_reach_no_test(tmp_path):
    write_files(
        tmp_path,
        {
            ".gitconfig": GITCONFIG.replace(HERE, str(tmp_path)),
            "hooks/pre-commit": "#!/bin/sh\nexit 1\n",
            ".config/dvc/config": "[core]\n    remote = theirs\n",
        },
    )
    (tmp_path / "hooks/pre-commit").chmod(0o755)
    theirs = [
        "DVC_EXP_NAME",
        "GIT_DIR",
        "MLFLOW_RUN_ID",
        "MPLBACKEND",
        "NUMBA_DISABLE_JIT",
        "PYTHONOPTIMIZE",
    ]
    given = dict.fromkeys(theirs, "1")
    paths = os.pathsep.join(str(ROOT / name) for name in ("src", "tests", "tools/sweep"))
    done = run(["-c", CHECKOUT], tmp_path, tmp_path, PYTHONPATH=paths, **given)
    assert done.returncode == 0, done.stderr
    assert not {*theirs, "core.remote=theirs"} & set(done.stdout.split())
