"""The default parameters give the case study's printed losses, digit for digit."""

import csv

import numpy as np
import pytest
from conftest import ROOT

from generate import generate
from pipeline import paths
from pipeline.files import read_points
from train import train_model

pytestmark = pytest.mark.case_study

PUBLISHED = list(csv.DictReader((ROOT / paths.PUBLISHED).read_text().splitlines()))


@pytest.mark.parametrize(
    ("model", "rows", "accuracy"),
    [("linear", 20, "0.49"), pytest.param("mlp", 10, "0.98", marks=pytest.mark.slow)],
)
def test_published_losses_and_accuracy(model, rows, accuracy, params, tmp_path):
    published = {int(row["iteration"]): row["loss"] for row in PUBLISHED if row["model"] == model}
    assert len(published) == rows
    generate(params, tmp_path)

    curve = train_model(model, params.train(model), tmp_path)

    losses = {point.iteration: f"{point.loss:f}" for point in curve}
    assert {iteration: losses[iteration] for iteration in published} == published
    assert f"{curve[-1].accuracy:.2f}" == accuracy


def test_data_is_the_case_study_s(params, tmp_path):
    """Against NumPy's own stream, sine and cosine: the last bit may differ, no more."""
    generate(params, tmp_path)
    X, y = read_points(tmp_path / paths.DATA)
    randn = np.random.RandomState(0).standard_normal
    for j in range(3):
        r = np.linspace(0.0, 1, 100)
        t = np.linspace(j * 4, (j + 1) * 4, 100) + randn(100) * 0.2
        expected = np.c_[r * np.sin(t), r * np.cos(t)]
        np.testing.assert_allclose(X[y == j], expected, rtol=1e-14, atol=1e-17)
