"""The page of experiments: what is gathered from DVC's list, the charts, and the page."""

import json
import re
import shlex
import shutil
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from axe import violations
from browser import MISSING, Browser
from conftest import set_params

from compare import page
from compare.charts import Curve, accuracy_chart, loss_chart
from compare.experiments import collect, simplify
from compare.settings import compare, difference_error
from pictures.palette import PALETTE
from pictures.scales import choose_scale

USUAL = {
    "generate": {"seed": 0, "noise": 0.2, "classes": 3},
    "train_linear": {"seed": 0, "l2": 0.001},
    "train_mlp": {"seed": 0, "hidden_units": 100, "learning_rate": 1.0, "l2": 0.001},
    "evaluate": {"seed": 1, "points_per_class": 1000},
    "plot": {"dpi": 150},
}


def metrics_of(linear, mlp):
    """The metrics of both models as DVC lists them, by their test accuracy."""
    files = {}
    for model, accuracy in (("linear", linear), ("mlp", mlp)):
        values = {
            "train_accuracy": accuracy,
            "train_loss": 1 - accuracy,
            "test_accuracy": accuracy,
        }
        files[f"reports/models/{model}/metrics.json"] = {"data": {model: values}}
    return files


def shown(rev, name, accuracy, metrics=None, more=None, **changes):
    """An entry as in `dvc exp show --json`; `changes` are parameters, as section__key."""
    params = {section: dict(values) for section, values in USUAL.items()}
    for key, value in changes.items():
        section, key = key.split("__")
        params.setdefault(section, {})[key] = value
    metrics = metrics or metrics_of(0.5, accuracy)
    data = {"params": {"params.yaml": {"data": params}}, "metrics": metrics}
    return {"rev": rev, "name": name, "data": data, **(more or {})}


def tried(name, accuracy, more=None, **changes):
    return {"name": name, "revs": [shown(f"rev of {name}", name, accuracy, None, more, **changes)]}


def listed(*experiments, commit=None):
    workspace = shown("workspace", None, 0.1, train_mlp__hidden_units=7)
    commit = commit or shown("0123456789", "main", 0.98, more={"experiments": [*experiments]})
    return [workspace, commit]


def compared(model, *experiments, commit=None):
    """The settings of a model that these experiments try."""
    return compare(model, collect(listed(*experiments, commit=commit))[0])


def labels(comparison, attribute):
    """The labels of the settings that are `best`, `tied` or `committed`."""
    return [s.label for s in comparison.settings if getattr(s, attribute)]


@pytest.fixture
def stored(monkeypatch):
    """Stands in for the cache: by experiment and name, its bytes."""
    content = {}
    monkeypatch.setattr(
        page, "read_stored", lambda one, place, *_: content.get((one.name, place.name))
    )
    return content


def test_experiments_are_collected_without_the_workspace():
    nameless = {"name": None, "revs": [shown("c" * 40, None, 0.9, train_mlp__hidden_units=30)]}
    small = tried("small", 0.66, train_mlp__hidden_units=3)
    found, left_out = collect(listed(small, nameless))
    assert [one.name for one in found] == ["main", "small", "ccccccc"]
    assert [one.rev for one in found] == ["0123456789", "rev of small", "c" * 40]
    assert [one.params["train_mlp.hidden_units"] for one in found] == [100, 3, 30]
    assert [one.metrics["mlp"]["test_accuracy"] for one in found] == [0.98, 0.66, 0.9]
    assert [one.committed for one in found] == [True, False, False]
    assert left_out == []


@pytest.mark.parametrize(
    "metrics",
    [
        {"reports/metrics.json": {"error": {"msg": "not there"}}},
        {"reports/metrics.json": {"data": None}},
        {"reports/metrics.json": {"data": [1]}},
        {"reports/metrics.json": {"data": {"mlp": 0.9}}},
        {"reports/metrics.json": {"data": {"mlp": {"train_loss": 0.1}}}},
        {"reports/metrics.json": {"data": {"mlp": {"train_loss": 0.1, "test_accuracy": None}}}},
        {"reports/metrics.json": {"data": {"mlp": {"train_loss": [1], "test_accuracy": 0.9}}}},
        {"m": {"data": {"mlp": {"train_loss": float("nan"), "test_accuracy": 0.9}}}},
        {"m": {"data": {"mlp": {"train_loss": 10**400, "test_accuracy": 0.9}}}},
    ],
    ids=repr,
)
def test_what_has_no_metrics_is_left_out_by_name(metrics):
    broken = {"name": "broken", "revs": [shown("b" * 40, "broken", 0.9, metrics)]}
    found, left_out = collect(listed(broken, tried("good", 0.9)))
    assert [one.name for one in found] == ["main", "good"]
    assert left_out == ["broken"]


