"""The engine of the page gives the pipeline's numbers, to the last bit.

What is small runs in Node, or in Chromium where there is none; whole trainings run in the worker of
a page that Chromium has opened from a disk, and Firefox, where it is installed.
"""

import hashlib
import json
import random
import shutil
import subprocess

import browser
import msgspec
import numpy as np
import pytest
from conftest import PARAMS, ROOT
from firefox import Firefox
from ruamel.yaml import YAML

import generate
from pictures import engine
from pipeline import files
from pipeline.twins import source_digest
from portable.arithmetic import exp, log, log_rounded, sin_cos_rounded
from spirals import models
from spirals.data import make_spirals, standard_normal
from spirals.models import MODELS, Linear, accuracy
from spirals.training import Diverged, train

# With other models, data or parameters the page does not train, and says so: nothing to compare.
# Where only its Python was changed, TestCopiedSource says what to do.
REASON = engine.why_page_cannot_train(PARAMS)
pytestmark = pytest.mark.skipif(REASON not in (None, engine.why_outdated()), reason=str(REASON))

NODE = shutil.which("node")

# Doubles go to and fro as the hexadecimal digits of their bytes.
HELPERS = """
function fromHex(text) {
  const bytes = Uint8Array.from(text.match(/../g) ?? [], (digits) => parseInt(digits, 16));
  return new Float64Array(bytes.buffer);
}
function toHex(numbers) {
  const bytes = new Uint8Array(Float64Array.from(numbers).buffer);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
function weightsToHex(weights) {
  return Object.fromEntries(Object.entries(weights).map(([name, array]) => [name, toHex(array)]));
}
"""

# Trains with every set of parameters, and keeps what the worker said.
TRAIN_ALL = """
async function trainAll(settings) {
  const results = [];
  for (const params of settings) results.push(await trainInWorker(params));
  return results;
}
function trainInWorker(params) {
  const result = { models: {} };
  for (const name of ["linear", "mlp"]) {
    result.models[name] = { curve: [[], [], []], snapshots: {} };
  }
  return new Promise((resolve) => {
    Engine.start(params, (message) => {
      const model = result.models[message.name];
      if (message.type === "data" || message.type === "test") {
        result[message.type] = { X: toHex(message.X), y: Array.from(message.y) };
      }
      if (message.type === "batch") takeBatch(model, message);
      if (message.type === "diverged") model.diverged = message.iteration;
      if (message.type === "done") {
        const { metrics, text, md5 } = message;
        Object.assign(model, { metrics, text, md5 });
      }
      if (message.type === "failed") result.failed = message.reason;
      if (message.type === "failed" || message.type === "finished") resolve(result);
    });
  });
}
function takeBatch(model, { curve, snapshots }) {
  model.curve[0].push(...curve.iteration);
  model.curve[1].push(...curve.loss);
  model.curve[2].push(...curve.accuracy);
  for (const { iteration, permilles, weights, accuracy, testAccuracy } of snapshots) {
    const numbers = { permilles, accuracy, testAccuracy };
    model.snapshots[iteration] = { ...numbers, weights: weightsToHex(weights) };
  }
}
"""


