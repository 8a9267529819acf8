"""The page of experiments: what is collected from DVC, and what stands above its plots."""

import io
import re

import pytest
from PIL import Image

compare = pytest.importorskip("compare.__main__", reason="it is being written anew", exc_type=ImportError)


def shown(rev, name, units, accuracy, **more):
    params = {"train_mlp": {"hidden_units": units, "l2": 0.1}, "plot": {"dpi": units}}
    metrics = {"linear": {"test_accuracy": 0.5}, "mlp": {"test_accuracy": accuracy}}
    return {
        "rev": rev,
        "name": name,
        "data": {
            "params": {"params.yaml": {"data": params}},
            "metrics": {"reports/metrics.json": {"data": metrics}},
        },
        **more,
    }


def tried(name, *arguments):
    return {"name": name, "revs": [shown(*arguments)]}


SHOWN = [
    shown("workspace", None, 7, 0.1),
    shown(
        "0123456789",
        "main",
        100,
        0.98,
        experiments=[
            tried("small", "a" * 40, None, 3, 0.66),
            {"name": "failed", "revs": [shown("b" * 40, None, 1000, 0.98, error={"msg": "Experiment run failed"})]},
            {"name": "queued", "revs": [{"rev": "d" * 40, "name": None, "data": None}]},
            tried(None, "c" * 40, None, 30, 0.9),
        ],
    ),
]


def test_experiments_are_collected_without_the_workspace_and_the_failed():
    found = compare.collect(SHOWN)
    assert [one["name"] for one in found] == ["main", "small", "ccccccc"]
    assert [one["params"]["train_mlp.hidden_units"] for one in found] == [100, 3, 30]
    assert [one["metrics"]["mlp.test_accuracy"] for one in found] == [0.98, 0.66, 0.9]


def test_only_what_differs_is_shown():
    found = compare.collect(SHOWN)
    assert compare.varying(found) == ["train_mlp.hidden_units"]
    head = compare.heading(found, ["train_mlp.hidden_units"])
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", head)]
    assert rows[0][:2] == ["", "train_mlp.hidden_units"]
    assert rows[1:] == [
        ["main", "100", "50.0%", "98.0%"],
        ["small", "3", "50.0%", "66.0%"],
        ["ccccccc", "30", "50.0%", "90.0%"],
    ]
    assert head.count("<img") == 1


@pytest.mark.parametrize("count", [1, 3, 4])
def test_the_chart_has_a_panel_for_every_parameter(count, monkeypatch):
    names = [f"train_mlp.p{n}" for n in range(count)]
    experiments = [
        {
            "params": dict.fromkeys(names, value),
            "metrics": {"linear.test_accuracy": 0.5, "mlp.test_accuracy": value / 10},
        }
        for value in (1, 9)
    ]
    panels, savefig = [], compare.Figure.savefig

    def seen(figure, *args, **settings):
        panels.extend(ax for ax in figure.axes if ax.axison)
        savefig(figure, *args, **settings)

    monkeypatch.setattr(compare.Figure, "savefig", seen)
    image = Image.open(io.BytesIO(compare.chart(experiments, names)))
    assert [ax.get_xlabel() for ax in panels] == names
    for ax in panels:
        linear, net = (points.get_offsets().tolist() for points in ax.collections)
        assert linear == [[1, 50], [9, 50]] and net == [[1, 10], [9, 90]]
    assert image.width > image.height or count == 1
