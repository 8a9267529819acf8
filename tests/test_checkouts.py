"""The checkouts that the tests run in are as good as ones that were made where they are."""

import pytest
from runs import all_complete

pytestmark = pytest.mark.slow


def test_a_copy_after_repro_is_as_if_it_had_run_there(ran, ran_template):
    assert all_complete(f"sqlite:///{ran.root / 'mlflow.db'}")
    assert ran.run("git", "status", "--porcelain").stdout == ""
    assert "up to date" in ran.run("dvc", "status").stdout
    assert "Running stage" not in ran.run("dvc", "repro").stdout
    assert "was there" in ran.run("python", "src/bridge").stdout
    before = str(ran_template).encode()
    for path in ran.root.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert before not in path.read_bytes(), path