@pytest.mark.parametrize(
    "revs",
    [
        [],
        [{"rev": "d" * 40, "name": None, "data": None}],
        [{"rev": "d" * 40, "data": {"params": {"params.yaml": {"error": {}}}, "metrics": {}}}],
        [shown("d" * 40, "n", 0.9, more={"error": {"msg": "Experiment run failed"}})],
    ],
)
def test_what_failed_or_has_not_ended_is_left_out(revs):
    found, _ = collect(listed({"name": "n", "revs": revs}))
    assert [one.name for one in found] == ["main"]


# As YAML or JSON have them; each differs from the committed 100.
ODD_VALUES = {
    "abc": "abc",
    "a list": [1, [2]],
    "empty": None,
    "true": True,
    "a section": {"of": {"its": "own"}},
    "not a number": float("nan"),
    "infinite": float("inf"),
    "a text like the number": "100",
    "a very long number": 10**400,
    "a float": 99.5,
}


def test_values_of_every_kind_are_compared(stored):
    experiments = [
        tried(name, 0.9, train_mlp__hidden_units=value) for name, value in ODD_VALUES.items()
    ]
    comparison = compared("mlp", *experiments)
    assert len(comparison.settings) == len(ODD_VALUES) + 1
    assert page.make_page([e for s in comparison.settings for e in s.experiments])


def test_a_commit_with_a_value_of_another_kind_is_compared():
    commit = shown("0" * 40, "main", 0.98, train_mlp__hidden_units="abc")
    commit["experiments"] = [tried("few", 0.9, train_mlp__hidden_units=3)]
    comparison = compared("mlp", commit=commit)
    assert [s.values for s in comparison.settings] == [(3,), ("abc",)]
    assert "abc" in accuracy_chart(comparison, 0).svg


@pytest.mark.parametrize("content", [None, 3, ["a"], {"train_mlp": 3}, {"train_mlp": None}])
def test_a_params_file_of_another_form_fails_nothing(content):
    odd = tried("odd", 0.9)
    odd["revs"][0]["data"]["params"]["params.yaml"]["data"] = content
    found, _ = collect(listed(odd, tried("few", 0.9, train_mlp__hidden_units=3)))
    assert "few" in [one.name for one in found]
    assert len(compare("mlp", found).settings) >= 2


def test_equal_values_are_equal_and_others_are_not():
    assert simplify(float("nan")) == simplify(float("nan"))
    assert simplify(True) != simplify(1)
    assert simplify([1, 2]) == simplify([1, 2])
    assert simplify(1) == simplify(1.0)


def test_a_result_is_shown_with_the_parameters_that_it_was_made_with():
    """A commit may have changed params.yaml and not run the pipeline."""
    commit = shown("0" * 40, "main", 0.98, train_mlp__hidden_units="abc")
    locked = {"train_mlp.hidden_units": 100}
    found, _ = collect([commit], lambda rev: locked if rev == "0" * 40 else {})
    assert found[0].params["train_mlp.hidden_units"] == 100


@pytest.mark.parametrize("name", ["few", "n$(touch x)", "it's", "a b"])
def test_the_command_gets_an_experiment_whatever_its_name(name):
    found, _ = collect(listed(tried(name, 0.9)))
    assert shlex.split(found[1].command) == ["dvc", "exp", "apply", name]


def test_the_last_commit_needs_no_command():
    assert collect(listed())[0][0].command == ""


def test_an_older_commit_is_checked_out():
    found, _ = collect([*listed(), shown("a" * 40, None, 0.9)])
    assert found[1].command == "git checkout aaaaaaa"


