"""params.yaml: every mistake ends in one plain sentence, before anything is done."""

import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from conftest import CLASSES, for_every_model, set_params, widths

from generate import generate
from pipeline import params as module
from pipeline.errors import UserError
from pipeline.params import load_params
from spirals.models import MODELS
from train import train_model

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "params.yaml").read_text()


BARE = re.sub(r" *#.*", "", TEXT)  # read in half the time


def loaded(folder, text):
    (folder / "params.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_params(folder)


def refusal(folder, text):
    """The message, which must be plain."""
    with pytest.raises(UserError) as caught:
        loaded(folder, text)
    message = str(caught.value)
    assert message.startswith("params.yaml")
    assert len(message.splitlines()) <= 3 and max(map(len, message.splitlines())) <= 250
    assert message.isprintable()
    return message


def documented():
    """Every key, its value, and the range that its comment promises, read from the text of params.yaml."""
    section = None
    for line in TEXT.splitlines():
        if found := re.match(r"(\w+):$", line):
            section = found[1]
        elif found := re.match(r"  (\w+): (\S+) +#.*; ((?:above )?\d+,? to \d+)", line):
            yield f"{section}.{found[1]}", found[2], found[3]


KEYS = list(documented())


def with_value(key, value):
    """The text of params.yaml with another value of one key."""
    section, name = key.split(".")
    head, start, tail = BARE.partition(f"\n{section}:\n")
    return head + start + re.sub(rf"(?m)^  {name}: \S+", f"  {name}: {value}", tail, count=1)


def test_every_parameter_says_its_range():
    sections = msgspec.to_builtins(load_params(ROOT))
    assert sorted(key for key, _, _ in KEYS) == sorted(
        f"{name}.{key}" for name in sections for key in sections[name]
    )


@pytest.mark.parametrize(("key", "value", "promised"), KEYS)
def test_range_is_the_one_that_the_comment_promises(key, value, promised, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda _: 2**40)  # whatever the memory of this machine
    monkeypatch.setattr(module, "MEMORY_LIMIT", tmp_path / "none")
    low, high = map(int, re.findall(r"\d+", promised))
    section, name = key.split(".")
    whole = value.isdigit()
    step = 1 if whole else 1e-9
    kind = f"{'whole number' if whole else 'number'}{'' if 'above' in promised else ' from'}"
    for allowed in [high] if "above" in promised else [low, high]:
        assert (
            getattr(getattr(loaded(tmp_path, with_value(key, allowed)), section), name) == allowed
        )
    for wrong in [low - step, high + step] + [low] * ("above" in promised):
        assert refusal(tmp_path, with_value(key, wrong)) == (
            f"params.yaml: {key} is {wrong!r}, but must be a {kind} {promised}{', digits only' * whole}"
        )


NOT_A_NUMBER = {
    ".nan": "nan",
    ".inf": "inf",
    "true": "true",
    '"3"': "the text '3'",
    "~": "empty",
    "[3]": "[3]",
}
NOR_IS = {
    "-.inf": "-inf",
    "1e999": "inf",
    "no": "the text 'no'",
    "1e": "the text '1e'",
    "": "empty",
    "{a: 3}": "{'a': 3}",
    "9" * 100: "9" * 77 + "...",
    "0x" + "f" * 5000: "too long to be shown",
}


@pytest.mark.parametrize("key", [key for key, _, _ in KEYS])
def test_types(key, tmp_path):
    for given, shown in {**NOT_A_NUMBER, **(NOR_IS if key.startswith("generate.") else {})}.items():
        assert refusal(tmp_path, with_value(key, given)).startswith(
            f"params.yaml: {key} is {shown}, but must be a "
        )


@pytest.mark.parametrize("key", [key for key, value, _ in KEYS if value.isdigit()])
def test_whole_numbers_have_neither_point_nor_exponent(key, tmp_path):
    for given, shown in {"60.0": "60.0", "1e2": "100.0", "60.5": "60.5"}.items():
        message = refusal(tmp_path, with_value(key, given))
        assert message.startswith(f"params.yaml: {key} is {shown}, but must be a whole number")


def test_numbers_may_be_written_as_yaml_1_2_allows(tmp_path):
    assert loaded(tmp_path, with_value("train_mlp.l2", "1e-3")).train_mlp.l2 == 0.001
    assert loaded(tmp_path, with_value("train_mlp.l2", "2")).train_mlp.l2 == 2.0
    assert type(loaded(tmp_path, with_value("train_mlp.l2", "2")).train_mlp.l2) is float
    assert loaded(tmp_path, TEXT.replace("\n", "\r\n")) == load_params(ROOT)
    assert loaded(tmp_path, "\ufeff" + TEXT) == load_params(ROOT)


@pytest.mark.parametrize("key", [key for key, _, _ in KEYS])
def test_missing_and_misspelt(key, tmp_path):
    section, name = key.split(".")
    head, start, tail = BARE.partition(f"\n{section}:\n")
    assert refusal(tmp_path, head + start + re.sub(rf"(?m)^  {name}: .*\n", "", tail, count=1)) == (
        f"params.yaml: {key} is missing"
    )
    misspelt = name[:2] + name[1:]
    assert refusal(tmp_path, head + start + tail.replace(f"  {name}:", f"  {misspelt}:", 1)) == (
        f"params.yaml: {section}.{misspelt} is not a parameter; did you mean {key}?"
    )


MLP = "seed, skip_draws, weight_scale, learning_rate, l2, iterations, record_every, hidden_units"
SECTIONS = ", ".join(re.findall(r"(?m)^(\w+):$", TEXT))
DEEP = (
    "[" * 77 + "..." if sys.version_info >= (3, 12) else "too long to be shown"
)  # 3.11 writes no such list
WHOLE = {
    BARE.replace("\n  hidden_units:", "\n  hiden_units:"): (
        ": train_mlp.hiden_units is not a parameter; did you mean train_mlp.hidden_units?"
    ),
    BARE.replace(
        "\ntrain_mlp:", "\ntrain_mpl:"
    ): ": train_mpl is not a parameter; did you mean train_mlp?",
    BARE.replace("\n  hidden_units:", "\n  zzz: 1\n  hidden_units:"): (
        f": train_mlp.zzz is not a parameter; allowed are {MLP}"
    ),
    BARE + "zzz: {}\n": f": zzz is not a parameter; allowed are {SECTIONS}",
    BARE + "  3: 4\n": ": plot.3 is not a parameter; allowed are grid, dpi",
    BARE + "  ~: 4\n": ": plot.None is not a parameter; allowed are grid, dpi",
    BARE + "  true: 4\n": ": plot.True is not a parameter; allowed are grid, dpi",
    BARE
    + "  '`$.plot` - at': 4\n": ": plot.`$.plot` - at is not a parameter; allowed are grid, dpi",
    BARE.replace("\nplot:", "\nplot: ~\nzzz:"): f": zzz is not a parameter; allowed are {SECTIONS}",
    BARE.partition("\nplot:")[0] + "\nplot:\n": ": plot is empty, but must hold the keys grid, dpi",
    BARE.partition("\nplot:")[0]
    + "\nplot: [400, 150]\n": ": plot is [400, 150], but must hold the keys grid, dpi",
    BARE.partition("\nplot:")[0]
    + "\nplot: &a [*a]\n": ": plot is [[...]], but must hold the keys grid, dpi",
    BARE.partition("\nplot:")[0]: ": plot is missing",
    "": f" is empty, but must hold the keys {SECTIONS}",
    "# only a comment\n": f" is empty, but must hold the keys {SECTIONS}",
    "- 1\n": f" is [1], but must hold the keys {SECTIONS}",
    "hello\n": f" is the text 'hello', but must hold the keys {SECTIONS}",
    "generate:\n  seed: 1\n  seed: 2\n": (
        ', line 3: not valid YAML: found duplicate key "seed" with value "2" (original value: "1")'
    ),
    "generate:\n  seed: [1\nplot: {}\n": ", line 3: not valid YAML: did not find expected ',' or ']'",
    "generate:\n\tseed: 1\n": ", line 2: not valid YAML: found character that cannot start any token",
    "a: 1\n--- \nb: 2\n": ", line 2: not valid YAML: but found another document",
    "a: !!python/object/apply:os.system [exit]\n": (
        ", line 1: not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/objec..."
    ),
    "a: 2001-99-99\n": ": not valid YAML: month must be in 1..12",
    "a: !!int \n": ": not valid YAML: string index out of range",
    "[" * 1000 + "]" * 1000: f" is {DEEP}, but must hold the keys {SECTIONS}",
    "[" * 1000: ", line 2: not valid YAML: did not find expected node content",
    b"a: 1\nb: \xff\n": ", line 2: not valid YAML: invalid leading UTF-8 octet",
    b"a: 1\nb: \0\n": ", line 2: not valid YAML: control characters are not allowed",
    "a: é\n".encode("utf-16")[:-1]: ", line 1: not valid YAML: incomplete UTF-16 character",
}


@pytest.mark.parametrize("text", WHOLE, ids=range(len(WHOLE)))
def test_the_file_as_a_whole(text, tmp_path):
    assert refusal(tmp_path, text) == f"params.yaml{WHOLE[text]}"


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="^cannot read params.yaml: No such file or directory$"):
        load_params(tmp_path)
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match="^cannot read params.yaml: Is a directory$"):
        load_params(tmp_path)


