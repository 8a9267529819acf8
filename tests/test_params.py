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
from conftest import CLASSES, PARAMS, for_every_model, set_params, widths

from generate import generate
from pipeline import params as module
from pipeline import paths
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
    """Every key, its value, and the range that its comment promises, from params.yaml's text."""
    section = None
    found = []
    for line in TEXT.splitlines():
        header = re.match(r"(\w+):$", line)
        parameter = re.match(r"  (\w+): (\S+) +#.*; ((?:above )?\d+,? to \d+)", line)
        if header:
            section = header[1]
        elif parameter:
            name, value, promised = parameter.groups()
            found.append((f"{section}.{name}", value, promised))
    return found


KEYS = documented()


def with_value(key, value):
    """The text of params.yaml with another value of one key."""
    section, name = key.split(".")
    head, start, tail = BARE.partition(f"\n{section}:\n")
    return head + start + re.sub(rf"(?m)^  {name}: \S+", f"  {name}: {value}", tail, count=1)


def test_every_parameter_says_its_range():
    keys = []
    for name, values in msgspec.to_builtins(PARAMS).items():
        keys += [f"{name}.{key}" for key in values]
    assert sorted(key for key, _, _ in KEYS) == sorted(keys)


@pytest.fixture
def any_memory(tmp_path, monkeypatch):
    """Whatever the memory of this machine."""
    monkeypatch.setattr(os, "sysconf", lambda _: 2**40)
    monkeypatch.setattr(module, "MEMORY_LIMIT", tmp_path / "none")


def limits(promised):
    """The numbers of a promised range, and whether the first is itself allowed."""
    low, high = map(int, re.findall(r"\d+", promised))
    return low, high, "above" not in promised


@pytest.mark.usefixtures("any_memory")
@pytest.mark.parametrize(("key", "promised"), [(key, promised) for key, _, promised in KEYS])
def test_the_ends_of_the_promised_range_are_allowed(key, promised, tmp_path):
    low, high, closed = limits(promised)
    section, name = key.split(".")
    for allowed in [low, high] if closed else [high]:
        params = loaded(tmp_path, with_value(key, allowed))
        assert getattr(getattr(params, section), name) == allowed


@pytest.mark.usefixtures("any_memory")
@pytest.mark.parametrize(("key", "value", "promised"), KEYS)
def test_what_is_beyond_the_promised_range_is_refused_with_it(key, value, promised, tmp_path):
    low, high, closed = limits(promised)
    whole = value.isdigit()
    step = 1 if whole else 1e-9
    rule = f"must be a {'whole ' if whole else ''}number {'from ' if closed else ''}{promised}"
    rule += ", digits only" if whole else ""
    for wrong in [low - step if closed else low, high + step]:
        message = refusal(tmp_path, with_value(key, wrong))
        assert message == f"params.yaml: {key} is {wrong!r}, but {rule}"