def run_javascript(body, argument=None):
    """Return what the body of a function of `argument` returns, beside the engine."""
    source = f"{engine.script()}{HELPERS}const run = (argument) => {{{body}}};\n"
    if NODE:
        source += f"console.log(JSON.stringify(run({json.dumps(argument)})));"
        command = [NODE, "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    if browser.MISSING:
        pytest.skip("neither node nor chromium with chromedriver is here")
    with browser.Browser() as page:
        return page.script(f"{source}return run(arguments[0]);", argument)


class Chromium(browser.Browser):
    MISSING = browser.MISSING


@pytest.fixture(params=[Chromium, Firefox], ids=lambda program: program.__name__.lower())
def page(request, tmp_path):
    """A page with the engine, opened from a disk in a browser."""
    program = request.param
    if program.MISSING:
        pytest.skip(f"{program.__name__} is not here, or cannot be driven")
    path = tmp_path / "engine.html"
    script = f"<script>{engine.script()}{HELPERS}{TRAIN_ALL}window.Engine = Engine;</script>"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>engine</title>{script}")
    with program() as opened:
        opened.open(path.as_uri())
        yield opened


def train_in_page(page, settings):
    """Return what the worker of the page said, for each of the parameters."""
    start = "trainAll(arguments[0]).then((results) => { window.results = results; });"
    page.script(f"window.results = null; {start}", [msgspec.to_builtins(each) for each in settings])
    page.wait("window.results !== null", seconds=280)
    return page.script("return window.results")


def to_hex(numbers):
    return np.ascontiguousarray(numbers, dtype="<f8").tobytes().hex()


def assert_same_bits(function, numbers, expected):
    """Assert that the engine's function of every number is the double expected; any NaN is NaN."""
    body = f"return toHex(Array.from(fromHex(argument), (x) => {function}));"
    actual = np.frombuffer(bytes.fromhex(run_javascript(body, to_hex(numbers))), "<f8")
    both_nan = np.isnan(actual) & np.isnan(expected)
    differing = (actual.view(np.int64) != expected.view(np.int64)) & ~both_nan
    assert numbers[differing].tolist() == []


RANDOM = np.random.default_rng(0)
ANY_BITS = RANDOM.integers(0, 2**64, size=5000, dtype=np.uint64).view(np.float64)
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, 2.2250738585072014e-308])


@pytest.fixture
def quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.usefixtures("quiet")
class TestArithmetic:
    def test_exp(self):
        near_underflow = RANDOM.uniform(-750, -700, 5000)
        usual = RANDOM.uniform(-750, 720, 10000)
        numbers = np.concatenate([usual, near_underflow, -RANDOM.random(5000), ANY_BITS, SPECIAL])
        assert_same_bits("Engine.exp(x)", numbers, exp(numbers))

    def test_log(self):
        numbers = np.concatenate([RANDOM.uniform(0, 10, 10000), ANY_BITS, SPECIAL])
        assert_same_bits("Engine.log(x)", numbers, log(numbers))

    def test_log_rounded(self):
        near_one = 1 - RANDOM.random(2000) * 2.0 ** -RANDOM.integers(1, 53, 2000)
        numbers = np.concatenate([RANDOM.random(3000), near_one, np.abs(ANY_BITS[:500]), SPECIAL])
        assert_same_bits("Engine.logRounded(x)", numbers, log_rounded(numbers))

    @pytest.mark.parametrize("index", [0, 1], ids=["sine", "cosine"])
    def test_sine_and_cosine_rounded(self, index):
        tiny = RANDOM.normal(size=500) * 10.0 ** RANDOM.uniform(-320, 0, 500)
        quarters = np.arange(1, 300) * (np.pi / 2)
        angles = RANDOM.uniform(-460, 460, 2000)
        numbers = np.concatenate([angles, tiny, quarters, ANY_BITS[:200], SPECIAL])
        expected = sin_cos_rounded(numbers)[index]
        assert_same_bits(f"Engine.sinCosRounded(x)[{index}]", numbers, expected)

    @pytest.mark.slow
    def test_what_makes_data_is_rounded_correctly_at_many_numbers(self):
        random = np.random.default_rng(1)
        squares = random.random(30000)
        angles = random.uniform(-100, 100, 30000)
        assert_same_bits("Engine.logRounded(x)", squares, log_rounded(squares))
        sine, cosine = sin_cos_rounded(angles)
        assert_same_bits("Engine.sinCosRounded(x)[0]", angles, sine)
        assert_same_bits("Engine.sinCosRounded(x)[1]", angles, cosine)


def test_normal_draws():
    seeds = [0, 1, 12345, 2**31, 2**32 - 1]
    streams = [(seed, skip) for seed in seeds for skip in (0, 1, 318, 1001)]
    body = "return argument.map((stream) => toHex(Engine.standardNormal(...stream, 101)));"
    expected = [to_hex(standard_normal(seed, skip, 101)) for seed, skip in streams]
    assert run_javascript(body, streams) == expected