def test_experiments_of_one_name_are_told_apart_by_their_commits():
    twice = shown("a" * 40, None, 0.9, more={"experiments": [tried("few", 0.8)]})
    found, _ = collect([*listed(tried("few", 0.9)), twice])
    commands = [one.command for one in found if one.name == "few"]
    assert commands == ["dvc exp apply 'rev of '", "dvc exp apply 'rev of '"]


def test_seeds_spread_the_results_of_a_setting():
    seeds = []
    for units, accuracies in ((20, (0.9, 0.8, 0.7, 0.95)), (3, (0.6, 0.5))):
        for seed, accuracy in enumerate(accuracies, start=1):
            changes = {"train_mlp__hidden_units": units, "train_mlp__seed": seed}
            seeds.append(tried(f"{units}-{seed}", accuracy, train_linear__seed=seed, **changes))
    again = tried("again", 0.8, train_mlp__hidden_units=20, train_mlp__seed=2, plot__dpi=60)

    comparison = compared("mlp", *seeds, again)
    assert comparison.names == ["train_mlp.hidden_units"]
    assert [s.values for s in comparison.settings] == [(3,), (20,), (100,)]
    assert [s.label for s in comparison.settings] == [
        "hidden_units 3",
        "hidden_units 20",
        "committed",
    ]
    twenty = comparison.settings[1]
    assert twenty.spread("test_accuracy") == (0.7, 0.8, 0.95), "of four the lower of the two"
    assert [[one.name for one in result.experiments] for result in twenty.results] == [
        ["20-3"],
        ["20-2", "again"],
        ["20-1"],
        ["20-4"],
    ]
    assert twenty.middle.experiments[0].name == "20-2"
    assert labels(comparison, "best") == labels(comparison, "committed") == ["committed"]

    comparison = compared("linear", *seeds)
    assert comparison.names == [] and len(comparison.settings) == 1
    assert len(comparison.settings[0].results) == 1
    assert len(comparison.settings[0].experiments) == 7, "all have the one result"


def test_only_what_concerns_a_model_makes_a_setting():
    changes = {
        "train_linear__l2": 0.1,
        "train_mlp__hidden_units": 9,
        "generate__noise": 0.5,
        "plot__dpi": 60,
    }
    experiments = [tried(key, 0.98, **{key: value}) for key, value in changes.items()]
    assert compared("linear", *experiments).names == ["generate.noise", "train_linear.l2"]
    comparison = compared("mlp", *experiments)
    assert comparison.names == ["generate.noise", "train_mlp.hidden_units"]
    found = [s.label for s in comparison.settings]
    assert found == ["hidden_units 9", "committed", "noise 0.5"]


def test_the_best_is_the_best_on_the_same_data():
    easy = tried("easy", 1.0, generate__noise=0.0)
    wide = tried("wide", 0.99, train_mlp__hidden_units=300)
    assert labels(compared("mlp", easy, wide), "best") == ["hidden_units 300"]


def test_the_best_says_when_others_are_within_the_error_of_the_test_set():
    """0.987 and 0.986 of 3,000 points: 3 points."""
    near = tried("near", 0.987, train_mlp__hidden_units=300)
    far = tried("far", 0.9, train_mlp__hidden_units=10)
    commit = shown("0" * 40, "main", 0.986, more={"experiments": [near, far]})
    comparison = compared("mlp", commit=commit)
    assert labels(comparison, "best") == ["hidden_units 300"]
    assert labels(comparison, "tied") == ["committed", "hidden_units 300"]
    (note, *_) = page.make_notes(comparison)
    assert "98.7% (hidden_units\xa0300)" in note and "3,000 points" in note
    assert "0.3 percentage points" in note and note.endswith("just as good: committed (98.6%).")


def test_a_clear_best_is_said_to_be_one():
    comparison = compared("mlp", tried("far", 0.9, train_mlp__hidden_units=10))
    assert labels(comparison, "tied") == []
    assert page.make_notes(comparison)[0].endswith("no other setting is that close.")


def test_without_a_number_of_test_points_nothing_is_said_of_an_error():
    commit = shown("0" * 40, "main", 0.98)
    del commit["data"]["params"]["params.yaml"]["data"]["evaluate"]["points_per_class"]
    assert compared("mlp", commit=commit).error is None


