"""The picture of the losses: whatever a training does, its curve is seen."""

import numpy as np
import pytest

from pictures import animation, figures


def curve(loss, every=10):
    return np.stack([np.arange(len(loss)) * every, loss, np.ones(len(loss))], axis=1)


def falling(points=1001, to=0.25):
    """As the default net's: from 1.1 down within a tenth of the training."""
    return to + (1.1 - to) * np.exp(-np.arange(points) / (0.03 * points))


def with_peak(height, at):
    loss = falling()
    loss[round(at * 1000)] = height
    return loss


LINEAR = curve(falling(201, to=0.79), every=1)
EXPLODED = np.append([1.1, 6255.0], 37 + 8 * (-1.0) ** np.arange(999))  # as with learning_rate=100
TRAININGS = {
    "peaks": np.maximum.reduce(
        [with_peak(2.1 - place, place) for place in np.linspace(0.1, 0.9, 17)]
    ),
    "one peak": with_peak(1e12, 0.5),
    "exploded": EXPLODED,
    "never falls": np.full(1001, 1.0986),
    "rises": np.linspace(1.1, 19.0, 1001),
    "to zero": np.where(np.arange(1001) < 700, falling(to=0.0), 0.0),
}
EXTREMES = {
    "zero": np.zeros(1001),
    "the highest": with_peak(1.7e308, 0.5),
    "the least": np.full(1001, 5e-324),
}


@pytest.fixture
def kept(monkeypatch):
    """Figures are handed over instead of saved."""
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, *_: drawn.append(figure))
    return drawn


def on_panel(ax):
    """The curve of a panel in pixels from its lower left corner, and the panel's size."""
    pixels = ax.transData.transform(ax.lines[0].get_xydata())
    return pixels - ax.bbox.min, ax.bbox.size


@pytest.mark.parametrize("training", TRAININGS | EXTREMES)
@pytest.mark.parametrize("order", [("linear", "mlp"), ("mlp", "linear"), ("mlp",)])
def test_no_curve_is_cut_or_pressed_to_the_edge(kept, training, order):
    curves = {"linear": LINEAR, "mlp": curve((TRAININGS | EXTREMES)[training])}
    figures.draw_losses(None, {name: curves[name] for name in order}, 60)
    figures.render_figure(kept[0], 60)  # warnings are errors
    for name, ax in zip(order, kept[0].axes, strict=True):
        (x, y), (width, height) = on_panel(ax)[0].T, on_panel(ax)[1]
        assert np.array_equal(ax.lines[0].get_xydata(), curves[name][:, :2])
        assert (
            x.min() >= -0.01 and x.max() <= width + 0.01 and y.min() >= -0.01 and y.max() <= height
        )
        assert y.max() > 0.02 * height or training in EXTREMES


@pytest.mark.parametrize("last", [0.26, 3.0, 37.0])
def test_a_peak_leaves_the_rest_of_its_curve_to_be_seen(kept, last):
    """On a scale to 6,255 that were linear, 37 would be half a pixel above the edge."""
    loss = np.append([1.1, 6255.0], np.linspace(last * 2, last, 999))
    figures.draw_losses(None, {"mlp": curve(loss)}, 60)
    (ax,) = kept[0].axes
    y = on_panel(ax)[0][:, 1]
    assert y[2] - y[-1] > 10 and ax.get_ylabel() == "loss (logarithmic scale)"
    # A tenth of the loss is the same distance everywhere.
    ticks = [tick for tick in ax.get_yticks() if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]]
    heights = ax.transData.transform([(0, tick) for tick in ticks])[:, 1]
    assert len(ticks) >= 2 and np.ptp(np.diff(heights)) < 1e-6 * heights[-1]
    assert np.diff(np.log10(ticks)) == pytest.approx(1)


def test_without_peaks_the_axis_is_linear_from_zero(kept):
    figures.draw_losses(None, {"linear": LINEAR, "mlp": curve(falling())}, 60)
    for ax in kept[0].axes:
        assert ax.get_ylim()[0] == 0 and ax.get_yscale() == "linear"
    assert kept[0].axes[0].get_ylabel() == "loss"


@pytest.mark.parametrize("at", [0.15, 0.24, 0.3, 0.97])
@pytest.mark.parametrize("height", [0.3, 0.5, 4.0, 1e6])
def test_the_start_drawn_larger_covers_nothing_of_the_curve(kept, at, height):
    figures.draw_losses(None, {"mlp": curve(with_peak(height, at))}, 60)
    (ax,) = kept[0].axes
    for inset in ax.child_axes:
        x, y = ax.transData.transform(ax.lines[0].get_xydata()).T
        box = inset.get_tightbbox()  # with its title and ticks
        assert not np.any((x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1))
    if at == 0.15 or height == 0.3:
        assert ax.child_axes, "there is room"


def test_the_animation_shows_a_curve_with_a_peak(monkeypatch):
    seen = []
    monkeypatch.setattr(
        animation,
        "render_figure",
        lambda figure, dpi: seen.append(figure) or figures.render_figure(figure, dpi),
    )
    _, place = animation.draw_background("mlp", curve(EXPLODED))
    (ax,) = seen[0].axes
    assert ax.get_ylabel() == "loss (logarithmic scale)"
    bottom = animation.HEIGHT - ax.bbox.y0
    assert bottom - place(9990)[1] > 50 and bottom - place(10)[1] < ax.bbox.height
