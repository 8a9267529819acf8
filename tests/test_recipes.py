"""The changes of docs/extending.md, done for real in a copy of the project.

What is inserted is the code of that page, word for word; then the fast tests must pass there as
they are, and the pipeline must run. "The bridge in your project" is in test_bridge_install.py.
"""

import json
import platform
import re

import mlflow
import pytest
from conftest import ROOT, SMALL

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

FAST = "not slow"
PAGE = (ROOT / "docs/extending.md").read_text()


def code(title, language):
    """The pieces of code under a title of the page, in order."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def insert(path, before, text):
    """Insert a text before another, which must be there once."""
    replace(path, before, text + before)


def replace(path, old, new):
    content = path.read_text()
    assert content.count(old) == 1, f"{path.name}: {old!r}"
    path.write_text(content.replace(old, new))


def replace_class(path, name, text):
    """Write another definition of a class."""
    content = path.read_text()
    (old,) = re.findall(rf"^class {name}\(.*?(?=\n\n)", content, re.MULTILINE | re.DOTALL)
    replace(path, old, text.strip())


@pytest.fixture
def project(checkout):
    """A copy of the project with the parameters as they are committed."""
    (checkout.root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    checkout.commit("start")
    return checkout


def run_fast_tests(project, which=FAST):
    """Run them as they are; they must all pass."""
    done = project.run("pytest", "-q", "-m", which, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


def run_pipeline(project, **changes):
    """Run the pipeline with small parameters; return its metrics."""
    project.set_params({**SMALL, "generate.points_per_class": 20, **changes})
    project.printed = project.run("dvc", "repro").stdout
    return json.loads((project.root / "reports/metrics.json").read_text())


def add_parameter(root):
    (line,) = code("Another parameter", "yaml")
    declared, used = code("Another parameter", "python")
    params = root / "params.yaml"
    lines = re.sub("(?m)^(?=  iterations: )", line, params.read_text())
    params.write_text(lines)
    replace(root / "src/pipeline/params.py", "    l2: Regularization\n", declared)
    update = "        model.update(gradients, params.learning_rate)\n"
    replace(root / "src/spirals/training.py", update, used)


def add_model(root):
    model, section, fields = code("Another model", "python")
    parameters, stages, files = code("Another model", "yaml")
    definition, mapping = model.split("MODELS: ")
    models = root / "src/spirals/models.py"
    insert(models, "MODELS: ", definition)
    models.write_text(re.sub(r"(?m)^MODELS: .*\n", f"MODELS: {mapping}", models.read_text()))
    insert(root / "params.yaml", "evaluate:\n", f"{parameters}\n")
    params = root / "src/pipeline/params.py"
    insert(params, "class Evaluate(", f"{section}\n\n")
    replace_class(params, "Params", fields)
    pipeline = root / "dvc.yaml"
    replace(pipeline, "    foreach: &models [linear, mlp]\n", stages)
    # "In their `deps`, copy the lines of `mlp` and change `mlp` to `deep`".
    copied = re.sub(
        r"(?m)^      - \S*/mlp/\S*\n",
        lambda line: line[0] + line[0].replace("/mlp/", "/deep/"),
        pipeline.read_text(),
    )
    pipeline.write_text(copied)
    for line in files.splitlines():
        assert line in copied


def test_another_model(project):
    add_model(project.root)
    run_fast_tests(project)
    metrics = run_pipeline(project, **{"train_deep.iterations": 20})
    assert [*metrics] == ["linear", "mlp", "deep"]
    assert "Three-layer network" in (project.root / "reports/README.md").read_text()


def change_data(root):
    name, function, calls, section = code("Other data", "python")
    data = root / "src/spirals/data.py"
    content = re.sub('(?m)^NAME = ".*"', name.strip(), data.read_text())
    data.write_text(f"{content}\n\n{function}")
    generate = root / "src/generate.py"
    replace(generate, "import make_spirals", "import make_rings")
    generate.write_text(
        re.sub(r"(?m)^    X, y = make_spirals.*\n.*= make_spirals.*\n", calls, generate.read_text())
    )
    parameters = root / "params.yaml"
    parameters.write_text(re.sub(r"(?m)^  classes: .*\n", "", parameters.read_text()))
    params = root / "src/pipeline/params.py"
    replace_class(params, "Generate", section)
    replace(
        params, "from typing import Annotated, Any,", "from typing import Annotated, Any, ClassVar,"
    )


def test_other_data(project):
    change_data(project.root)
    run_fast_tests(project, f"{FAST} and not case_study")
    metrics = run_pipeline(project)
    assert metrics["mlp"]["test_accuracy"] > 0.5
    assert "The rings" in (project.root / "reports/README.md").read_text()


def add_figure(root):
    function, entry = code("Another figure", "python")
    (output,) = code("Another figure", "yaml")
    figures = root / "src/pictures/figures.py"
    insert(figures, "REPORT_FIGURES = {\n", f"{function}\n\n")
    start = "REPORT_FIGURES = {\n"
    replace(figures, start, start + re.search(r'(?m)^    "accuracies".*\n', entry)[0])
    insert(root / "dvc.yaml", "      - reports/figures/losses.png: *kept\n", output)


def add_metric(root):
    (number,) = code("A metric for one model", "python")
    (row,) = code("A metric for one model", "jinja")
    insert(root / "src/evaluate.py", "    predicted = np.argmax(", number)
    above = '{{ measured("Training accuracy", "{:.1%}", "train_accuracy") }}\n'
    replace(root / "src/pictures/report.md", above, above + row)


def add_tag(root):
    (tag,) = code("A tag on every run", "python")
    publish = root / "src/bridge/publish.py"
    insert(publish, "import re\n", "import platform\n")
    end = '        tags["mlflow.loggedImages"] = "true"\n'
    replace(publish, f"{end}    return tags\n", end + tag)


def test_a_parameter_a_figure_a_metric_for_one_model_and_a_tag_on_every_run(project):
    """Four that do not meet: in one copy, because the fast tests take a while."""
    add_parameter(project.root)
    add_figure(project.root)
    add_metric(project.root)
    add_tag(project.root)
    run_fast_tests(project)

    undecayed = run_pipeline(project, **{"train_mlp.iterations": 1200})
    decayed = run_pipeline(project, **{"train_mlp.decay": 0.1})

    assert decayed["mlp"]["train_loss"] != undecayed["mlp"]["train_loss"]
    assert decayed["linear"] == undecayed["linear"]
    report = (project.root / "reports/README.md").read_text()
    assert "decay" in report
    assert "note: The page cannot train: it does not know the parameter" in project.printed
    assert re.search(r"^\| Unused hidden units \|  \| \d+ \|$", report, re.MULTILINE)
    assert type(decayed["mlp"]["unused_units"]) is int
    assert "unused_units" not in decayed["linear"]
    for page in ("reports/README.md", "reports/report.html"):
        assert "The test accuracy of all models" in (project.root / page).read_text(), page
    assert (project.root / "reports/figures/accuracies.png").exists()
    store = f"sqlite:///{project.root}/mlflow.db"
    runs = mlflow.MlflowClient(store).search_runs(["1"])
    assert len(runs) == 3, "the linear model has the same result twice"
    assert {run.data.tags["machine"] for run in runs} == {platform.node()}
