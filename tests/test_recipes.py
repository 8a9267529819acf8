"""The rows of the README's table "Make it your own", done for real in a copy of the project.

Each does what its row says, and no more; then the fast tests must pass there as they are, and the
pipeline must run. "The bridge in your project" is in test_bridge.py.
"""

import json

import pytest
from conftest import ROOT, SMALL

pytestmark = pytest.mark.slow

FAST = "not slow"


def insert(path, before, text):
    """Insert a text before another, which must be there once."""
    replace(path, before, text + before)


def replace(path, old, new, count=1):
    content = path.read_text()
    assert content.count(old) == count, f"{path.name}: {old!r}"
    path.write_text(content.replace(old, new))


@pytest.fixture
def project(checkout):
    """A copy of the project with the parameters as they are committed."""
    (checkout.root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    checkout.commit("start")
    return checkout


def run_fast_tests(project, which=FAST):
    """Run them as they are; they must all pass."""
    done = project.run("pytest", "-q", "-m", which, "-n", "2", check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


def run_pipeline(project, **changes):
    """Run the pipeline with small parameters; return its metrics."""
    small = {key: value for key, value in SMALL.items() if not key.startswith("train_")}
    project.set_params({**small, "generate.points_per_class": 20, **changes})
    project.run("dvc", "repro")
    return json.loads((project.root / "reports/metrics.json").read_text())


# Another parameter.

DECAY = "  decay: 1.0              # of the learning rate, every 1000 iterations; above 0, to 1\n"


def add_parameter(root):
    iterations = "  iterations: {}# steps of gradient descent"
    for number in ("200         ", "10000       "):
        insert(root / "params.yaml", iterations.format(number), DECAY)
    insert(
        root / "src/pipeline/params.py",
        "    l2: Regularization\n",
        "    decay: Annotated[float, _positive(1)]\n",
    )
    training = root / "src/spirals/training.py"
    decayed = "params.learning_rate * math.prod([params.decay] * (iteration // 1000))"
    replace(
        training,
        "model.update(gradients, params.learning_rate)",
        f"model.update(gradients, {decayed})",
    )


def test_another_parameter(project):
    add_parameter(project.root)
    run_fast_tests(project)
    iterations = {"train_linear.iterations": 20, "train_mlp.iterations": 1200}
    undecayed = run_pipeline(project, **iterations)
    decayed = run_pipeline(project, **iterations, **{"train_mlp.decay": 0.1})
    assert decayed["mlp"]["train_loss"] != undecayed["mlp"]["train_loss"]
    assert decayed["linear"] == undecayed["linear"]
    assert "decay" in (project.root / "reports/README.md").read_text()


# Another model.

DEEP = '''
@dataclass(eq=False)
class Deep(Classifier):
    """Three-layer network: two hidden layers of ReLU units."""

    title = "Three-layer network"

    W: FloatArray  # [D, H]
    b: FloatArray  # [H]
    W2: FloatArray  # [H, H2]
    b2: FloatArray  # [H2]
    W3: FloatArray  # [H2, K]
    b3: FloatArray  # [K]

    @staticmethod
    def layer_sizes(inputs: int, classes: int, params: Any) -> list[int]:
        return [inputs, params.hidden_units, params.second_hidden_units, classes]

    @classmethod
    def initialize(cls, inputs: int, classes: int, params: Any) -> Self:
        stream = NormalStream(params.seed, params.skip_draws)
        W = params.weight_scale * stream.randn(inputs, params.hidden_units)
        W2 = params.weight_scale * stream.randn(params.hidden_units, params.second_hidden_units)
        W3 = params.weight_scale * stream.randn(params.second_hidden_units, classes)
        b = np.zeros(params.hidden_units)
        b2 = np.zeros(params.second_hidden_units)
        return cls(W, b, W2, b2, W3, np.zeros(classes))

    def first_layer(self, X: FloatArray) -> FloatArray:
        return np.maximum(0, matmul(X, self.W) + self.b)  # [N, H]

    def forward(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        hidden = np.maximum(0, matmul(self.first_layer(X), self.W2) + self.b2)  # [N, H2]
        return matmul(hidden, self.W3) + self.b3, hidden

    def backward(self, X: FloatArray, hidden: FloatArray, dscores: FloatArray) -> Weights:
        first = self.first_layer(X)
        dhidden = matmul(dscores, self.W3.T) * (hidden > 0)
        dfirst = matmul(dhidden, self.W2.T) * (first > 0)
        return {
            "W": matmul(X.T, dfirst),
            "b": sum_points(dfirst),
            "W2": matmul(first.T, dhidden),
            "b2": sum_points(dhidden),
            "W3": matmul(hidden.T, dscores),
            "b3": sum_points(dscores),
        }


'''

TRAIN_DEEP = """train_deep:
  seed: 0                 # of the first weights; 0 to 4294967295
  skip_draws: 324         # draws; 0 to 10000000
  hidden_units: 30        # width of the first hidden layer; 1 to 100000
  second_hidden_units: 20 # width of the second; 1 to 100000
  weight_scale: 0.3       # standard deviation of the first weights; above 0, to 100
  learning_rate: 0.5      # step along the gradient; above 0, to 10000
  l2: 0.001               # strength of the regularization; 0 to 100
  iterations: 500         # steps of gradient descent; 1 to 100000000
  record_every: 10        # iterations from one point of the curve to the next; 1 to 100000000

"""


def add_model(root):
    models = root / "src/spirals/models.py"
    insert(models, "\nMODELS: dict[", DEEP.lstrip("\n"))
    replace(models, '"mlp": MLP}', '"mlp": MLP, "deep": Deep}')
    insert(root / "params.yaml", "evaluate:\n", TRAIN_DEEP)
    params = root / "src/pipeline/params.py"
    section = "class TrainDeep(TrainMLP, frozen=True):\n    second_hidden_units: HiddenUnits\n\n\n"
    insert(params, "class Evaluate(Section", section)
    insert(params, "    evaluate: Evaluate\n", "    train_deep: TrainDeep\n")
    replace(root / "dvc.yaml", "&models [linear, mlp]", "&models [linear, mlp, deep]")


def test_another_model(project):
    add_model(project.root)
    run_fast_tests(project)
    iterations = {f"train_{name}.iterations": 20 for name in ("linear", "mlp", "deep")}
    metrics = run_pipeline(project, **iterations)
    assert [*metrics] == ["linear", "mlp", "deep"]
    assert "Three-layer network" in (project.root / "reports/README.md").read_text()


# Other data.

RINGS = '''
def make_rings(
    points_per_class: int, noise: float, seed: int, skip_draws: int = 0
) -> tuple[FloatArray, IntArray]:
    """Return points X [2 N, 2] on two rings, one in the other, and their classes y [2 N]."""
    draws = standard_normal(seed, skip_draws, 2 * points_per_class)
    y = np.repeat(np.arange(2), points_per_class)
    sine, cosine = sin_cos_rounded(np.linspace(0.0, 12.0, 2 * points_per_class))
    radius = 0.4 + 0.4 * y + 0.2 * noise * draws
    return np.stack([radius * sine, radius * cosine], axis=1), y
'''


def change_data(root):
    data = root / "src/spirals/data.py"
    data.write_text(data.read_text() + "\n" + RINGS)
    replace(data, 'NAME = "The spiral data"', 'NAME = "The rings"')
    generate = root / "src/generate.py"
    replace(generate, "import make_spirals", "import make_rings")
    replace(
        generate,
        "make_spirals(data.points_per_class, data.classes, data.noise, data.seed, data.skip_draws)",
        "make_rings(data.points_per_class, data.noise, data.seed, data.skip_draws)",
    )
    replace(
        generate,
        "make_spirals(test.points_per_class, data.classes, data.noise, test.seed)",
        "make_rings(test.points_per_class, data.noise, test.seed)",
    )
    replace(
        root / "params.yaml", "  classes: 3              # arms; 2 to 100 (case study: K)\n", ""
    )
    params = root / "src/pipeline/params.py"
    replace(params, "    classes: Classes\n", "    classes: ClassVar[int] = 2\n")
    replace(params, "import Annotated, Any,", "import Annotated, Any, ClassVar,")


def test_other_data(project):
    change_data(project.root)
    run_fast_tests(project, f"{FAST} and not case_study")
    iterations = {"train_linear.iterations": 20, "train_mlp.iterations": 20}
    metrics = run_pipeline(project, **iterations)
    assert metrics["mlp"]["test_accuracy"] > 0.5
    assert "The rings" in (project.root / "reports/README.md").read_text()