def test_evenly_spaced_numbers():
    counts = [2, 3, 7, 10, 100, 333, 1000]
    body = "return argument.map((count) => toHex(Engine.linspace(12, 16, count)));"
    assert run_javascript(body, counts) == [to_hex(np.linspace(12, 16, n)) for n in counts]


class TestText:
    def test_numbers_are_written_as_python_writes_them(self):
        powers = 10.0 ** np.arange(-320, 309)
        whole = np.arange(-50.0, 50.0)
        numbers = np.concatenate([ANY_BITS, powers, powers - 1, whole, RANDOM.normal(size=5000)])
        numbers = np.concatenate([numbers, SPECIAL])
        body = "return Array.from(fromHex(argument), Engine.pythonRepr);"
        assert run_javascript(body, to_hex(numbers)) == [repr(x) for x in numbers.tolist()]

    def test_md5(self):
        texts = ["", "a", "é€😀", *("x" * count for count in range(50, 140)), "0.1, " * 5000]
        expected = [hashlib.md5(text.encode()).hexdigest() for text in texts]
        assert run_javascript("return argument.map(Engine.md5);", texts) == expected

    @pytest.mark.parametrize("name", MODELS)
    def test_weights_are_written_as_train_writes_them(self, name, params, tmp_path):
        model = MODELS[name].initialize(2, 3, params.train(name))
        files.write_json(tmp_path / "weights.json", files.model_content(model))
        body = """
            const weights = Engine.MODELS[argument.name].initialize(3, argument.params).weights;
            return Engine.weightsJson(weights);"""
        argument = {"name": name, "params": msgspec.to_builtins(params.train(name))}
        assert run_javascript(body, argument) == (tmp_path / "weights.json").read_text()


# Every length of a sum that takes a branch of its own: short, one block with and without a rest,
# several blocks; of units, and of points.
UNITS = [1, 2, 7, 8, 9, 16, 100, 127, 128, 129, 130, 257, 300, 1000]
POINTS = [(2, 2), (2, 4), (3, 3), (9, 2), (2, 64), (3, 43), (2, 65), (2, 129), (3, 100), (5, 200)]
CLASSES = [2, 3, 4, 5, 6, 7, 8, 9, 10, 17]


def random_settings(params, count):
    """Return parameters of short trainings, which together have every length of a sum."""
    choice = random.Random(0)
    settings = []
    for i in range(count):
        classes, points_per_class = POINTS[i % len(POINTS)]
        if i >= len(POINTS):
            classes = CLASSES[i % len(CLASSES)]
            points_per_class = choice.choice([2, 3, 8, 30, 65])
        data = msgspec.structs.replace(
            params.generate,
            seed=choice.randrange(2**32),
            skip_draws=choice.randrange(1000),
            classes=classes,
            points_per_class=points_per_class,
            noise=choice.choice([0.0, 0.2, choice.uniform(0, 10)]),
        )
        changes = {
            "seed": choice.randrange(2**32),
            "skip_draws": choice.randrange(1000),
            "weight_scale": choice.choice([0.01, choice.uniform(0.001, 3)]),
            "learning_rate": choice.choice([1.0, choice.uniform(0.001, 2)]),
            "l2": choice.choice([0.0, 0.001, choice.uniform(0, 0.1)]),
            "iterations": choice.randrange(1, 30),
            "record_every": choice.choice([1, 3, 7]),
        }
        units = UNITS[i % len(UNITS)]
        settings.append(
            msgspec.structs.replace(
                params,
                generate=data,
                train_linear=msgspec.structs.replace(params.train_linear, **changes),
                train_mlp=msgspec.structs.replace(params.train_mlp, **changes, hidden_units=units),
                evaluate=msgspec.structs.replace(params.evaluate, points_per_class=7),
            )
        )
    return settings


