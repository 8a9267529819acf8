"""The pictures show what the files say: looked at as pixels, and as what Matplotlib draws."""

import shutil
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from conftest import CLASSES, ROOT, SMALL, for_every_model, layers, run_to_metrics
from PIL import Image

import report
from evaluate import evaluate
from pictures import animation, figures
from pictures.palette import MARKERS, PALE, TINT, class_colors
from pipeline import paths
from pipeline.files import read_curve, read_json, read_model, read_points, write_csv
from pipeline.params import Plot, load_params
from plot import plot
from spirals.data import NAME
from spirals.models import MODELS
from spirals.training import SNAPSHOT_PERMILLES
from train import train_model

# Inches; a figure of all models has a panel for each.
OF_A_MODEL = {"boundary.png": (5.2, 5.6), "loss.png": (5.2, 3.8)}
OF_ALL = {
    "boundaries.png": (5.2 * len(MODELS), 5.6),
    "confusions.png": (5.2 * len(MODELS), 4.6),
    "data.png": (5.2, 5.6),
    "losses.png": (5.2 * len(MODELS), 3.8),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with everything from the points to the figures, of models that have learned."""
    root = tmp_path_factory.mktemp("drawn")
    learnt = for_every_model(units=30, iterations=400, weight_scale=0.5, learning_rate=0.2)
    params = run_to_metrics(root, learnt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plot.FRAME_CELLS", 60)  # a third of the time
        for name in MODELS:
            plot(name, params.plot, root)
    report.report(params, root)
    return root


@pytest.fixture
def kept(monkeypatch):
    """Figures are handed over instead of saved: what was drawn, as Matplotlib's objects."""
    figures_drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, *_: figures_drawn.append(figure))
    return figures_drawn


@pytest.mark.slow
def test_every_figure_is_there_in_its_size(drawn):
    wanted = {paths.FIGURES / name: inches for name, inches in OF_ALL.items()}
    wanted |= {
        paths.MODELS / model / name: inches
        for model in MODELS
        for name, inches in OF_A_MODEL.items()
    }
    there = {
        path.relative_to(drawn)
        for path in (drawn / "reports").rglob("*.png")
        if path.parent.name != "frames"
    }
    listed = {paths.FIGURES / f"{name}.png" for name in figures.REPORT_FIGURES}
    assert there == {*wanted} | listed
    for path, inches in wanted.items():
        with Image.open(drawn / path) as image:
            assert image.size == tuple(round(side * SMALL["plot.dpi"]) for side in inches)
            edge = np.asarray(image.convert("RGB"))[[0, -1]]
            assert (edge == 255).all(), "white all around: for a dark page"


@pytest.mark.slow
def test_the_slider_has_one_scale_for_all_models(drawn):
    percents = [f"{permille // 10:03}" for permille in SNAPSHOT_PERMILLES if permille % 10 == 0]
    assert percents[0] == "000" and percents[-1] == "100"
    for name in MODELS:
        assert (
            sorted(path.stem for path in (drawn / paths.MODELS / name / "frames").iterdir())
            == percents
        )


@pytest.mark.slow
@pytest.mark.case_study
@pytest.mark.parametrize("name", MODELS)
def test_a_frame_has_the_tint_of_the_class_that_the_model_predicts_there(drawn, name):
    X, _ = read_points(drawn / paths.DATA)
    lim = 1.1 * np.abs(X).max()
    side = animation.SIDE
    pixels = np.asarray(Image.open(drawn / paths.frame(name, 100)).convert("RGB")) / 255
    assert (
        pixels.shape == (side + animation.CAPTION, side, 3)
        and pixels[: animation.CAPTION].min() < 0.3
    ), "words above it"
    pixels = pixels[animation.CAPTION :]
    row, column = map(np.ravel, np.mgrid[4:side:9, 4:side:9])
    at = np.stack(
        [(column + 0.5) / side * 2 * lim - lim, lim - (row + 0.5) / side * 2 * lim], axis=1
    )
    scores = layers(read_model(drawn / paths.weights(name), name, CLASSES).weights, at)[-1]
    ordered = np.sort(scores, axis=1)
    sure = ordered[:, -1] - ordered[:, -2] > 0.3
    free = np.min(np.linalg.norm(at[:, None] - X, axis=2), axis=1) > 0.05
    looked_at = sure & free
    assert looked_at.sum() > 500 and len(set(np.argmax(scores, axis=1)[looked_at])) == CLASSES
    ink = 1 - pixels[row, column][looked_at]
    class_ink = 1 - class_colors(CLASSES)
    cosine = (ink / np.linalg.norm(ink, axis=1)[:, None]) @ (
        class_ink / np.linalg.norm(class_ink, axis=1)[:, None]
    ).T
    assert (np.argmax(cosine, axis=1) == np.argmax(scores, axis=1)[looked_at]).all()


