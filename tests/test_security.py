"""Nothing that is read is run: no pickle, no eval, no shell."""

import ast
from pathlib import Path

import pytest

from bridge.store import Store, redact_address

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
            kinds = ("'safe'", "'rt'")  # the second one keeps lines and comments
            if name == "YAML" and settings.get("typ") not in kinds:
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
        ("http://user:s3cret@[::1", "http://[::1"),
        ("https://host:5000/mlflow?token=s3cret", "https://host:5000/mlflow"),
        ("http://host/p?api_key=s3cret#x", "http://host/p"),
        ("http://host/p#token=s3cret", "http://host/p"),
        ("http:/user:s3cret@host", "http:/host"),
        ("http:///user:s3cret@host", "http:///host"),
        ("postgresql+psycopg2://user:s3cret@host/runs", "postgresql+psycopg2://host/runs"),
        ("  http://user:s3cret@host \n", "http://host"),
        # What Git takes for a remote; a user alone is no secret.
        ("user:s3cret@host:team/project.git", "host:team/project.git"),
        ("user%3As3cret@host:project.git", "host:project.git"),
        ("git@host:team/project.git", "git@host:team/project.git"),
        ("../project.git", "../project.git"),
        # Where the secret begins is not known.
        ("http://user:s3#cr@et@host:5000/", "http://..."),
        ("http://user:s3?cr@et@host:5000/", "http://..."),
        ("https://host/mlflow?token=s3@cret", "https://..."),
        ("https://host/mlflow?token=s3%40cret", "https://..."),
    ],
)
def test_an_address_is_shown_without_its_secrets(address, shown):
    assert redact_address(address) == shown


def store_at(address):
    return Store(address, "spirals", None, None, Path("/project/mlflow-bridge"))


@pytest.mark.parametrize(
    "said",
    [
        "no answer from {address}/api/2.0/mlflow/runs/create",
        "Max retries exceeded with url: /p/api/2.0?api_key=s3cret",
        "Max retries exceeded with url: /p?api_key=s3cret/api/2.0",
        "url: /p?other=1&api_key=s3cret",
        "Failed to parse: user:pass-w0rd@host",
        "the password pass-w0rd is wrong",
        "the password 'pass%2Dw0rd' is wrong",
        "see http://host/p?api_key=s3cret#x",
        "proxy http:/other:t0ken-of-other@proxy:3128 refuses",
    ],
)
def test_what_others_say_is_shown_without_the_secrets_of_an_address(said):
    address = "http://user:pass%2Dw0rd@host/p?api_key=s3cret#x"
    shown = store_at(address).redact(said.format(address=address))
    for secret in ("s3cret", "w0rd", "t0ken"):
        assert secret not in shown


def test_what_others_say_without_a_secret_stays():
    said = "RESOURCE_DOES_NOT_EXIST: no experiment 7 at http://host:5000/mlflow (see /tmp/log)"
    assert store_at("http://user:s3cret@host:5000/mlflow").redact(said) == said


def test_the_path_of_a_database_is_no_secret():
    file = Path("/home/me@work/a?b#c/mlflow.db")
    store = Store("sqlite:////home/me@work/a%3Fb#c/mlflow.db", "spirals", None, file, file.parent)
    assert store.redacted_uri == f"sqlite:///{file}"
