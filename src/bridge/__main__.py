"""Run the bridge: `python bridge` where the folder was copied, `dvc-mlflow` where it is installed.

See cli.py for the commands, and docs/bridge.md.
"""

import importlib.util
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def _make_importable() -> None:
    """Make `import bridge` find this folder, wherever it lies and whatever it is called.

    Python puts a folder that it runs on sys.path, where `git.py` here would be taken for GitPython.
    The folder around it must not be there either: a `logging.py` of the user's may lie in it.
    """
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != FOLDER]
    file = FOLDER / "__init__.py"
    spec = importlib.util.spec_from_file_location("bridge", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is missing")
    sys.modules["bridge"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["bridge"])


if not __package__:  # run as a folder, and not by `python -m bridge`
    _make_importable()

from bridge.errors import UserError, exit_on_user_error


def main() -> None:
    """Run a command; a package that is missing is named."""
    with exit_on_user_error():
        try:
            from bridge.cli import run
        except ModuleNotFoundError as error:
            packages = "dvc mlflow filelock msgspec"
            raise UserError(f"the bridge needs {error.name}: pip install {packages}") from None
        run(sys.argv[1:])


if __name__ == "__main__":
    main()