NO_NUMBERS = {".nan": "nan", "true": "true", '"3"': "the text '3'", "~": "empty"}
NOR_ARE = {
    ".inf": "inf",
    "[3]": "[3]",
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
def test_what_is_no_number_is_refused(key, tmp_path):
    for given, shown in NO_NUMBERS.items():
        message = refusal(tmp_path, with_value(key, given))
        assert message.startswith(f"params.yaml: {key} is {shown}, but must be a ")


@pytest.mark.parametrize("given", NOR_ARE)
@pytest.mark.parametrize("key", ["train_mlp.iterations", "train_mlp.l2"])
def test_whatever_yaml_may_hold_is_shown_in_the_refusal(key, given, tmp_path):
    message = refusal(tmp_path, with_value(key, given))
    assert message.startswith(f"params.yaml: {key} is {NOR_ARE[given]}, but must be a ")


@pytest.mark.parametrize("key", [key for key, value, _ in KEYS if value.isdigit()])
def test_whole_numbers_have_neither_point_nor_exponent(key, tmp_path):
    for given, shown in {"60.0": "60.0", "1e2": "100.0", "60.5": "60.5"}.items():
        message = refusal(tmp_path, with_value(key, given))
        assert message.startswith(f"params.yaml: {key} is {shown}, but must be a whole number")


def test_numbers_may_be_written_as_yaml_1_2_allows(tmp_path):
    assert loaded(tmp_path, with_value("train_mlp.l2", "1e-3")).train_mlp.l2 == 0.001
    assert loaded(tmp_path, with_value("train_mlp.l2", "2")).train_mlp.l2 == 2.0
    assert type(loaded(tmp_path, with_value("train_mlp.l2", "2")).train_mlp.l2) is float
    assert loaded(tmp_path, TEXT.replace("\n", "\r\n")) == PARAMS
    assert loaded(tmp_path, "\ufeff" + TEXT) == PARAMS


@pytest.mark.parametrize("key", [key for key, _, _ in KEYS])
def test_a_parameter_that_is_missing_is_named(key, tmp_path):
    section, name = key.split(".")
    head, start, tail = BARE.partition(f"\n{section}:\n")
    without = re.sub(rf"(?m)^  {name}: .*\n", "", tail, count=1)
    assert refusal(tmp_path, head + start + without) == f"params.yaml: {key} is missing"


@pytest.mark.parametrize("key", [key for key, _, _ in KEYS])
def test_a_misspelt_parameter_is_named_with_what_was_meant(key, tmp_path):
    section, name = key.split(".")
    head, start, tail = BARE.partition(f"\n{section}:\n")
    misspelt = name[:2] + name[1:]
    renamed = tail.replace(f"  {name}:", f"  {misspelt}:", 1)
    assert refusal(tmp_path, head + start + renamed) == (
        f"params.yaml: {section}.{misspelt} is not a parameter; did you mean {key}?"
    )


MLP = ", ".join(PARAMS.train_mlp.__struct_fields__)
PLOT = ", ".join(PARAMS.plot.__struct_fields__)
SECTIONS = ", ".join(re.findall(r"(?m)^(\w+):$", TEXT))
# Python 3.11 writes no such list.
DEEP = "[" * 77 + "..." if sys.version_info >= (3, 12) else "too long to be shown"
BEFORE_PLOT = BARE.partition("\nplot:")[0]
WHOLE = {
    BARE.replace("\n  hidden_units:", "\n  hiden_units:"): (
        ": train_mlp.hiden_units is not a parameter; did you mean train_mlp.hidden_units?"
    ),
    BARE.replace("\ntrain_mlp:", "\ntrain_mpl:"): (
        ": train_mpl is not a parameter; did you mean train_mlp?"
    ),
    BARE.replace("\n  hidden_units:", "\n  zzz: 1\n  hidden_units:"): (
        f": train_mlp.zzz is not a parameter; allowed are {MLP}"
    ),
    BARE + "zzz: {}\n": f": zzz is not a parameter; allowed are {SECTIONS}",
    BARE + "  3: 4\n": f": plot.3 is not a parameter; allowed are {PLOT}",
    BARE + "  ~: 4\n": f": plot.None is not a parameter; allowed are {PLOT}",
    BARE + "  true: 4\n": f": plot.True is not a parameter; allowed are {PLOT}",
    BARE + "  '`$.a` - b': 4\n": f": plot.`$.a` - b is not a parameter; allowed are {PLOT}",
    BARE.replace("\nplot:", "\nplot: ~\nzzz:"): f": zzz is not a parameter; allowed are {SECTIONS}",
    BEFORE_PLOT + "\nplot:\n": f": plot is empty, but must hold the keys {PLOT}",
    BEFORE_PLOT + "\nplot: [4, 1]\n": f": plot is [4, 1], but must hold the keys {PLOT}",
    BEFORE_PLOT + "\nplot: &a [*a]\n": f": plot is [[...]], but must hold the keys {PLOT}",
    BEFORE_PLOT: ": plot is missing",
    "": f" is empty, but must hold the keys {SECTIONS}",
    "# only a comment\n": f" is empty, but must hold the keys {SECTIONS}",
    "- 1\n": f" is [1], but must hold the keys {SECTIONS}",
    "hello\n": f" is the text 'hello', but must hold the keys {SECTIONS}",
    "generate:\n  seed: 1\n  seed: 2\n": (
        ', line 3: not valid YAML: found duplicate key "seed" with value "2" (original value: "1")'
    ),
    "generate:\n  seed: [1\nplot: {}\n": (
        ", line 3: not valid YAML: did not find expected ',' or ']'"
    ),
    "generate:\n\tseed: 1\n": (
        ", line 2: not valid YAML: found character that cannot start any token"
    ),
    "a: 1\n--- \nb: 2\n": ", line 2: not valid YAML: but found another document",
    "a: !!python/object/apply:os.system [exit]\n": (
        ", line 1: not valid YAML: could not determine a constructor for the tag"
        " 'tag:yaml.org,2002:python/objec..."
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
    with pytest.raises(UserError, match=r"^cannot read params\.yaml: No such file or directory$"):
        load_params(tmp_path)


def test_a_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match=r"^cannot read params\.yaml: Is a directory$"):
        load_params(tmp_path)


SIZES = {
    name: [f"train_{name}.{width}" for width in widths(name)] for name in MODELS if widths(name)
}


def too_large():
    """What to take less of, and parameters that ask for too much of it."""
    few_points = {"generate.points_per_class": 2, "evaluate.points_per_class": 2}
    many_points = {"generate.points_per_class": 1_000_000}
    cases = [("take a smaller grid or fewer classes", {**few_points, "plot.grid": 2000})]
    for sizes in SIZES.values():
        wide = {**many_points, **dict.fromkeys(sizes, 1000)}
        very_wide = {**few_points, **dict.fromkeys(sizes, 100_000)}
        cases.append(("take fewer points, classes or hidden units", wide))
        cases.append(("take fewer hidden units or classes", very_wide))
    for name in MODELS:
        long = {f"train_{name}.iterations": 10**8, f"train_{name}.record_every": 1}
        cases.append(("take fewer iterations, or a larger record_every", long))
    return cases


@pytest.mark.parametrize(("advice", "changes"), too_large())
def test_sizes_that_cannot_fit_are_refused_before_they_are_allocated(
    advice, changes, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**18}.get)  # 1 GiB
    shutil.copy(ROOT / "params.yaml", tmp_path)
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


POINTS = 1500


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_the_estimate_of_memory_is_above_what_training_takes_and_not_far(
    name, tmp_path, monkeypatch
):
    (tmp_path / "params.yaml").write_text(TEXT)
    changes = {
        "generate.points_per_class": POINTS,
        "plot.grid": 10,
        **for_every_model(units=1, iterations=2),
    }
    set_params(tmp_path, {**changes, **dict.fromkeys(SIZES[name], 40)})
    hidden = 40 * (32 if len(SIZES[name]) == 1 else 160 * len(SIZES[name]))
    estimate = POINTS * CLASSES * (400 + 80 * CLASSES + hidden)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": estimate}.get)
    params = load_params(tmp_path)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": estimate - 1}.get)
    refusal(tmp_path, (tmp_path / "params.yaml").read_text())
    generate(params, tmp_path)
    tracemalloc.start()
    train_model(name, params.train(name), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert estimate / 4 < peak < estimate


def test_a_script_ends_with_exit_code_1_and_writes_nothing(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "params.yaml").write_text(with_value("train_mlp.hidden_units", -1))
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-B", "src/train.py", "mlp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: params.yaml: train_mlp.hidden_units is -1,"
        " but must be a whole number from 1 to 100000, digits only\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_no_parameter_is_a_text_that_could_name_a_file():
    for values in msgspec.to_builtins(PARAMS).values():
        assert {type(value) for value in values.values()} <= {int, float}


def test_the_name_of_an_experiment_leads_to_no_other_folder():
    kept = paths.diverged_curve("mlp", "../../../etc/passwd")
    assert kept.resolve().parent == (paths.main_root() / "diverged").resolve()
