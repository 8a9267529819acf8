"""`make reproduce` says yes where everything is the same, and names what is not."""

import hashlib

import pytest
from ruamel.yaml import YAML

from spirals.models import MODELS

pytestmark = pytest.mark.slow


@pytest.mark.exhaustive
def test_reproduce_compares_a_rebuild_with_the_committed_lock(ran):
    lock = (ran.root / "dvc.lock").read_text()
    stages = YAML(typ="safe").load(lock)["stages"]
    outputs = [out["path"] for stage in stages.values() for out in stage["outs"]]
    expected = {"data/spirals.csv", "reports/metrics.json", "mlflow-bridge/receipt.json"}
    assert expected | {f"reports/models/{name}/frames" for name in MODELS} <= set(outputs)

    (ran.root / "src" / "train.py").write_text("an uncommitted change has no part in it")
    # A store, a cache or a place that the user has set must neither help nor be written to.
    settings = {"MLFLOW_TRACKING_URI": "sqlite:////nowhere/mlflow.db", "DVC_ROOT": "/nowhere"}
    lines = ran.run("python", "tools/reproduce.py", **settings).stdout.splitlines()
    assert sorted(lines[1:-1]) == sorted(f"same     {path}" for path in outputs)
    assert lines[-1].startswith(
        f"This machine reproduces the published result: all {len(outputs)} outputs are"
    )
    ran.run("git", "checkout", "--quiet", "src/train.py")

    # A wrong hash, and a result that somebody has polished, with its hash.
    committed = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    metrics = ran.root / "reports" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('accuracy": 0.', 'accuracy": 0.9'))
    polished = hashlib.md5(metrics.read_bytes()).hexdigest()
    wrong = {"data/mlp/snapshots.json": "f" * 32, "reports/metrics.json": polished}
    for path, md5 in wrong.items():
        lock = lock.replace(committed[path], md5)
    (ran.root / "dvc.lock").write_text(lock)
    ran.commit("other results")
    done = ran.run("python", "tools/reproduce.py", check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("DIFFERS")] == [
        f"DIFFERS  {path}: {md5} in dvc.lock, {committed[path]} here" for path, md5 in wrong.items()
    ]
    assert f"2 of {len(outputs)} outputs differ" in lines[-1]
    assert "the first is data/mlp/snapshots.json (stage train@mlp)" in lines[-1]
    assert ran.run("git", "status", "--porcelain").stdout == ""


def test_reproduce_stops_where_a_stage_fails(checkout):
    (checkout.root / "src" / "generate.py").write_text("raise SystemExit('out of order')")
    checkout.commit("broken")
    done = checkout.run("python", "tools/reproduce.py", check=False)
    assert done.returncode == 1
    assert "out of order" in done.stderr
    assert "Traceback" not in done.stderr
    assert "reproduces" not in done.stdout
