"""Nothing that is read is run: no pickle, no eval, no shell."""

import ast
from pathlib import Path

import pytest

from bridge.store import redact_address

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MODULES = {
    "pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
    "tarfile",
    "zipfile",
}
HARMLESS = "from pickle import UnpicklingError"  # to catch it, where Numba reads its own files
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "np.load", "numpy.load"}


def dangers(source):
    """What would run or unpack something that was read."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif (
            isinstance(node, ast.ImportFrom)
            and ast.unparse(node) != HARMLESS
            and node.module
            and node.module.split(".")[0] in MODULES
        ):
            yield node.module
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in CALLS or name.endswith((".read_pickle", ".to_pickle")):
                yield name
            settings = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if (
                settings.get("shell", "False") != "False"
                or settings.get("allow_pickle", "False") != "False"
            ):
                yield f"{name} with shell or pickle"
            if name == "YAML" and settings.get("typ") != "'safe'":
                yield "YAML that is not safe"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_unpickled_or_evaluated(path):
    assert list(dangers(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import yaml",
        "eval(text)",
        "np.load(path)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "pd.read_pickle(path)",
        "YAML().load(text)",
        "YAML(typ='unsafe').load(text)",
    ],
)
def test_the_check_sees_it(source):
    assert len(list(dangers(source))) == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:s3cret@host/team/project.git", "https://host/team/project.git"),
        ("http://user:s3#cr@et@host:5000/", "http://host:5000/"),
        ("http://user:s3cret@[::1", "http://[::1"),
        ("https://host:5000/mlflow?token=s3cret", "https://host:5000/mlflow"),
        ("http://user:s3?cr@et@host:5000/", "http://..."),
        ("https://host/mlflow?token=s3@cret", "https://..."),
        ("git@host:team/project.git", "git@host:team/project.git"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address, shown):
    assert redact_address(address) == shown