@pytest.mark.parametrize("accuracy", [0.3, 0.5, 0.98])
def test_the_error_is_that_of_two_binomial_counts(accuracy):
    points = 3000
    rights = np.random.RandomState(0).binomial(points, accuracy, (2, 100_000)) / points
    spread = np.std(rights[0] - rights[1])
    assert difference_error(accuracy, points) == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize("accuracy", [-5.0, 1.018, 1e300])
def test_an_accuracy_that_is_none_fails_nothing(accuracy):
    commit = shown("0" * 40, "main", accuracy)
    assert compared("mlp", commit=commit).error > 0


def test_an_accuracy_of_all_points_has_an_error_too():
    assert 0 < difference_error(1.0, 3000) < 0.001


def test_commits_from_before_a_model_are_shown_for_what_they_have():
    """The older ones have all metrics in one file, as an older layout had."""
    old = {"reports/metrics.json": {"data": {"linear": {"test_accuracy": 0.4, "train_loss": 0.7}}}}
    before = shown("a" * 40, None, None, old)
    del before["data"]["params"]["params.yaml"]["data"]["train_mlp"]
    found, _ = collect([*listed(tried("few", 0.9, train_mlp__hidden_units=3)), before])
    assert [one.name for one in found] == ["main", "few", "aaaaaaa"]
    comparison = compare("mlp", found)
    assert comparison.names == ["train_mlp.hidden_units"]
    assert [s.values for s in comparison.settings] == [(3,), (100,)]
    comparison = compare("linear", found)
    assert comparison.names == ["commit"], "the parameters are the same, and the results are not"
    assert [(s.values, s.label) for s in comparison.settings] == [
        (("aaaaaaa",), "commit aaaaaaa"),
        (("main",), "committed"),
    ]
    assert compare("unknown", found).settings == []


def test_a_commit_from_before_a_parameter_is_shown_without_it():
    without = shown("a" * 40, None, 0.7)
    del without["data"]["params"]["params.yaml"]["data"]["train_mlp"]["hidden_units"]
    comparison = compare("mlp", collect([*listed(), without])[0])
    assert [s.label for s in comparison.settings] == ["committed", "hidden_units missing"]


def of_widths(count):
    """A comparison of so many widths; the committed one is the first."""
    changes = [{"train_mlp__hidden_units": 101 + number} for number in range(count - 1)]
    experiments = [tried(str(n), 0.97 + n / 5e3, **change) for n, change in enumerate(changes)]
    return compared("mlp", *experiments)


@pytest.mark.parametrize("count", [2, 6, 9])
def test_few_settings_have_a_colour_each(count):
    colors = page.choose_colors(of_widths(count).settings)
    assert len(set(colors.values()) - {page.OTHERS}) == count


def test_of_many_settings_the_best_and_the_committed_have_a_colour():
    settings = of_widths(120).settings
    colors = page.choose_colors(settings)
    assert list(colors.values()).count(page.OTHERS) == 118
    for setting in settings:
        named = setting.best or setting.committed
        assert (colors[setting.key] != page.OTHERS) == named


@pytest.mark.parametrize("count", [2, 6, 12, 45])
def test_the_committed_setting_has_one_colour_always_and_no_class_has_it(count):
    settings = of_widths(count).settings
    colors = page.choose_colors(settings)
    (committed,) = [setting.key for setting in settings if setting.committed]
    assert colors.pop(committed) == "currentColor"
    used = {color.upper() for value in colors.values() for color in re.findall("#......", value)}
    assert not used & set(PALETTE)


def marks(svg):
    """By setting, the shapes that are drawn for it; and every text."""
    tree = ElementTree.fromstring(svg)
    found = {}
    for group in tree.iter("g"):
        for key in (group.get("data-settings") or "").split():
            found.setdefault(key, []).extend([*group.iter("path"), *group.iter("use")])
    return found, {"".join(text.itertext()) for text in tree.iter("text")}