def test_a_point_is_where_it_should_be_and_has_its_colour():
    X, y = np.array([[0.5, 0.8], [-1.0, -0.6]]), np.array([0, 1])
    layer = animation.draw_points_layer(X, y)
    row, column = np.divmod(layer.index, animation.SIDE)
    for (x1, x2), color in zip(X, class_colors(2), strict=True):
        center = ((x1 / 1.1 + 1) / 2 * animation.SIDE, (1 - x2 / 1.1) / 2 * animation.SIDE)
        ours = np.abs(layer.colors - color).max(axis=1) < 0.01
        assert (
            abs(column[ours].mean() + 0.5 - center[0]) < 1
            and abs(row[ours].mean() + 0.5 - center[1]) < 1
        )


@pytest.mark.parametrize("size", [0.3, 0.95, 1.0, 40.0])
def test_points_of_any_extent_fill_their_picture(kept, size):
    X, y = size * np.array([[1.0, 0.5], [-0.2, -1.0]]), np.array([0, 1])
    figures.draw_data(None, X, y, 60)
    (ax,) = kept[0].axes
    kept[0].draw_without_rendering()
    for limits, ticks in ((ax.get_xlim(), ax.get_xticks()), (ax.get_ylim(), ax.get_yticks())):
        assert limits == pytest.approx((-1.1 * size, 1.1 * size))
        assert np.sum(np.abs(ticks) <= 1.1 * size) >= 3


