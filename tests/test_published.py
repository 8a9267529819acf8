"""The default parameters give the case study's printed losses, digit for digit."""

import csv
from pathlib import Path

import pytest

from generate import generate
from pipeline.files import read_points
from train import train_model

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = list(csv.DictReader((ROOT / "reference" / "published.csv").read_text().splitlines()))


@pytest.mark.parametrize(
    ("model", "rows", "accuracy"),
    [("linear", 20, "0.49"), pytest.param("mlp", 10, "0.98", marks=pytest.mark.slow)],
)
def test_published_losses(model, rows, accuracy, params, tmp_path):
    generate(params, tmp_path)
    losses = {}
    last = train_model(
        model, getattr(params, f"train_{model}"), tmp_path, lambda *event: losses.update([event])
    )[-1]
    published = {int(row["iteration"]): row["loss"] for row in PUBLISHED if row["model"] == model}
    assert len(published) == rows
    assert {iteration: f"{losses[iteration]:f}" for iteration in published} == published
    assert f"{last[2]:.2f}" == accuracy


def test_data_is_the_case_study_s(params, tmp_path):
    """Against NumPy's own stream, sine and cosine: the last bit may differ, no more."""
    import numpy as np

    generate(params, tmp_path)
    X, y = read_points(tmp_path / "data" / "spirals.csv")
    randn = np.random.RandomState(0).standard_normal
    for j in range(3):
        r = np.linspace(0.0, 1, 100)
        t = np.linspace(j * 4, (j + 1) * 4, 100) + randn(100) * 0.2
        np.testing.assert_allclose(
            X[y == j], np.c_[r * np.sin(t), r * np.cos(t)], rtol=1e-14, atol=1e-17
        )