def test_the_chart_of_a_parameter_has_the_settings_that_differ_in_it_alone():
    hot = tried("hot", 0.33, train_mlp__learning_rate=100.0)
    widths = [tried(str(units), units / 100, train_mlp__hidden_units=units) for units in (50, 90)]
    comparison = compared("mlp", hot, *widths)
    keys = {setting.label: setting.key for setting in comparison.settings}
    units = comparison.names.index("train_mlp.hidden_units")
    found, texts = marks(accuracy_chart(comparison, units).svg)
    assert found.keys() == {keys["hidden_units 50"], keys["hidden_units 90"], keys["committed"]}
    assert {"train_mlp.hidden_units", "test accuracy", "50", "90", "100"} <= texts
    assert "40%" not in texts
    rate = comparison.names.index("train_mlp.learning_rate")
    found, texts = marks(accuracy_chart(comparison, rate).svg)
    assert found.keys() == {keys["learning_rate 100"], keys["committed"]}
    assert {"1", "100", "40%"} <= texts


def test_settings_of_which_no_two_differ_in_one_parameter_are_all_shown():
    both = tried("both", 0.5, train_mlp__learning_rate=100.0, train_mlp__hidden_units=3)
    assert len(marks(accuracy_chart(compared("mlp", both), 0).svg)[0]) == 2


SWEPT = {
    "with zero": [0, 0.0001, 0.01],
    "with zero and more": [0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2],
    "close together, and far": [1, 1.1, 1000],
    "negative": [-1, 0, 0.001],
    "a decade and more": [3, 10, 20, 100, 300],
    "even": [1, 2, 3, 4],
    "two": [0, 0.001],
    "one": [5],
    "texts": ["abc", 3, "a text of very many characters that has no end", 100.0],
    "many texts": [f"commit {number}" for number in range(40)],
}


@pytest.mark.parametrize("values", SWEPT.values(), ids=SWEPT)
def test_no_two_ticks_of_a_swept_parameter_overprint(values):
    scale = choose_scale(values)
    places = sorted(scale.ticks)
    if scale.kind == "log":
        places = np.log(places)
    gaps = np.diff(places) / max(np.ptp(places), 1e-300)
    assert (gaps > 0.05).all()
    assert set(scale.position) == set(values)
    assert all(len(text) <= 18 for text in scale.ticks.values())


def test_an_axis_that_is_not_to_scale_says_so():
    swept = [tried(str(l2), 0.9, train_mlp__l2=l2) for l2 in (0, 0.0001, 0.01)]
    texts = marks(accuracy_chart(compared("mlp", *swept), 0).svg)[1]
    assert "train_mlp.l2 (not to scale)" in texts
    assert {"0", "0.0001", "0.001", "0.01"} <= texts


def test_many_numbers_have_ticks_of_matplotlibs_own():
    assert choose_scale(range(40)).ticks is None
    assert choose_scale([2.0**power for power in range(20)]).kind == "log"


def curve(losses):
    """A training curve with these losses."""
    iteration = 10.0 * np.arange(len(losses))
    return np.stack([iteration, losses, iteration], axis=1)


def test_a_diverged_curve_leaves_the_others_to_be_seen():
    comparison = of_widths(2)
    first, second = comparison.settings
    good = curve(np.linspace(1.1, 0.25, 100))
    bad = curve(np.append([1.1, 6e3], np.full(98, 37)))
    svg = loss_chart(comparison, [Curve([first], good), Curve([second], bad)]).svg
    found, texts = marks(svg)
    assert "loss (logarithmic scale)" in texts
    assert "currentColor" in svg and "#010203" not in svg
    heights = {}
    for key, (path, *_) in found.items():
        heights[key] = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", path.get("d"))]
    assert heights.keys() == {first.key, second.key}
    box = [float(side) for side in ElementTree.fromstring(svg).get("viewBox").split()]
    assert np.ptp(heights[first.key]) > box[3] / 10, "the one that falls is seen to fall"
    assert min(heights[second.key]) >= 0 and max(heights[first.key]) < box[3]


def test_charts_have_no_name_twice():
    """Names in one page are one space: a clipping path of another chart would be taken."""
    comparison = compared(
        "mlp",
        tried("a", 0.9, train_mlp__l2=0.1),
        tried("b", 0.8, train_mlp__learning_rate=0.1),
    )
    svgs = [accuracy_chart(comparison, index).svg for index in range(2)]
    names = [re.findall(r' id="([^"]*)"', svg) for svg in svgs]
    assert names[0] and not set(names[0]) & set(names[1])
    for svg, own in zip(svgs, names, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]*)', svg)) <= set(own)


