"""The page to explore shows what the models say: its numbers beside NumPy's, its controls used as a user would."""

import base64
import json
import re
import shutil
import time

import numpy as np
import pytest
from browser import MISSING, Browser
from conftest import ROOT, SMALL, set_params

from generate import generate
from pictures import explorer as page_part
from pictures.explorer import explorer, layers
from pictures.figures import leads, tinted
from pictures.pages import filled
from pictures.palette import class_colors, limit
from pipeline import paths
from pipeline.files import read_curve, read_points, read_snapshots, write_csv, write_json
from pipeline.params import load_params
from spirals.models import MODELS, softmax
from train import train_model

LEFT, RIGHT, PAGE_UP, HOME, END, TAB = (
    "\ue012",
    "\ue014",
    "\ue00e",
    "\ue011",
    "\ue010",
    "\ue004",
)  # keys of WebDriver
MARGIN = (34, 8, 8, 34)  # CSS pixels left of a plane, right of it, above and below (explorer.js)
NET, LINEAR = '[data-model="mlp"]', '[data-model="linear"]'
SLIDER = ".explorer input[type=range]"
LEFT_OUT = (
    r"no picture here, because its weights are too many for this page, or no chain W, b, W2, b2\."
)


class Deep(MODELS["mlp"]):
    """A third model, of two hidden layers, that the page has never heard of."""

    title = "Net of two hidden layers"
    shapes = {"W": "DH", "b": "H", "W2": "HG", "b2": "G", "W3": "GK", "b3": "K"}

    @staticmethod
    def forward(weights, X):
        hidden = np.maximum(0, X @ weights["W"] + weights["b"])
        hidden = np.maximum(0, hidden @ weights["W2"] + weights["b2"])
        return hidden @ weights["W3"] + weights["b3"], hidden


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Points and trainings of both models; the net has learnt something."""
    root = tmp_path_factory.mktemp("explored")
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    set_params(root, {**SMALL, "train_mlp.iterations": 400, "train_mlp.hidden_units": 30})
    params = load_params(root)
    generate(params, root)
    for name in ("linear", "mlp"):
        train_model(name, getattr(params, f"train_{name}"), root)
    return root


@pytest.fixture(autouse=True)
def two(monkeypatch):
    """The models that this file has numbers of; for others see `deep`."""
    for name in {*MODELS} - {"linear", "mlp"}:
        monkeypatch.delitem(MODELS, name)


@pytest.fixture
def deep(root, monkeypatch, tmp_path):
    """The same, with a third model that was put into the registry."""
    shutil.copytree(root / "data", tmp_path / "data")
    monkeypatch.setitem(MODELS, "deep", Deep)
    random = np.random.RandomState(3)
    shapes = {"W": (2, 7), "b": (7,), "W2": (7, 5), "b2": (5,), "W3": (5, 3), "b3": (3,)}
    moments = [
        {
            "permille": permille,
            "iteration": permille * 2,
            "accuracy": 0.5,
            "weights": {
                name: (2 * random.standard_normal(shape)).tolist() for name, shape in shapes.items()
            },
        }
        for permille in (0, 100, 1000)
    ]
    write_json(tmp_path / paths.snapshots("deep"), moments)
    write_csv(
        tmp_path / paths.curve("deep"),
        paths.CURVE_HEADER,
        [(0, 1.5, 0.3), (200, 0.7, 0.5), (2000, 0.2, 0.5)],
    )
    return tmp_path


def data_of(html):
    """What the page is given."""
    return json.loads(re.search(r'id="explorer-data">(.*?)</script>', html)[1])


def decoded(text):
    return np.frombuffer(base64.b64decode(text, validate=True), "<f8")


def moments_of(root, name):
    return read_snapshots(root / paths.snapshots(name), name)


def written(root, folder):
    """A page with nothing but the explorer; returns its address."""
    path = folder / "page.html"
    style = ":root { color-scheme: light dark }"
    path.write_text(filled("page.html", style=style, name="", body=explorer(root, 2_000_000)))
    return path.as_uri()


# What is written


def test_the_weights_are_the_very_doubles(root):
    models = data_of(explorer(root, 2_000_000))["models"]
    assert [model["name"] for model in models] == ["linear", "mlp"]
    for model in models:
        snapshots = moments_of(root, model["name"])
        weights = [
            at["weights"][name].ravel() for at in snapshots for name in MODELS[model["name"]].shapes
        ]
        assert decoded(model["weights"]).tobytes() == np.concatenate(weights).tobytes()
        assert [at["iteration"] for at in model["moments"]] == [at["iteration"] for at in snapshots]
        curve = read_curve(root / paths.curve(model["name"]))
        assert (decoded(model["curve"]["loss"]) == curve[:, 1]).all()


def test_points_are_those_of_the_data(root):
    data = data_of(explorer(root, 2_000_000))
    X, y = read_points(root / paths.DATA)
    assert (decoded(data["points"]["x"]).reshape(2, -1).T == X).all()
    assert (np.frombuffer(base64.b64decode(data["points"]["y"]), np.uint8) == y).all()
    assert data["limit"] == limit(X) and data["colors"] == class_colors(3).round(6).tolist()


def test_a_loss_is_the_recorded_one_nearest_to_the_moment(root):
    for model in data_of(explorer(root, 2_000_000))["models"]:
        curve = {
            int(iteration): loss
            for iteration, loss, _ in read_curve(root / paths.curve(model["name"]))
        }
        assert model["moments"][-1]["loss"] == [*curve.values()][-1]
        for at in model["moments"]:
            assert at["loss"] == curve[at["lossAt"]]
            assert all(
                abs(at["lossAt"] - at["iteration"]) <= abs(other - at["iteration"])
                for other in curve
            )


def test_the_same_text_twice(root):
    assert explorer(root, 2_000_000) == explorer(root, 2_000_000)
    assert str(root) not in explorer(root, 2_000_000)


@pytest.mark.parametrize(
    ("most", "models", "told"),
    [
        (200_000, ["linear", "mlp"], None),
        (
            30_000,
            ["linear", "mlp"],
            r"^Two-layer net: (\d+) of 57 moments, as many as fit on this page\.$",
        ),
        (8_200, ["linear", "mlp"], r"^Two-layer net: (1) of 57 moments"),
        (7_000, ["linear"], rf"^Two-layer net: {LEFT_OUT}$"),
        (90, [], rf"^Linear softmax classifier: {LEFT_OUT} Two-layer net: {LEFT_OUT}$"),
    ],
)
def test_what_does_not_fit_is_left_out_and_that_is_said(most, models, told, root, monkeypatch):
    monkeypatch.setattr(page_part, "MOST_WEIGHTS", most)
    html = explorer(root, 2_000_000)
    shown = data_of(html)["models"] if models else []
    assert [model["name"] for model in shown] == models
    assert sum(len(model["weights"]) for model in shown) <= most
    notes = re.search('class="notes">(.*?)</p>', html)
    found = told and re.search(told, notes[1])
    assert found if told else notes is None
    if found and found.groups():
        permilles = [at["permille"] for at in shown[1]["moments"]]
        assert (
            len(permilles) == int(found[1])
            and permilles[-1] == 1000
            and (permilles[0] == 0 or len(permilles) == 1)
        )


@pytest.mark.parametrize("room", [110_000, 150_000, 250_000])
def test_the_room_is_kept_to_and_used(room, root):
    assert len(explorer(root, room)) <= room
    kept = data_of(explorer(root, room))["models"][-1]["moments"]
    assert len(kept) > 5 and (len(kept) == 57) == (room == 250_000)


def test_a_large_file_of_snapshots_is_not_read(root, tmp_path, monkeypatch):
    path = tmp_path / "mlp_snapshots.json"
    path.write_bytes(b"[" + b" " * 2_000_000)  # would be refused
    assert page_part._read(path, "mlp", 3, most=1000) == []
    moments = moments_of(root, "mlp")
    size = sum(value.size for value in moments[0]["weights"].values())
    assert len(page_part._read(root / paths.snapshots("mlp"), "mlp", 3, most=size)) == len(moments)


def test_many_points_and_a_long_curve_are_thinned(root, tmp_path):
    random = np.random.RandomState(0)
    points = np.concatenate(
        [random.uniform(-1, 1, (9000, 2)), np.arange(9000)[:, None] % 3], axis=1
    )
    shutil.copytree(root / "data", tmp_path / "data")
    write_csv(tmp_path / paths.DATA, paths.DATA_HEADER, [(*x, int(k)) for *x, k in points.tolist()])
    for name in MODELS:
        rows = [(i, 1.0 + (i == 7777), 0.5) for i in range(20_000)]
        write_csv(tmp_path / paths.curve(name), paths.CURVE_HEADER, rows)
    html = explorer(tmp_path, 2_000_000)
    data = data_of(html)
    assert len(decoded(data["points"]["x"])) == 2 * 3000 and "One point in 3 is drawn." in html
    for model in data["models"]:
        iteration, loss = decoded(model["curve"]["iteration"]), decoded(model["curve"]["loss"])
        assert len(loss) <= page_part.MOST_CURVE + 2 and (iteration[0], iteration[-1]) == (
            0,
            19_999,
        )
        assert iteration[loss == 2.0].tolist() == [7777], "a peak is kept"


@pytest.mark.parametrize(
    ("accuracies", "told"),
    [
        ([0.3, 0.95, 0.8, 0.9, 0.99], "drag it to iteration 30 of the two-layer net: there"),
        ([0.3, 0.95, 0.99, 0.99, 0.8], "or drag it. "),
        ([0.9, 0.95, 0.99, 0.99, 0.95], "or drag it. "),
    ],
)
def test_the_sentence_to_try_is_true(accuracies, told):
    moments = [{"iteration": 10 * i, "accuracy": accuracy} for i, accuracy in enumerate(accuracies)]
    assert told in page_part.to_try([{"title": "Two-layer net", "moments": moments}])


def test_layers_are_a_chain_or_nothing():
    W, b, W2, b2 = np.zeros((2, 3)), np.zeros(3), np.zeros((3, 4)), np.zeros(4)
    assert [
        pair[0] is W or pair[0] is W2 for pair in layers({"W": W, "W2": W2, "b2": b2, "b": b})
    ] == [True, True]
    assert (
        layers({"centres": W, "b": b}) == [] and layers({"W": W, "b": b, "W3": W2, "b3": b2}) == []
    )


# What is seen


@pytest.fixture(scope="module")
def browser():
    if MISSING:
        pytest.skip("chromium and chromedriver are missing")
    with Browser(width=1100, height=900) as browser:
        browser.emulate(prefers_color_scheme="light")
        yield browser


@pytest.fixture
def opened(browser, root, tmp_path):
    """The browser with the page, and at the end without a message in its console or a request to a network."""
    browser.emulate(prefers_color_scheme="light")
    browser.log("browser"), browser.log("performance")
    address = written(root, tmp_path)
    browser.open(address)
    browser.wait("window.explorer")
    yield browser
    assert browser.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [address]


def on_screen(browser):
    """Waits until what was done before is drawn."""
    browser.script(
        "return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
    )


def told(browser, panel, name):
    """The text of a part, when what was done before is on the screen."""
    on_screen(browser)
    return browser.script(
        "return document.querySelector(arguments[0]).innerText", f"{panel} .{name}"
    )


def shown(browser):
    """The moment that the page says it shows, by model."""
    return {
        name: tuple(
            told(browser, f'[data-model="{name}"]', part).replace(",", "")
            for part in ("iteration", "loss", "accuracy")
        )
        for name in browser.script("return explorer.models")
    }


def expected(root, name, permille):
    """The nearest moment: its iteration, the loss recorded nearest to it, its accuracy; as the page writes them."""
    at = min(moments_of(root, name), key=lambda at: abs(at["permille"] - permille))
    curve = read_curve(root / paths.curve(name))
    loss = curve[np.argmin(np.abs(curve[:, 0] - at["iteration"])), 1]
    return str(at["iteration"]), f"{loss:#.4g}", f"{at['accuracy']:.1%}"


def grid(root, cells):
    lim = limit(read_points(root / paths.DATA)[0])
    axis = np.linspace(-lim, lim, cells)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def assert_the_same_as_numpy(browser, root, name, moments):
    X = grid(root, 41)
    snapshots = moments_of(root, name)
    for moment in moments:
        ours = softmax(MODELS[name].forward(snapshots[moment]["weights"], X)[0])
        theirs = browser.script(
            "return explorer.probabilities(...arguments)", name, moment, *X.T.tolist()
        )
        assert np.abs(np.array(theirs) - ours).max() < 1e-9
        sure = leads(ours.T).max(axis=0) > 1e-9
        assert sure.mean() > 0.9 or moment == 0
        assert (np.argmax(theirs, axis=1) == np.argmax(ours, axis=1))[sure].all()


@pytest.mark.slow
def test_the_page_computes_what_numpy_does(opened, root):
    for name in MODELS:
        count = len(opened.script("return explorer.moments(arguments[0])", name))
        assert count == len(moments_of(root, name)) == 57
        assert_the_same_as_numpy(opened, root, name, [count - 1, 0, 11, 23, 34, 50])


@pytest.mark.slow
def test_a_third_model_with_more_layers_needs_no_other_page(browser, deep, tmp_path):
    browser.open(written(deep, tmp_path))
    browser.wait("window.explorer")
    assert browser.script("return explorer.models") == ["linear", "mlp", "deep"]
    assert_the_same_as_numpy(browser, deep, "deep", [0, 1, 2])
    assert told(browser, '[data-model="deep"]', "where").endswith(
        "7 units of the first hidden layer."
    )


def side_of(browser):
    return (
        browser.script("return document.querySelector('.base').clientWidth") - MARGIN[0] - MARGIN[1]
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_regions_that_are_drawn_are_those_of_the_figures(scheme, opened, root):
    opened.emulate(prefers_color_scheme=scheme)
    X, _ = read_points(root / paths.DATA)
    lim, side = limit(X), side_of(opened)
    pixel = np.arange(6, int(side) - 6, 7)
    column, row = (axis.ravel() for axis in np.meshgrid(pixel, pixel))
    places = np.stack(
        [(column + 0.5) / side * 2 * lim - lim, lim - (row + 0.5) / side * 2 * lim], axis=1
    )
    opened.script(READ_PIXELS)
    opened.script(f"document.querySelector('{SLIDER}').focus()")
    for key, moment in ((END, -1), (HOME, 0), (PAGE_UP, 5)):
        opened.press(key)
        for name in MODELS:
            lead = leads(
                softmax(
                    MODELS[name].forward(moments_of(root, name)[moment]["weights"], places)[0]
                ).T
            )
            best, margin = np.argmax(lead, axis=0), np.max(lead, axis=0)
            ours = tinted(best, margin)
            if scheme == "dark":  # the same amount of colour times 0.7, on the dark paper
                paper = np.array([0x14, 0x17, 0x1B]) / 255
                strength = 0.7 * (1 - ours).max(axis=1) / (1 - class_colors(3)).max(axis=1)[best]
                ours = paper + (class_colors(3)[best] - paper) * strength[:, None]
            free = np.min(np.linalg.norm(places[:, None] - X, axis=2), axis=1) > 0.06
            end = time.monotonic() + 60
            while True:  # until the fine picture is there
                drawn = np.array(
                    opened.script(
                        "return pixels(...arguments)", name, column.tolist(), row.tolist()
                    )
                )
                near = np.abs(drawn / 255 - ours).max(axis=1) < 0.02
                if near[free].mean() > 0.97 or time.monotonic() > end:  # the rest lies under a line
                    break
                time.sleep(0.2)
            assert free.sum() > 500 and near[free].mean() > 0.97, (name, moment, near[free].mean())


READ_PIXELS = """
window.copied = (canvas) => {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const pen = copy.getContext("2d", {willReadFrequently: true});
  pen.drawImage(canvas, 0, 0);
  return pen;
};
window.pixels = (name, columns, rows) => {
  const canvas = document.querySelector(`[data-model="${name}"] .base`);
  const all = copied(canvas).getImageData(0, 0, canvas.width, canvas.height).data;
  return columns.map((column, i) => {
    const at = 4 * ((rows[i] + 8) * canvas.width + column + 34);
    return [...all.slice(at, at + 3)];
  });
};"""


@pytest.mark.slow
def test_the_slider_by_keys(opened, root):
    assert shown(opened) == {name: expected(root, name, 1000) for name in MODELS}, (
        "the trained models first"
    )
    opened.script(f"document.querySelector('{SLIDER}').focus()")
    stops = [at["permille"] for at in moments_of(root, "mlp")]
    for keys, stop in (
        ([HOME], 0),
        ([RIGHT], 1),
        ([RIGHT] * 11, 14),
        ([LEFT], 12),
        ([PAGE_UP], stops[stops.index(12) + 5]),
        ([END], 1000),
        ([RIGHT], 1000),
        ([LEFT], 800),
    ):
        opened.press(*keys)
        assert shown(opened) == {name: expected(root, name, stop) for name in MODELS}
        spoken = opened.script(
            f"return document.querySelector('{SLIDER}').getAttribute('aria-valuetext')"
        )
        assert (
            spoken.startswith(f"{stop / 10:.1f}% of the training; Linear")
            and "Two-layer net: iteration" in spoken
        )
        assert told(opened, ".controls", "part") == f"{stop / 10:.1f}%"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_slider_and_curve_are_dragged(kind, opened, root):
    width = opened.script(f"return document.querySelector('{SLIDER}').clientWidth")
    opened.move(
        SLIDER,
        (width - 8, 16),
        (width / 2, 16),
        (8 + (width - 16) * 0.84, 16),
        drag=True,
        kind=kind,
    )
    permille = float(told(opened, ".controls", "part")[:-1]) * 10
    assert abs(permille - 1000 * 0.84**2) < 40
    assert shown(opened) == {name: expected(root, name, permille) for name in MODELS}
    wanted = int(permille * 400 / 1000 + 1e-9)
    assert f"nearest kept to {wanted}" in told(opened, NET, "note"), (
        "there is no moment between 60% and 80%"
    )

    width = opened.script(f"return document.querySelector('{NET} .curve').clientWidth") - 46 - 14
    across = [(46 + width * share, 50) for share in (0.5, 0.6, 0.1)]
    opened.move(f"{NET} .curve", *across, drag=True, kind=kind)
    permille = float(told(opened, ".controls", "part")[:-1]) * 10
    assert abs(permille - 10) <= 1.5
    assert shown(opened) == {name: expected(root, name, permille) for name in MODELS}


# However slow the machine is, it does not come to the end before the test has seen it play.
SLOWER = """
const wait = window.setTimeout;
window.slower = 10;
window.setTimeout = (call, time) => wait(call, time === 130 ? time * slower : time);"""


@pytest.mark.slow
def test_play_pause_and_the_end(opened):
    def play():
        opened.call(f"{opened.element('.play')}/click")

    opened.script(SLOWER)
    before = shown(opened)
    time.sleep(0.8)
    assert shown(opened) == before, "nothing plays by itself"
    play()
    opened.wait("document.querySelector('[data-model=mlp] .iteration').innerText != '400'")
    assert told(opened, ".controls", "play") == "Pause"
    opened.wait("document.querySelector('[data-model=mlp] .iteration').innerText > 2")
    play()
    stopped = shown(opened)
    assert told(opened, ".controls", "play") == "Play" and stopped != before
    opened.script("window.slower = 1")
    time.sleep(0.6)
    assert shown(opened) == stopped
    play()
    opened.wait("document.querySelector('.play').innerText == 'Play'")
    assert shown(opened) == before


def at_pixel(root, browser, x, y):
    scale = 2 * limit(read_points(root / paths.DATA)[0]) / side_of(browser)
    lim = scale * side_of(browser) / 2
    return np.array([(x - MARGIN[0]) * scale - lim, lim - (y - MARGIN[2]) * scale])


def readings(browser, panel):
    return browser.script(
        "return [...document.querySelectorAll(arguments[0])].map(row => [...row.querySelectorAll('.class, .share')]"
        ".map(part => part.innerText))",
        f"{panel} .reading li",
    )


def assert_reads(browser, root, place):
    """Both panels tell the probabilities at the place, and the net its units."""
    on_screen(browser)
    for name, panel in (("linear", LINEAR), ("mlp", NET)):
        weights = moments_of(root, name)[-1]["weights"]
        probabilities = softmax(MODELS[name].forward(weights, place[None])[0])[0]
        rows = readings(browser, panel)
        assert [row[0] for row in rows] == ["class 0", "class 1", "class 2"]
        for p, (_, share) in zip(probabilities, rows, strict=True):
            assert abs(float(share.strip("<>%")) - 100 * p) < 0.11, (share, p)
    on = int((place @ weights["W"] + weights["b"] > 0).sum())
    where = "({:.2f}, {:.2f})".format(*place).replace("-", "\u2212")
    assert told(browser, NET, "where") == f"At {where}; {on} of 30 hidden units are on."
    assert told(browser, LINEAR, "where") == f"At {where}; no hidden units."


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_reading_at_the_pointer(kind, opened, root):
    for panel, x, y in ((NET, 130, 222), (LINEAR, 333, 90), (NET, 250, 260)):
        ((x, y),) = opened.move(f"{panel} .top", (x, y), drag=kind == "touch", kind=kind)
        assert_reads(opened, root, at_pixel(root, opened, x, y))
    time.sleep(1)
    assert told(opened, "body", "spoken") == "", "a pointer is not followed aloud"


# However slow the machine is, the keys rest when the test says so, and not before.
RESTING = """
const wait = window.setTimeout;
window.setTimeout = (call, time) => wait(call, time === 700 ? ((window.rest = call), 1e8) : time);"""


@pytest.mark.slow
def test_reading_by_keys_is_spoken_when_they_rest(opened, root):
    opened.script(RESTING)
    opened.script(f"document.querySelector('{SLIDER}').focus()")
    opened.press(TAB, TAB, TAB)
    assert opened.script("return document.activeElement.closest('figure').dataset.model") == "mlp"
    opened.press(RIGHT)
    assert_reads(opened, root, np.zeros(2))
    opened.press(*[RIGHT] * 4, *["\ue013"] * 7, LEFT)
    lim = limit(read_points(root / paths.DATA)[0])
    assert_reads(opened, root, np.array([3, 7]) * lim / 50)
    assert told(opened, "body", "spoken") == ""
    opened.script("window.rest()")
    spoken = told(opened, "body", "spoken")
    assert spoken.startswith("Two-layer net. At (") and "hidden units are on. class 0 " in spoken


ALPHA = """
const pen = copied(document.querySelector("[data-model=mlp] .top"));
return arguments[0].map(([x, y]) => {
  const pixels = pen.getImageData(Math.round(x) - 1, Math.round(y) - 1, 3, 3).data;
  return Math.max(...pixels.filter((_, i) => i % 4 === 3));
});"""


@pytest.mark.slow
def test_the_lines_of_the_hidden_units(opened, root):
    weights = moments_of(root, "mlp")[-1]["weights"]
    lim, scale = limit(read_points(root / paths.DATA)[0]), side_of(opened)
    scale /= 2 * lim
    on_lines = []
    for unit in range(30):
        (w1, w2), b = weights["W"][:, unit], weights["b"][unit]
        for t in np.linspace(-0.9, 0.9, 7) * lim:  # points of w.x + b = 0 inside the square
            x1, x2 = (t, -(w1 * t + b) / w2) if abs(w2) > abs(w1) else (-(w2 * t + b) / w1, t)
            if abs(x1) < lim and abs(x2) < lim:
                on_lines.append((MARGIN[0] + (x1 + lim) * scale, MARGIN[2] + (lim - x2) * scale))
    assert len(on_lines) > 40
    opened.script(READ_PIXELS)
    assert max(opened.script(ALPHA, on_lines)) == 0
    opened.call(f"{opened.element('.toggle input')}/click")
    on_screen(opened)
    assert min(opened.script(ALPHA, on_lines)) > 0
    opened.call(f"{opened.element('.toggle input')}/click")
    on_screen(opened)
    assert max(opened.script(ALPHA, on_lines)) == 0


@pytest.mark.slow
def test_a_line_is_as_thick_as_the_unit_is_strong_and_dashed_where_it_is_off(
    browser, root, tmp_path
):
    """A net made by hand: two units with upright lines at x1 = -0.5 and 0.5, the second four times as strong."""
    weights = {
        "W": [[1.0, 1.0], [0.0, 0.0]],
        "b": [0.5, -0.5],
        "W2": [[0.25, 0, 0], [0, 1.0, 0]],
        "b2": [0.0] * 3,
    }
    shutil.copytree(root / "data", tmp_path / "data")
    moment = {"permille": 1000, "iteration": 400, "accuracy": 0.5, "weights": weights}
    write_json(tmp_path / paths.snapshots("mlp"), [moment])
    browser.open(written(tmp_path, tmp_path))
    browser.wait("window.explorer")
    browser.script(READ_PIXELS)
    browser.call(f"{browser.element('.toggle input')}/click")
    lim, side = limit(read_points(root / paths.DATA)[0]), side_of(browser)
    columns = [MARGIN[0] + (x1 + lim) * side / (2 * lim) for x1 in (-0.5, 0.5)]

    def ink():
        """By line, how much of a row of pixels it covers, and of a column of them."""
        on_screen(browser)
        script = ALPHA.replace("3, 3", "1, 1").replace(") - 1", ")")
        row = [[(x + shift, 200) for shift in range(-5, 6)] for x in columns]
        column = [[(int(x), y) for y in range(30, 330)] for x in columns]
        across = [sum(browser.script(script, places)) / 255 for places in row]
        return across, [np.mean(browser.script(script, places)) for places in column]

    (weak, strong), _ = ink()
    assert 2 < strong / weak < 4  # 3.2 and 1.1 CSS pixels
    browser.move(f"{NET} .top", (MARGIN[0] + side / 2, 300))
    assert told(browser, NET, "where").endswith("1 of 2 hidden units are on.")
    _, (on, off) = ink()
    assert on > 2 * off > 0, "the weaker one is on, the stronger one off"


@pytest.mark.slow
def test_every_control_has_a_name(opened):
    wanted = {
        ".play": ("button", "Play"),
        SLIDER: ("slider", "Training"),
        ".toggle input": ("checkbox", "Hidden units"),
        f"{NET} .top": ("application", "Two-layer net: the plane"),
        f"{LINEAR} .top": ("application", "Linear softmax classifier: the plane"),
        f"{NET} .curve": ("image", "Two-layer net: loss by iteration, from 1.0"),
    }
    for selector, (role, name) in wanted.items():
        element = opened.element(selector)
        assert opened.call(f"{element}/computedlabel", method="GET").startswith(name), selector
        assert opened.call(f"{element}/computedrole", method="GET") == role, selector


# A busy machine may draw a page of which only a part has come: what moves then is no jump of ours.
UNSEEN_UNTIL_PARSED = """
const hidden = new CSSStyleSheet();
hidden.replaceSync("html { visibility: hidden }");
document.adoptedStyleSheets = [hidden];
addEventListener("DOMContentLoaded", () => (document.adoptedStyleSheets = []));"""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scale"), [(360, 2), (800, 1), (1600, 1)])
def test_nothing_jumps_and_all_fits(width, scale, browser, root, tmp_path):
    sharp = "[...document.querySelectorAll('.models canvas')].every(c => c.width == Math.round(c.clientWidth * %d))"
    added = browser.cdp("Page.addScriptToEvaluateOnNewDocument", source=UNSEEN_UNTIL_PARSED)
    try:
        browser.emulate(width=width, scale=scale, prefers_color_scheme="dark")
        browser.open(written(root, tmp_path))
        browser.wait("window.explorer")
        browser.script(
            "window.jumps = []; new PerformanceObserver(list => jumps.push(...list.getEntries().map(e => e.value)))"
            ".observe({type: 'layout-shift', buffered: true})"
        )
        heights = {browser.script("return document.body.scrollHeight")}
        browser.script(f"document.querySelector('{SLIDER}').focus({{preventScroll: true}})")
        for keys in ([HOME], [RIGHT] * 20, [END]):
            browser.press(*keys)
            heights.add(browser.script("return document.body.scrollHeight"))
        browser.move(f"{NET} .top", (100, 100))
        browser.call(f"{browser.element('.toggle input')}/click")
        heights.add(browser.script("return document.body.scrollHeight"))
        time.sleep(0.3)
        assert browser.script("return jumps") == [] and len(heights) == 1
        assert browser.script("return document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.script(
            "return [...document.querySelectorAll('.base')].every(c => c.clientWidth > 250)"
        )
        browser.wait(sharp % scale)
        browser.emulate(width=width + 57)  # the window is made wider
        browser.wait(sharp % 1)
    finally:
        browser.cdp("Page.removeScriptToEvaluateOnNewDocument", **added)
        browser.emulate(width=1100, prefers_color_scheme="light")
