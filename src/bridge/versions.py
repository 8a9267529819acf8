"""Know the versions that the bridge works with, and check those that are installed."""

import re
from pathlib import Path

from bridge.errors import UserError

# By package, the oldest version that was tried, and the first that cannot be expected to work. The
# same ranges stand in pyproject.toml; docs/bridge.md says which versions were really tried.
SUPPORTED = {"dvc": ((3, 50), (4,)), "mlflow": ((3, 1), (4,))}
VERSION = re.compile(r'^version = "(.+)"$', re.MULTILINE)


def check_versions() -> None:
    """Check that DVC and MLflow are installed, in versions that the bridge works with.

    Raises:
        UserError: with the version that is there, and those that are supported.
    """
    for package, (oldest, end) in SUPPORTED.items():
        wanted = f"{package}>={_text(oldest)},<{_text(end)}"
        advice = f"the bridge needs {wanted}: pip install '{wanted}'"
        installed = installed_version(package)
        if installed is None:
            raise UserError(f"{package} is not installed; {advice}")
        if not oldest <= _numbers(installed) < end:
            raise UserError(f"{package} {installed} is installed, but {advice}")


def bridge_version() -> str:
    """Return the version of the bridge, whether it is installed or copied."""
    file = Path(__file__).with_name("pyproject.toml")
    found = VERSION.search(file.read_text("utf-8")) if file.exists() else None
    return found[1] if found else installed_version("dvc-mlflow-bridge") or "unknown"


def decodes_addresses() -> bool:
    """Return whether SQLAlchemy takes %20 in the path of a database for a space: since 2.1."""
    return _numbers(installed_version("sqlalchemy") or "") >= (2, 1)


def installed_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    from importlib import metadata  # takes 0.02 seconds to import, which few runs need

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (3, 10) of "3.10.0rc1"."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _text(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