@pytest.fixture
def section(stored):
    """What the page says of three widths, one of which has two experiments."""
    experiments = collect(
        listed(
            tried("w<9>", 0.995, train_mlp__hidden_units=9),
            tried("w<3>", 0.6, train_mlp__hidden_units=3),
            tried("again", 0.6, train_mlp__hidden_units=3, plot__dpi=60),
        )
    )[0]
    for name in ("main", "w<9>"):
        stored[name, "curve.csv"] = b"iteration,loss,accuracy\n0,1.0,0.5\n10,0.5,0.9\n"
        stored[name, "100.png"] = name.encode()
    return page.make_section("mlp", experiments)


def test_the_table_has_the_most_accurate_setting_first(section):
    assert [row.words for row in section.ranking] == [
        "best, hidden_units\xa09",
        "committed",
        "hidden_units\xa03",
    ]
    assert [row.accuracy for row in section.ranking] == ["99.5%", "98.0%", "60.0%"]
    assert [row.values for row in section.ranking] == [["9"], ["100"], ["3"]]


def test_a_picture_that_is_not_in_the_cache_is_none(section):
    assert [row.picture is None for row in section.rows] == [True, False, False]


def test_equal_curves_are_one_and_belong_to_all_that_have_them(section):
    found = marks(section.charts[-1].svg)[0]
    keys = {row.setting.key for row in section.rows if row.picture is not None}
    assert found.keys() == keys
    first, second = found.values()
    assert len(first) == 1 and first[0].get("d") == second[0].get("d")


def test_a_model_that_is_the_same_in_all_experiments_has_one_sentence(stored):
    experiments = collect(listed(tried("few", 0.6, train_mlp__hidden_units=3)))[0]
    section = page.make_section("linear", experiments)
    assert section.notes == ["The same in all experiments: 50.0% test accuracy."]
    assert section.rows == []
    assert page.make_section("mlp", []) is None


def test_names_and_values_are_escaped(stored):
    odd = tried("<em>", 0.9, train_mlp__hidden_units="<i>")
    text = page.make_page(collect(listed(odd))[0], ["<u>"])
    assert "dvc exp apply &#39;&lt;em&gt;&#39;" in text
    assert not re.search("<(em|i|u)>", text)


def test_the_page_needs_no_network(stored):
    text = page.make_page(collect(listed(tried("few", 0.9, train_mlp__hidden_units=3)))[0])
    assert not re.search(r"<script[^>]+src|<link|url\(http|@import", text)


@pytest.fixture(scope="module")
def compared_checkout(ran_template, tmp_path_factory):
    """A checkout with experiments of several kinds, and its page."""
    from conftest import copied

    checkout = copied(ran_template, tmp_path_factory.mktemp("compared"))
    for name, change in {
        "few": "train_mlp.hidden_units=3",
        "zero": "train_mlp.l2=0",
        "tiny": "train_mlp.l2=0.0001",
        "hot": "train_mlp.learning_rate=3",
    }.items():
        checkout.run("dvc", "exp", "run", "--temp", "-n", name, "-S", change)
    return checkout


@pytest.fixture(scope="module")
def compare_page(compared_checkout):
    return compared_checkout.run(sys.executable, "tools/compare", PYTHONSAFEPATH="1").stdout.strip()


@pytest.fixture(scope="module")
def browser():
    if MISSING:
        pytest.skip("chromium and chromedriver are missing")
    with Browser(width=1440, height=900) as opened:
        yield opened


