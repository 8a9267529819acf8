"""Small results of a project that is not ours, and stores to publish them to, without DVC."""

import dataclasses
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from bridge.dvc_index import CurveTable
from bridge.files import digest
from bridge.lineage import Lineage
from bridge.results import Result
from bridge.settings import ChampionSettings, ModelSettings, Settings
from bridge.store import Store, configured_store

LOADER = Path(__file__).parent / "strange/model/serving"
MODEL = ModelSettings(
    loader="serving.model", file="weights.txt", code=["serving"], config={"name": "net"}
)
CHAMPION = ChampionSettings(metric="score", on=["table.csv"])
SETTINGS = Settings(
    experiment="weather",
    images={"frames": "frames"},
    files=["weights.txt"],
    model=MODEL,
    champion=CHAMPION,
)


def make_result(folder, name="first", score=0.5, data="a", settings=SETTINGS, **params):
    """Return a result with this score on these data, whose files lie below the folder."""
    root = folder / f"project of {name}"
    if not root.exists():
        shutil.copytree(LOADER, root / "serving")
        (root / "frames").mkdir()
        for step in (0, 10):
            Image.new("RGB", (2, 2), (step, 0, 0)).save(root / f"frames/{step}.png")
        (root / "weights.txt").write_text("1.5\n")
        (root / "history.csv").write_text("epoch,loss\n0,2.0\n1,1.0\n")
    (root / "metrics.json").write_text(json.dumps({"score": score}))
    return Result(
        run=name,
        root=root,
        settings=settings,
        stage_names=["fit"],
        params={"rate": 0.1, "name": name, **params},
        hashes={"weights.txt": digest(name)[:32], "metrics.json": digest(score)[:32]},
        pictures={"frames": "0" * 32},
        data={"table.csv": digest(data)[:32]},
        compared_on=digest(data),
        metric_files=["metrics.json"],
        curves=[CurveTable("history.csv", "epoch", ["loss"])],
        digest=digest([name, score, data]),
        pictures_digest=digest("pictures"),
    )


def with_other_pictures(result, folder):
    """Return the same result with other pictures, of which one has another step."""
    shutil.copytree(result.root, folder)
    for file in (folder / "frames").iterdir():
        Image.new("RGB", (2, 2), "red").save(file)
    (folder / "frames/10.png").rename(folder / "frames/7.png")
    return dataclasses.replace(result, root=folder, pictures_digest=digest("other pictures"))


def make_lineage(folder, experiment=None):
    """Return a lineage of no Git repository."""
    return Lineage(
        root=folder,
        commit=None,
        dirty="unknown",
        git_refusal="",
        experiment=experiment,
        source="weather",
        user="somebody",
    )


def store_in(folder, experiment="weather"):
    """Return the store that a checkout in the folder has by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it itself
        return configured_store(folder, experiment)


def at_server(address, folder, experiment):
    """Return a store at a server, of a checkout that lies in the folder."""
    return Store(address, experiment, None, None, folder / "mlflow-bridge")


def execute(store, statement, *values):
    """Execute a statement in a local store's database, as a user of MLflow's pages might cause."""
    with closing(sqlite3.connect(store.file)) as database, database:
        return database.execute(statement, values).fetchall()