FEW_POINTS = {"generate.points_per_class": 2, "evaluate.points_per_class": 2}
MANY_POINTS = {"generate.points_per_class": 1_000_000}
SIZES = {
    name: [f"train_{name}.{width}" for width in widths(name)] for name in MODELS if widths(name)
}
RECORDS = {
    name: {f"train_{name}.iterations": 10**8, f"train_{name}.record_every": 1} for name in MODELS
}
TOO_LARGE = [
    *(
        (
            "take fewer points, classes or hidden units",
            {**MANY_POINTS, **dict.fromkeys(SIZES[n], 1000)},
        )
        for n in SIZES
    ),
    *(
        ("take fewer hidden units or classes", {**FEW_POINTS, **dict.fromkeys(SIZES[n], 100_000)})
        for n in SIZES
    ),
    *(("take fewer iterations, or a larger record_every", RECORDS[name]) for name in MODELS),
    ("take a smaller grid or fewer classes", {**FEW_POINTS, "plot.grid": 2000}),
]


@pytest.mark.parametrize(("advice", "changes"), TOO_LARGE)
def test_sizes_that_cannot_fit_are_refused_before_they_are_allocated(
    advice, changes, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**18}.get)  # 1 GiB
    assert loaded(tmp_path, TEXT)
    set_params(tmp_path, changes)
    tracemalloc.start()
    message = refusal(tmp_path, (tmp_path / "params.yaml").read_text())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    asked = re.fullmatch(
        r"params.yaml asks for about ([\d,.]+) GiB of memory; this machine has 1.0: (.*)", message
    )
    assert asked[2] == advice
    assert float(asked[1].replace(",", "")) > 1
    assert peak < 10_000_000