def test_a_line_only_between_regions():
    nothing = animation.PointsLayer(np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 1)))
    rounding = 1e-16 * np.random.RandomState(0).uniform(size=(3, 9, 9))
    for even in (np.full((3, 9, 9), 1 / 3), 1 / 3 + rounding):
        assert animation.boundary_pixels(even, nothing).min() > 200
    left = np.linspace(0.9, 0.1, 9)
    halves = animation.boundary_pixels(
        np.stack([left, 1 - left])[:, None].repeat(9, axis=1), nothing
    )
    dark = np.nonzero((halves.max(axis=2) < 150).all(axis=0))[0]
    assert dark.size and abs(dark.mean() + 0.5 - animation.SIDE / 2) < 1 and dark.size <= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_animation(drawn, name):
    snapshots = read_json(drawn / paths.snapshots(name))
    iterations = sorted({snapshot["iteration"] for snapshot in snapshots})
    frames, times = [], []
    with Image.open(drawn / paths.learning(name)) as image:
        assert image.n_frames == len(iterations) > 30
        assert image.size == (animation.WIDTH, animation.HEIGHT) and image.info["loop"] == 0
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")).astype(int))
            times.append(image.info["duration"])
    assert (
        times[-1] == animation.LAST_FRAME_TIME
        and times[0] > times[1]
        and set(times[1:-1]) == {animation.FRAME_TIME}
    )

    # The boundary of the last frame is that of the slider's last step, but for merged colours.
    left, top, side = animation.LEFT, animation.TOP, animation.SIDE
    slider = np.asarray(Image.open(drawn / paths.frame(name, 100)).convert("RGB")).astype(int)
    there = frames[-1][top : top + side, left : left + side]
    slider = slider[animation.CAPTION :]
    assert (
        np.abs(there - slider).mean()
        < 2
        < np.abs(frames[0][top : top + side, left : left + side] - slider).mean()
    )

    # The dot runs along the curve to the right, and the words above the boundary change.
    still = np.median(frames[:: len(frames) // 8], axis=0)
    columns = []
    for frame in (frames[0], frames[len(frames) // 2], frames[-1]):
        moved = np.abs(frame - still).sum(axis=2)[:, left + side + 40 :] > 60
        columns.append(np.nonzero(moved)[1].mean())
    assert columns[0] < columns[1] < columns[2]
    assert (frames[0][: top - 5] != frames[-1][: top - 5]).any()


@pytest.mark.parametrize("name", MODELS)
def test_the_committed_animation_fits_in_a_readme(name):
    picture = ROOT / paths.learning(name)
    if not picture.exists():
        pytest.skip("dvc repro has not run yet")
    assert picture.stat().st_size < 1_500_000


def test_a_region_has_the_colour_of_its_class_and_pales_towards_its_border():
    ink = 1 - class_colors(3)
    colors = figures.shade_regions(np.array([0, 2, 2]), np.array([1.0, 1.0, 0.0]))
    assert colors[0] == pytest.approx(1 - TINT * ink[0])
    assert colors[1] == pytest.approx(1 - TINT * ink[2])
    assert colors[2] == pytest.approx(1 - PALE * ink[2])


def test_a_margin_is_over_the_best_of_the_other_classes():
    margins = figures.class_margins(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]]).T)
    assert (
        pytest.approx(np.array([[0.2, -0.2, -0.3], [-0.7, -0.7, 0.7], [0.0, 0.0, -0.2]]))
        == margins.T
    )


def test_a_boundary_marks_what_is_wrong(kept):
    X, y = np.random.RandomState(0).uniform(-1, 1, (300, 2)), np.arange(300) % 3
    right = np.full(300, True)
    right[:30] = False
    probabilities = np.full((3, 20, 20), np.array([0.2, 0.7, 0.1])[:, None, None])
    figures.draw_boundary(
        None,
        X,
        y,
        title="what it is",
        predicted=np.where(right, y, (y + 1) % 3),
        probabilities=probabilities,
        dpi=60,
    )
    (ax,) = kept[0].axes
    assert ax.get_title() == "what it is"
    tint = figures.shade_regions(np.array([0, 1]), np.array([0, 0.5]))[1]
    assert np.asarray(ax.images[0].get_array())[5, 5] == pytest.approx(tint)
    black = [points for points in ax.collections if (points.get_edgecolors()[:1, :3] == 0).all()]
    marked = np.concatenate([points.get_offsets() for points in black])
    assert sorted(map(tuple, marked.tolist())) == sorted(map(tuple, X[~right].tolist()))
    assert [text.get_text() for text in kept[0].legends[0].texts] == [
        "class 0",
        "class 1",
        "class 2",
        "misclassified",
    ]


@pytest.mark.slow
@pytest.mark.case_study
@pytest.mark.parametrize("name", MODELS)
def test_a_boundary_says_the_accuracy(drawn, kept, name, monkeypatch):
    monkeypatch.setattr(animation, "draw_frames", lambda *_: [])
    monkeypatch.setattr(animation, "draw_slider", lambda *_: {})
    monkeypatch.setattr(animation, "draw_animation", lambda *_: None)
    plot(name, load_params(drawn).plot, drawn)
    X, y = read_points(drawn / paths.DATA)
    scores = layers(read_model(drawn / paths.weights(name), name).weights, X)[-1]
    right = np.mean(np.argmax(scores, axis=1) == y)
    assert 0.4 < right < 1
    assert kept[0].axes[0].get_title() == f"{MODELS[name].title}: {right:.0%} training accuracy"


def test_many_points_are_thinned_and_say_so(kept):
    X, y = np.random.RandomState(0).uniform(-1, 1, (20_000, 2)), np.arange(20_000) % 2
    figures.draw_data(None, X, y, 60)
    (ax,) = kept[0].axes
    assert ax.get_title() == f"{NAME}: 20,000 points in 2 classes\n(one point in 7 is drawn)"
    assert sum(len(points.get_offsets()) for points in ax.collections) == 2 * -(-10_000 // 7)


@pytest.mark.slow
def test_losses_are_the_curve_and_its_start_again(drawn, kept):
    curve = read_curve(drawn / paths.curve("linear"))
    falls = np.maximum(0.25, 1 - np.arange(601) / 50)  # and leaves room for its start
    long = np.stack([np.arange(0, 6010, 10), falls, np.ones(601)], axis=1)
    figures.draw_losses(None, {"linear": curve, "mlp": long}, 60)
    short_ax, long_ax = kept[0].axes[:2]
    assert np.array_equal(short_ax.lines[0].get_xydata(), curve[:, :2]) and not short_ax.child_axes
    assert long_ax.get_title() == "Two-layer network: loss 0.250 after 6,000 iterations"
    (inset,) = long_ax.child_axes
    assert np.array_equal(inset.lines[0].get_xydata(), long[:91, :2])
    assert inset.get_title() == "the first 900 iterations"
    assert (
        short_ax.get_xlabel() == long_ax.get_xlabel() == "iteration"
        and short_ax.get_ylabel() == "loss"
    )


def test_confusions_count_actual_by_row(kept):
    figures.draw_confusions(None, {"mlp": np.array([[8, 2], [1, 9]])}, 60)
    (ax,) = kept[0].axes
    assert ax.get_title() == "Two-layer network: 85.0% test accuracy"
    assert {(text.get_position(), text.get_text()) for text in ax.texts} == {
        ((0, 0), "8"),
        ((1, 0), "2"),
        ((0, 1), "1"),
        ((1, 1), "9"),
    }
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "actual class")


@pytest.mark.slow
def test_confusions_are_counted_from_the_file(drawn):
    classes = range(CLASSES)
    for name in MODELS:
        rows = (drawn / paths.confusion(name)).read_text().splitlines()[1:]
        counted = report.read_confusions(name, CLASSES, drawn)
        assert counted.tolist() == [[rows.count(f"{a},{p}") for p in classes] for a in classes]


@pytest.mark.slow
def test_a_figure_that_is_added_to_the_list_stands_in_both_reports(drawn, tmp_path, monkeypatch):
    def draw(path, results, dpi):
        size = len(results.X), len(results.curves)
        figures.write_image(Image.new("RGB", size), path, dpi)

    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    added = figures.ReportFigure("What was added", draw, caption="Words below it.")
    monkeypatch.setitem(figures.REPORT_FIGURES, "added", added)
    report.report(load_params(drawn), tmp_path)
    with Image.open(tmp_path / paths.FIGURES / "added.png") as image:
        assert image.size == (len(read_points(drawn / paths.DATA)[1]), len(MODELS))
    text = (tmp_path / paths.REPORT).read_text()
    assert "![What was added](figures/added.png)\n\nWords below it.\n" in text
    page = (tmp_path / paths.REPORT_PAGE).read_text()
    assert 'alt="What was added"' in page and "Words below it." in page


@pytest.mark.slow
def test_a_boundary_alone_is_its_panel_of_all(drawn):
    together = np.asarray(Image.open(drawn / paths.FIGURES / "boundaries.png"))
    alone = [np.asarray(Image.open(drawn / paths.picture(name, "boundary"))) for name in MODELS]
    assert np.array_equal(together, np.concatenate(alone, axis=1)) and not np.array_equal(
        *alone[:2]
    )


@pytest.mark.slow
def test_a_grid_is_the_same_in_any_number_of_steps(drawn, monkeypatch):
    model = read_model(drawn / paths.weights("mlp"), "mlp")
    grid = figures.grid_probabilities(model, 1.1, 12)
    x1, x2 = np.linspace(-1.1, 1.1, 12)[[7, 2]]
    scores = np.exp(layers(model.weights, np.array([x1, x2]))[-1])
    assert grid.shape == (CLASSES, 12, 12) and grid[:, 2, 7] == pytest.approx(scores / scores.sum())
    for at_once in (1, 30 * 12 * 5):  # a row, and five
        monkeypatch.setattr(figures, "BLOCK_NUMBERS", at_once)
        assert np.array_equal(figures.grid_probabilities(model, 1.1, 12), grid)


def test_a_grid_asks_for_no_names_of_weights():
    model = SimpleNamespace(weights={"W1": np.eye(2)}, forward=lambda X: (X, None))
    grid = figures.grid_probabilities(model, 1.0, 10)
    assert np.array_equal(
        grid.argmax(axis=0), np.arange(10)[:, None] > np.arange(10)
    )  # class 1 above the diagonal


def test_a_palette_keeps_the_colours_that_cover_most():
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:, :4], pixels[:, 4:8], pixels[:, 8:] = (255, 255, 255), (114, 175, 213), (30, 30, 30)
    (image,) = animation.quantize_together([pixels], 256)
    assert np.array_equal(image.convert("RGB"), pixels)
    rare = pixels.copy()
    rare[:, 8:] = (250, 250, 250)
    images = animation.quantize_together([pixels, pixels, rare], 3)
    assert np.array_equal(images[2].convert("RGB"), np.where(rare == 250, 255, rare))
    assert all(len(image.getcolors()) <= 3 for image in images)