def assert_same_results(params, result):
    """Assert that what the page's worker said is what the pipeline computes, bit for bit."""
    data = params.generate
    X, y = make_spirals(data.points_per_class, data.classes, data.noise, data.seed, data.skip_draws)
    test = make_spirals(
        params.evaluate.points_per_class, data.classes, data.noise, params.evaluate.seed
    )
    assert "failed" not in result
    assert result["data"] == {"X": to_hex(X), "y": y.tolist()}
    assert result["test"] == {"X": to_hex(test[0]), "y": test[1].tolist()}
    for name in MODELS:
        assert_same_model(name, params, (X, y), test, result["models"][name])


def assert_same_model(name, params, training_set, test_set, actual):
    section = params.train(name)
    model = MODELS[name].initialize(2, params.generate.classes, section)
    curve, snapshots, diverged_at = train_to_the_end(model, *training_set, section)
    assert_same_curve(curve, actual["curve"])
    assert actual.get("diverged") == diverged_at
    if diverged_at is not None:
        return
    for snapshot in snapshots:
        assert_same_snapshot(snapshot, test_set, actual["snapshots"][str(snapshot.iteration)])
    text = json.dumps(files.model_content(model)) + "\n"
    assert actual["text"] == text
    assert actual["md5"] == hashlib.md5(text.encode()).hexdigest()
    assert actual["metrics"] == {
        "train_accuracy": curve[-1].accuracy,
        "train_loss": curve[-1].loss,
        "test_accuracy": test_accuracy(model, test_set),
    }


@np.errstate(all="ignore")
def train_to_the_end(model, X, y, params):
    """Return the curve, the snapshots, and the iteration at which the training diverged, if so."""
    try:
        return *train(model, X, y, params), None
    except Diverged as error:
        return error.curve, [], error.iteration


def assert_same_curve(curve, actual):
    columns = np.array(curve, dtype=float).reshape(-1, 3).T
    assert [to_hex(column) for column in columns] == [to_hex(column) for column in actual]


def assert_same_snapshot(snapshot, test_set, actual):
    weights = snapshot.model.weights
    assert actual["weights"] == {name: to_hex(weight) for name, weight in weights.items()}
    assert snapshot.permille in actual["permilles"]
    assert actual["accuracy"] == snapshot.accuracy
    assert actual["testAccuracy"] == test_accuracy(snapshot.model, test_set)


def test_accuracy(model, test_set):
    scores, _ = model.forward(test_set[0])
    return accuracy(scores, test_set[1])


test_accuracy.__test__ = False


@pytest.mark.slow
class TestTraining:
    def test_the_published_run_in_every_snapshot(self, page, params):
        (result,) = train_in_page(page, [params])
        assert_same_results(params, result)
        lock = YAML(typ="safe").load((ROOT / "dvc.lock").read_text())
        for name in MODELS:
            outs = {out["path"]: out["md5"] for out in lock["stages"][f"train@{name}"]["outs"]}
            assert result["models"][name]["md5"] == outs[f"data/{name}/weights.json"]

    def test_25_random_settings(self, page, params):
        settings = random_settings(params, 25)
        for each, result in zip(settings, train_in_page(page, settings), strict=True):
            assert_same_results(each, result)

    def test_a_training_that_diverges(self, page, params):
        settings = []
        for learning_rate, l2 in [(50.0, 0.1), (1000.0, 0.5), (10000.0, 0.0), (10000.0, 100.0)]:
            changes = {"learning_rate": learning_rate, "l2": l2, "iterations": 300}
            linear = msgspec.structs.replace(params.train_linear, **changes)
            mlp = msgspec.structs.replace(params.train_mlp, **changes)
            settings.append(msgspec.structs.replace(params, train_linear=linear, train_mlp=mlp))
        results = train_in_page(page, settings)
        for each, result in zip(settings, results, strict=True):
            assert_same_results(each, result)
        assert any("diverged" in result["models"]["mlp"] for result in results)