def test_the_memory_of_a_container_is_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MEMORY_LIMIT", tmp_path / "memory.max")
    module.MEMORY_LIMIT.write_text(f"{2**20}\n")
    assert "; this machine has 0.0: " in refusal(tmp_path, TEXT)
    module.MEMORY_LIMIT.write_text("max\n")
    assert loaded(tmp_path, TEXT)


@pytest.mark.parametrize("name", SIZES)
def test_the_estimate_of_memory_is_above_what_training_takes_and_not_far(
    name, tmp_path, monkeypatch
):
    (tmp_path / "params.yaml").write_text(TEXT)
    changes = {
        "generate.points_per_class": 3000,
        "plot.grid": 10,
        **for_every_model(units=1, iterations=2),
    }
    set_params(tmp_path, {**changes, **dict.fromkeys(SIZES[name], 40)})
    hidden = 40 * (32 if len(SIZES[name]) == 1 else 160 * len(SIZES[name]))
    estimate = 3000 * CLASSES * (400 + 80 * CLASSES + hidden)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": estimate}.get)
    params = load_params(tmp_path)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": estimate - 1}.get)
    refusal(tmp_path, (tmp_path / "params.yaml").read_text())
    generate(params, tmp_path)
    tracemalloc.start()
    train_model(name, getattr(params, f"train_{name}"), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert estimate / 4 < peak < estimate


def test_a_script_ends_with_exit_code_1_and_writes_nothing(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "params.yaml").write_text(with_value("train_mlp.hidden_units", -1))
    before = sorted(tmp_path.rglob("*"))
    for script in (["generate.py"], ["train.py", "mlp"]):
        done = subprocess.run(
            [sys.executable, "-B", tmp_path / "src" / script[0], *script[1:]],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "error: params.yaml: train_mlp.hidden_units is -1,"
            " but must be a whole number from 1 to 100000, digits only\n"
        )
    assert sorted(tmp_path.rglob("*")) == before


def test_no_parameter_names_a_file():
    """File names cannot leave the checkout: no value is text, and a name of a DVC experiment is one name."""
    for section in msgspec.to_builtins(load_params(ROOT)).values():
        assert {type(value) for value in section.values()} <= {int, float}
    kept = module.paths.diverged_curve("mlp", "../../../etc/passwd")
    assert kept.resolve().parent == (module.paths.main_root() / "diverged").resolve()