def assert_nothing_is_cut_or_covered(figure):
    """White on all four sides; panels, with their titles and labels, and legends lie apart."""
    pixels = np.asarray(figures.render_figure(figure, 60).convert("RGB"))
    assert all((edge == 255).all() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    boxes = [part.get_tightbbox() for part in (*figure.axes, *figure.legends)]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number]), boxes


@pytest.mark.slow
@pytest.mark.parametrize(("points", "classes"), [(20, 3), (20, 4), (500, 8)])
def test_words_have_room_whatever_the_data(kept, points, classes):
    X, y = (
        np.random.RandomState(0).uniform(-1, 1, (points * classes, 2)),
        np.arange(points * classes) % classes,
    )
    probabilities = (
        np.random.RandomState(1).dirichlet(np.ones(classes), (10, 10)).transpose(2, 0, 1)
    )
    figures.draw_data(None, X, y, 60)
    for model in MODELS.values():
        figures.draw_boundary(
            None,
            X,
            y,
            title=f"{model.title}: 100% training accuracy",
            predicted=0 * y,
            probabilities=probabilities,
            dpi=60,
        )
    for number in (points, 1000 * points):
        figures.draw_confusions(
            None, {name: np.full((classes, classes), number) for name in MODELS}, 60
        )
        figures.draw_confusions(None, {name: np.eye(classes) * number for name in MODELS}, 60)
    assert len(kept) == 5 + len(MODELS)
    for figure in kept:
        assert_nothing_is_cut_or_covered(figure)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [1e-5, 0.3, 123_456.0])