@pytest.mark.slow
class TestWorker:
    def run(self, page, body, params):
        """Return what an async function of `params` returns in the page."""
        function = f"(async (params) => {{{body}}})(arguments[0])"
        page.script(
            f"window.answer = null; {function}.then((value) => {{ window.answer = {{ value }}; }},"
            " (error) => { window.answer = { error: String(error.stack) }; });",
            msgspec.to_builtins(params),
        )
        answer = page.wait("window.answer")
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def test_any_iteration_is_computed_again(self, page, params):
        body = """
            const training = Engine.start(params, () => {});
            const found = {};
            for (const iteration of [777, 778, 5, 0]) {
              const { weights } = await training.seek("mlp", iteration);
              found[iteration] = weightsToHex(weights);
            }
            return found;"""
        found = self.run(page, body, params)
        for iteration in (0, 5, 777, 778):
            section = msgspec.structs.replace(params.train_mlp, iterations=max(1, iteration))
            X, y = make_spirals(100, 3, 0.2, 0)
            model = MODELS["mlp"].initialize(2, 3, section)
            if iteration:
                train(model, X, y, section)
            expected = {name: to_hex(weight) for name, weight in model.weights.items()}
            assert found[str(iteration)] == expected

    def test_a_pause_stops_the_training_and_resume_goes_on(self, page, params):
        body = """
            let iteration = -1;
            const training = Engine.start(params, (message) => {
              if (message.name === "mlp") iteration = message.iteration;
            });
            const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));
            const seen = [];
            while (iteration < 100) await wait(20);
            training.pause();
            await wait(200);
            seen.push(iteration);
            await wait(300);
            seen.push(iteration);
            training.resume();
            while (iteration === seen[1]) await wait(20);
            training.cancel();
            return [...seen, iteration];"""
        before, during, after = self.run(page, body, params)
        assert before == during < after

    def test_the_speed_is_kept(self, page, params):
        body = """
            const begin = performance.now();
            const training = Engine.start(params, (message) => {
              if (message.name === "linear") iteration = message.iteration;
            });
            let iteration = 0;
            training.setSpeed(50);
            while (iteration < 25) await new Promise((resolve) => setTimeout(resolve, 10));
            training.cancel();
            return performance.now() - begin;"""
        assert 450 < self.run(page, body, params) < 5000

    def test_a_new_training_silences_the_one_before(self, page, params):
        body = """
            let stale = 0;
            const first = Engine.start(params, () => { stale += 1; });
            const pending = first.seek("mlp", 9000);
            stale = 0;
            await new Promise((resolve) => {
              Engine.start(params, ({ name, type }) => { if (type === "done") resolve(); });
            });
            return [stale, await pending, await first.seek("mlp", 3)];"""
        assert self.run(page, body, params) == [0, None, None]


ADD_POINTS = """
    const { name, section, points } = argument;
    const { X, y } = Engine.makeSpirals(points, 3, 0.2, 0, 0);
    const all = new Engine.Points(X, y);
    const training = Engine.newTraining(name, all, 3, section);
    for (let i = 0; i < 3; i++) training.step();
    const { weights } = training.model;
    const values = y.reduce((sums, label, n) => {
      const point = Engine.onePoint(name, weights, X[2 * n], X[2 * n + 1], label, y.length);
      return point.gradients.W.map((value, i) => value + (sums[i] ?? 0));
    }, []);
    training.step();
    return [Array.from(values), Array.from(training.model.gradients.W)];"""


@pytest.mark.parametrize("name", MODELS)
def test_what_single_points_add_is_the_gradient(name, params):
    section = {**msgspec.to_builtins(params.train(name)), "l2": 0.0, "weight_scale": 1.0}
    argument = {"name": name, "section": section, "points": 20}
    single, together = run_javascript(ADD_POINTS, argument)
    np.testing.assert_allclose(single, together, rtol=0, atol=1e-12)


