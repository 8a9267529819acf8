"""The page of experiments: what is gathered from DVC's list, the charts, and the page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from compare import page
from compare.charts import accuracy_chart, loss_chart
from compare.settings import PALE, collect, gather

USUAL = {
    "generate": {"seed": 0, "noise": 0.2},
    "train_linear": {"seed": 0, "l2": 0.001},
    "train_mlp": {"seed": 0, "hidden_units": 100, "learning_rate": 1.0},
    "evaluate": {"seed": 1},
    "plot": {"dpi": 150},
}


def shown(rev, name, accuracy, metrics=None, more=None, **changes):
    """An entry as in `dvc exp show --json`; `changes` are parameters, as section__key."""
    params = {section: dict(values) for section, values in USUAL.items()}
    for key, value in changes.items():
        section, key = key.split("__")
        params.setdefault(section, {})[key] = value
    metrics = metrics or {
        f"reports/models/{model}/metrics.json": {
            "data": {
                model: {"train_accuracy": right, "train_loss": 1 - right, "test_accuracy": right}
            }
        }
        for model, right in (("linear", 0.5), ("mlp", accuracy))
    }
    data = {"params": {"params.yaml": {"data": params}}, "metrics": metrics}
    return {"rev": rev, "name": name, "data": data, **(more or {})}


def tried(name, accuracy, more=None, **changes):
    return {"name": name, "revs": [shown(f"rev of {name}", name, accuracy, None, more, **changes)]}


def listed(*experiments, commit=None):
    workspace = shown("workspace", None, 0.1, train_mlp__hidden_units=7)
    return [
        workspace,
        commit or shown("0123456789", "main", 0.98, more={"experiments": [*experiments]}),
    ]


def test_experiments_are_collected_without_the_workspace_and_the_failed():
    failed = tried(
        "failed", 0.98, {"error": {"msg": "Experiment run failed"}}, train_mlp__hidden_units=1000
    )
    queued = {"name": "queued", "revs": [{"rev": "d" * 40, "name": None, "data": None}]}
    nameless = {"name": None, "revs": [shown("c" * 40, None, 0.9, train_mlp__hidden_units=30)]}
    small = tried("small", 0.66, train_mlp__hidden_units=3)
    found = collect(listed(small, failed, queued, nameless))
    assert [one.name for one in found] == ["main", "small", "ccccccc"]
    assert [one.rev for one in found] == ["0123456789", "rev of small", "c" * 40]
    assert [one.params["train_mlp.hidden_units"] for one in found] == [100, 3, 30]
    assert [one.metrics["mlp"]["test_accuracy"] for one in found] == [0.98, 0.66, 0.9]
    assert [one.committed for one in found] == [True, False, False]


def test_seeds_spread_the_results_of_a_setting():
    seeds = [
        tried(
            f"{units}-{seed}",
            accuracy,
            train_mlp__hidden_units=units,
            train_mlp__seed=seed,
            train_linear__seed=seed,
        )
        for units, accuracies in ((20, (0.9, 0.8, 0.7, 0.95)), (3, (0.6, 0.5)))
        for seed, accuracy in enumerate(accuracies, start=1)
    ]
    again = tried("again", 0.8, train_mlp__hidden_units=20, train_mlp__seed=2, plot__dpi=60)
    names, settings = gather("mlp", collect(listed(*seeds, again)))
    assert names == ["train_mlp.hidden_units"]
    assert [setting.values for setting in settings] == [(3,), (20,), (100,)]
    assert [setting.label for setting in settings] == [
        "hidden_units 3",
        "hidden_units 20",
        "committed",
    ]
    assert settings[1].spread("test_accuracy") == (0.7, 0.8, 0.95), (
        "the median of four, the lower of two"
    )
    told = [[one.name for one in experiments] for _, experiments in settings[1].results]
    assert told == [["20-3"], ["20-2", "again"], ["20-1"], ["20-4"]]
    assert settings[1].middle[1][0].name == "20-2"
    assert (
        [setting.best for setting in settings]
        == [setting.committed for setting in settings]
        == [False, False, True]
    )

    names, settings = gather("linear", collect(listed(*seeds)))
    assert names == [] and len(settings) == 1 and len(settings[0].results) == 1
    assert len(settings[0].results[0][1]) == 7, "all have the one result"


def test_only_what_concerns_a_model_makes_a_setting():
    changes = {
        "train_linear__l2": 0.1,
        "train_mlp__hidden_units": 9,
        "generate__noise": 0.5,
        "plot__dpi": 60,
    }
    experiments = collect(
        listed(*(tried(key, 0.98, **{key: value}) for key, value in changes.items()))
    )
    assert gather("linear", experiments)[0] == ["generate.noise", "train_linear.l2"]
    names, settings = gather("mlp", experiments)
    assert names == ["generate.noise", "train_mlp.hidden_units"]
    assert [setting.label for setting in settings] == ["hidden_units 9", "committed", "noise 0.5"]


def test_the_best_is_the_best_on_the_same_data():
    easy = tried("easy", 1.0, generate__noise=0.0)
    wide = tried("wide", 0.99, train_mlp__hidden_units=300)
    _, settings = gather("mlp", collect(listed(easy, wide)))
    assert [setting.label for setting in settings if setting.best] == ["hidden_units 300"]


def test_commits_from_before_a_model_or_a_parameter_are_shown_for_what_they_have():
    """The older ones have all metrics in one file, as an older layout had."""
    old = {"reports/metrics.json": {"data": {"linear": {"test_accuracy": 0.4, "train_loss": 0.7}}}}
    before = shown("a" * 40, None, None, old)
    del before["data"]["params"]["params.yaml"]["data"]["train_mlp"]
    broken = shown("b" * 40, None, None, {"reports/metrics.json": {"error": {"msg": "not there"}}})
    found = collect([*listed(tried("few", 0.9, train_mlp__hidden_units=3)), before, broken])
    assert [one.name for one in found] == ["main", "few", "aaaaaaa"]
    names, settings = gather("mlp", found)
    assert names == ["train_mlp.hidden_units"] and [setting.values for setting in settings] == [
        (3,),
        (100,),
    ]
    names, settings = gather("linear", found)
    assert names == ["commit"], "the parameters are the same, and the results are not"
    assert [(setting.values, setting.label) for setting in settings] == [
        (("aaaaaaa",), "commit aaaaaaa"),
        (("main",), "committed"),
    ]
    assert gather("unknown", found) == ([], [])

    without = shown("a" * 40, None, 0.7)
    del without["data"]["params"]["params.yaml"]["data"]["train_mlp"]["hidden_units"]
    _, settings = gather("mlp", collect([*listed(), without]))
    assert [setting.label for setting in settings] == ["hidden_units –", "committed"]


def of_widths(count, **more):
    changes = [{"train_mlp__hidden_units": 101 + number, **more} for number in range(count - 1)]
    return gather(
        "mlp",
        collect(
            listed(*(tried(str(n), 0.9 + n / 1e3, **change) for n, change in enumerate(changes)))
        ),
    )


def test_few_settings_have_a_colour_each_and_of_many_the_best_and_the_committed_one():
    for count in (2, 6):
        assert len({setting.color for setting in of_widths(count)[1]} - {PALE}) == count
    _, settings = of_widths(45)
    colors = [setting.color for setting in settings]
    assert colors.count(PALE) == 44 and settings[0].best and settings[0].committed
    colors = [setting.color for setting in of_widths(12, train_mlp__learning_rate=2.0)[1]]
    assert colors.count(PALE) == 11


def marks(svg):
    """By setting, the shapes that are drawn for it; and every text."""
    tree = ElementTree.fromstring(svg)
    found = {}
    for group in tree.iter("g"):
        if key := group.get("data-of"):
            found.setdefault(key, []).extend([*group.iter("path"), *group.iter("use")])
    return found, {"".join(text.itertext()) for text in tree.iter("text")}


def test_the_chart_of_a_parameter_has_the_settings_that_differ_in_it_alone():
    hot = tried("hot", 0.33, train_mlp__learning_rate=100.0)
    widths = [tried(str(units), units / 100, train_mlp__hidden_units=units) for units in (50, 90)]
    names, settings = gather("mlp", collect(listed(hot, *widths)))
    keys = {setting.label: setting.key for setting in settings}
    found, texts = marks(accuracy_chart(settings, names.index("train_mlp.hidden_units"), "units"))
    assert found.keys() == {keys["hidden_units 50"], keys["hidden_units 90"], keys["committed"]}
    assert {"units", "fresh points right", "50", "90", "100"} <= texts and "40%" not in texts
    found, texts = marks(accuracy_chart(settings, names.index("train_mlp.learning_rate"), "rate"))
    assert (
        found.keys() == {keys["learning_rate 100"], keys["committed"]}
        and {"1", "100", "40%"} <= texts
    )

    both = tried("both", 0.5, train_mlp__learning_rate=100.0, train_mlp__hidden_units=3)
    names, settings = gather("mlp", collect(listed(both)))
    assert len(marks(accuracy_chart(settings, 0, names[0]))[0]) == 2, (
        "no two differ in one alone: all are shown"
    )


def test_a_diverged_curve_leaves_the_others_to_be_seen():
    _, (first, second) = of_widths(2)
    iteration = np.arange(0, 1000, 10.0)
    good = np.stack([iteration, np.linspace(1.1, 0.25, 100), iteration], axis=1)
    bad = np.stack([iteration, np.append([1.1, 6e3], np.full(98, 37)), iteration], axis=1)
    svg = loss_chart([(first, good), (second, bad)])
    found, texts = marks(svg)
    assert "loss (logarithmic scale)" in texts and "currentColor" in svg and "#010203" not in svg
    heights = {}
    for key, (path, *_) in found.items():
        heights[key] = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", path.get("d"))]
    assert heights.keys() == {first.key, second.key}
    box = [float(side) for side in ElementTree.fromstring(svg).get("viewBox").split()]
    assert np.ptp(heights[first.key]) > box[3] / 10, "the one that falls is seen to fall"
    assert min(heights[second.key]) >= 0 and max(heights[first.key]) < box[3]


@pytest.fixture
def files(monkeypatch):
    """Stands in for the cache: by experiment and name, its bytes."""
    content = {}
    monkeypatch.setattr(page, "stored", lambda one, name, *_: content.get((one.name, name.name)))
    return content


def test_the_page_of_a_model(files):
    widths = [
        tried(f"w<{units}>", right, train_mlp__hidden_units=units)
        for units, right in ((9, 0.99), (3, 0.6))
    ]
    experiments = collect(
        listed(*widths, tried("again", 0.6, train_mlp__hidden_units=3, plot__dpi=60))
    )
    for name in ("main", "w<9>"):
        files[name, "curve.csv"] = b"iteration,loss,accuracy\n0,1.0,0.5\n10,0.5,0.9\n"
        files[name, "100.png"] = name.encode()
    text = page.section("mlp", experiments)
    rows = [
        re.sub(r"<[^>]*>|\xa0", " ", row).split() for row in re.findall(r"<tr.*?>(.*?)</tr>", text)
    ]
    assert [row[:2] for row in rows[1:]] == [
        ["best,", "hidden_units"],
        ["committed", "98.0%"],
        ["hidden_units", "3"],
    ]
    assert rows[1][-1] == "w&lt;9&gt;" and rows[3][-3:] == ["2", "w&lt;3&gt;", "again"]
    sheet = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert [re.search(r"hidden_units\xa0\d+|committed", one)[0] for one in sheet] == [
        "hidden_units\xa03",
        "hidden_units\xa09",
        "committed",
    ]
    assert "not in DVC's cache" in sheet[0] and "base64" in sheet[1]
    *_, losses = re.findall("<svg.*?</svg>", text, re.DOTALL)
    assert len(marks(losses)[0]) == 1, "two curves are equal, one is not there"

    assert page.section("linear", experiments).endswith(
        "<p>The same in all: 50.0% of fresh points right.</p>\n"
    )
    assert page.section("mlp", []) == ""