def test_words_have_room_whatever_the_loss(kept, loss):
    curve = np.stack(
        [np.arange(601) * 10_000, np.linspace(loss, loss / 3, 601), np.ones(601)], axis=1
    )
    alone = [{name: some} for name in MODELS for some in (curve, curve[:300])]
    for curves in (*alone, dict.fromkeys(MODELS, curve), dict.fromkeys(MODELS, curve[:300])):
        figures.draw_losses(None, curves, 60)
        assert_nothing_is_cut_or_covered(kept[-1])


@pytest.mark.parametrize("classes", [2, 8, 9, 100])
def test_every_class_has_a_look_of_its_own(classes):
    colors = class_colors(classes)
    looks = {
        (*color, MARKERS[k % len(MARKERS)]) for k, color in enumerate(colors.round(3).tolist())
    }
    assert len(looks) == classes and colors.min() >= 0 and colors.max() <= 1


@pytest.mark.slow
def test_many_classes_and_a_short_training_can_be_drawn(tmp_path, monkeypatch):
    """One iteration, 10 classes: all moments are two, and no picture fails."""
    X, y = np.random.RandomState(0).uniform(-1, 1, (20, 2)), np.arange(20) % 10
    write_csv(
        tmp_path / paths.DATA,
        paths.DATA_HEADER,
        [(*x, k) for x, k in zip(X.tolist(), y.tolist(), strict=True)],
    )
    shutil.copy(tmp_path / paths.DATA, tmp_path / paths.TEST)
    params = load_params(ROOT)
    monkeypatch.setattr(figures, "draw_losses", lambda *_: None)  # knows no classes
    monkeypatch.setattr("plot.FRAME_CELLS", 20)
    for name in MODELS:
        section = msgspec.structs.replace(getattr(params, f"train_{name}"), iterations=1)
        train_model(name, section, tmp_path)
        evaluate(name, params, tmp_path)
        plot(name, Plot(grid=10, dpi=60), tmp_path)
        with Image.open(tmp_path / paths.learning(name)) as image:
            assert image.n_frames == 2
    report.draw_figures(60, tmp_path, {})
    assert (tmp_path / paths.FIGURES / "boundaries.png").exists()