def test_probabilities_of_any_point(params):
    model = Linear.initialize(2, 3, params.train_linear)
    body = """
        const { weights } = Engine.MODELS.linear.initialize(3, argument);
        const scores = Engine.scores("linear", weights, Float64Array.of(0.5, -0.25));
        return toHex(Engine.probabilities(scores, 3));"""
    scores, _ = model.forward(np.array([[0.5, -0.25]]))
    actual = run_javascript(body, msgspec.to_builtins(params.train_linear))
    assert actual == to_hex(models.softmax(scores))


class TestLimits:
    def why_too_large(self, params):
        return run_javascript("return Engine.whyTooLarge(argument);", msgspec.to_builtins(params))

    def test_the_published_run_can_be_trained(self, params):
        assert self.why_too_large(params) is None

    def test_too_many_points_are_refused(self, params):
        data = msgspec.structs.replace(params.generate, points_per_class=1_000_000)
        reason = self.why_too_large(msgspec.structs.replace(params, generate=data))
        assert "at most 50,000 training points, not 3,000,000" in reason

    def test_too_many_units_are_refused(self, params):
        mlp = msgspec.structs.replace(params.train_mlp, hidden_units=100_000)
        reason = self.why_too_large(msgspec.structs.replace(params, train_mlp=mlp))
        assert "points times weights" in reason

    def test_too_many_iterations_are_refused(self, params):
        mlp = msgspec.structs.replace(params.train_mlp, iterations=100_000_000)
        reason = self.why_too_large(msgspec.structs.replace(params, train_mlp=mlp))
        assert "points times weights times iterations" in reason


ADVICE = (
    "look at the JavaScript in src/pictures/engine, run tests/test_engine.py with its slow tests,"
    " then record the digest {digest} in {where}"
)
# The rest of what the engine writes out again: the stages' own part.
STAGES_DIGEST = "1bf79e6f3f0b10c7"


class TestCopiedSource:
    @pytest.mark.parametrize("path", engine.COPIED)
    def test_the_python_is_what_the_engine_was_compared_with(self, path):
        digest = source_digest(engine.COPIED[path])
        where = "src/pictures/engine/__init__.py"
        advice = ADVICE.format(digest=digest, where=where)
        assert engine.DIGESTS[path] == digest, f"{path} was changed: {advice}"

    def test_the_stages_are_what_the_engine_was_compared_with(self):
        sources = [generate.generate, files.model_content, files.write_json]
        digest = source_digest(sources)
        advice = ADVICE.format(digest=digest, where="tests/test_engine.py")
        assert digest == STAGES_DIGEST, f"a stage was changed: {advice}"

    def test_they_agree_as_they_are(self, params):
        assert engine.why_page_cannot_train(params) is None

    def test_a_changed_function_is_noticed(self, params, monkeypatch):
        path = "src/spirals/models.py"
        monkeypatch.setitem(engine.COPIED, path, [*engine.COPIED[path][1:], accuracy])
        assert path in engine.why_page_cannot_train(params)

    def test_another_model_is_noticed(self, params, monkeypatch):
        monkeypatch.setitem(models.MODELS, "deep", models.MLP)
        assert "linear and mlp, and no other" in engine.why_page_cannot_train(params)

    def test_another_parameter_is_noticed(self, params):
        fields = [("momentum", float, 0.0)]
        section = msgspec.defstruct("Momentum", fields, bases=(type(params.train_mlp),))
        content = msgspec.to_builtins(params.train_mlp)
        changed = msgspec.structs.replace(params, train_mlp=section(**content))
        assert "train_mlp.momentum" in engine.why_page_cannot_train(changed)

    def test_a_parameter_that_is_gone_is_noticed(self, params):
        """Else the page would train on other data than the pipeline."""
        fields = [(name, int) for name in ("seed", "skip_draws", "points_per_class", "noise")]
        section = msgspec.defstruct("Rings", fields)
        changed = msgspec.structs.replace(params, generate=section(0, 0, 100, 0))
        assert "it needs the parameter generate.classes" in engine.why_page_cannot_train(changed)


def test_the_text_can_stand_in_a_page():
    assert "</script" not in engine.script().lower()
    assert "<!--" not in engine.script()