@pytest.mark.slow
def test_without_experiments_the_way_to_one_is_said(ran):
    done = ran.run(sys.executable, "tools/compare", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is nothing to compare yet: run dvc exp run")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_after_an_impossible_value_was_committed_the_results_are_shown_as_they_were_made(ran):
    ran.run("dvc", "exp", "run", "--temp", "-n", "few", "-S", "train_mlp.hidden_units=3")
    set_params(ran.root, {"train_mlp.hidden_units": "abc"})
    ran.run("git", "commit", "--quiet", "--all", "--message", "abc")
    done = ran.run(sys.executable, "tools/compare", "--num", "2")
    assert done.stdout.startswith("file:")
    text = (ran.root / "dvc_plots/compare/index.html").read_text()
    assert "abc" not in text and "few" in text


@pytest.mark.exhaustive
@pytest.mark.slow
def test_what_git_has_is_shown_without_the_cache(ran):
    ran.run("dvc", "exp", "run", "--temp", "-n", "few", "-S", "train_mlp.hidden_units=3")
    shutil.rmtree(ran.root / ".dvc/cache/files")
    ran.run(sys.executable, "tools/compare")
    text = (ran.root / "dvc_plots/compare/index.html").read_text()
    assert text.count("not in DVC&#39;s cache") + text.count("not in DVC's cache") == 2
    assert "few" in text


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 820, 390])
def test_axe_finds_nothing_and_the_page_is_as_wide_as_the_screen(
    compare_page, browser, width, scheme
):
    browser.emulate(width, prefers_color_scheme=scheme)
    browser.open(compare_page)
    browser.call(f"{browser.element('.choose')}/click")
    assert violations(browser) == []
    assert browser.script("return document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_settings_stay_while_the_table_is_scrolled(compare_page, browser):
    browser.emulate(390)
    browser.open(compare_page)
    left, scrolled = browser.script("""
        const table = [...document.querySelectorAll(".table")].at(-1);
        table.scrollLeft = 150;
        const of = (element) => element.getBoundingClientRect().left;
        return [of(table.querySelector("tbody th")) - of(table), table.scrollLeft];""")
    assert scrolled == 150
    assert left == 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 820])
def test_no_chart_stands_alone_in_its_row(compare_page, browser, width):
    browser.emulate(width)
    browser.open(compare_page)
    tops = browser.script(
        "return [...document.querySelectorAll('.chart')]"
        ".map((chart) => Math.round(chart.getBoundingClientRect().top))"
    )
    assert len(tops) == 4
    assert min(tops.count(top) for top in tops) == 2


ON = """return [...document.querySelectorAll(".chart")].map((chart) =>
  [...chart.querySelectorAll(".on")].map((group) => group.dataset.settings));"""
DETAILS = "return document.getElementById('details').innerText"


def key_of(browser, label):
    """The key of the setting with a label, as it stands in the page."""
    return browser.script(
        "return [...document.querySelectorAll('.keys .choose')]"
        f".find((button) => button.innerText.includes({json.dumps(label)})).dataset.settings"
    )


@pytest.mark.slow
def test_a_setting_that_is_pointed_at_is_brought_out_in_all_its_charts(compare_page, browser):
    browser.emulate(1440)
    browser.open(compare_page)
    key = key_of(browser, "l2\xa00.0001")
    browser.move(f".card[data-settings='{key}']", (30, 30))
    charts = browser.script(ON)
    assert [sum(key in found for found in chart) > 0 for chart in charts] == [
        False,  # hidden_units
        False,  # learning_rate
        True,  # l2
        True,  # loss
    ]
    browser.move("h1", (5, 5))
    assert browser.script(ON) == [[], [], [], []]


@pytest.mark.slow
def test_a_curve_can_be_pointed_at_and_chosen(compare_page, browser):
    browser.emulate(1440)
    browser.open(compare_page)
    browser.script(
        "document.querySelector('.chart:last-child .reach')"
        ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert "test accuracy" in browser.script(DETAILS)


@pytest.mark.slow
def test_a_chosen_setting_stays_and_shows_the_command_that_gets_it(
    compared_checkout, compare_page, browser
):
    browser.emulate(1440)
    browser.open(compare_page)
    key = key_of(browser, "hidden_units\xa03")
    browser.call(f"{browser.element(f'.keys [data-settings={key}]')}/click")
    browser.move("h1", (5, 5))
    assert any(key in found for chart in browser.script(ON) for found in chart)
    command = "return document.querySelector('#details code').innerText"
    assert browser.script(command) == "dvc exp apply few"
    browser.press("\ue00c")  # escape
    assert browser.script(DETAILS) == ""
    compared_checkout.run(*shlex.split("dvc exp apply few"))
    assert "hidden_units: 3" in (compared_checkout.root / "params.yaml").read_text()
