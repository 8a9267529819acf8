"""Keep the aliases of the best models: `models:/NAME@champion` loads one.

The best on some data has the alias champion-DATA, with digits of their digest: results on other
data are not compared. `champion` is that of the data of the committed pipeline. The best is looked
for among the runs that are there, active and complete, whenever something is published: one that
was deleted gives way to the next, and whatever was deleted in the registry is made again.
"""

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field

from mlflow import MlflowClient, MlflowException
from mlflow.entities import LoggedModelStatus, Run, RunTag
from mlflow.entities.model_registry import ModelVersion

from bridge.database import model_there
from bridge.files import digest
from bridge.lineage import Lineage
from bridge.locks import apply_unless_raced, publish_lock
from bridge.results import Result
from bridge.store import ALIAS, COMPLETE, DATA, METRIC, MODEL, Store, alias_of, safe_name

LOCK = digest(ALIAS)
MAX_CANDIDATES = 20  # runs that are looked at for the best: models may have been deleted
MOST_VERSIONS = 10_000  # that MLflow gives at once
VERSION_DATA = "data"  # tag of a registered version: digest of the data that it is compared on


@dataclass(frozen=True)
class Registered:
    """What the registry has of an experiment's models."""

    aliases: dict[str, str] = field(default_factory=dict)  # versions, by alias
    versions: dict[str, ModelVersion] = field(default_factory=dict)  # by their number

    def version_of(self, run: Run) -> str | None:
        """Return the version that is the model of a run."""
        source = f"models:/{run.data.tags.get(MODEL)}"
        for number, version in self.versions.items():
            if version.run_id == run.info.run_id and version.source == source:
                return number
        return None

    def data_of(self, alias: str) -> str | None:
        """Return the digest of the data that the model of an alias is compared on."""
        version = self.versions.get(self.aliases.get(alias, ""))
        return version.tags.get(VERSION_DATA) if version else None


@dataclass(frozen=True)
class Champions:
    """The runs whose models are to have the aliases."""

    best: dict[str, Run]  # by digest of the data
    data: str | None  # digest of the data whose best is `champion`
    stale_aliases: list[str]  # aliases of data that no run is left on

    @property
    def runs(self) -> dict[str, Run]:
        """The runs by alias."""
        runs = {alias_of(data): run for data, run in self.best.items()}
        if self.data:
            runs[ALIAS] = self.best[self.data]
        return runs

    def match(self, registered: Registered) -> bool:
        """Return whether each of them has its alias, and no alias is left over."""
        if not registered.aliases.keys().isdisjoint(self.stale_aliases):
            return False
        for alias, run in self.runs.items():
            version = registered.version_of(run)
            if version is None or registered.aliases.get(alias) != version:
                return False
        return True


@dataclass(frozen=True)
class Candidates:
    """The runs of an experiment that are active and complete, with a model that can be loaded."""

    client: MlflowClient
    store: Store
    experiment_id: str

    def find_best(self, data: str, metric: str) -> Run | None:
        """Return the best of the runs on some data; of equal ones, the first.

        None where no run has a number: nothing is above NaN.
        """
        complete = f"tags.`{COMPLETE}` = 'true' AND tags.`{DATA}` = '{data}'"
        order = [f"metrics.`{metric}` DESC", "attributes.start_time ASC", "attributes.run_id ASC"]
        experiments = [self.experiment_id]
        for run in self.client.search_runs(
            experiments, complete, max_results=MAX_CANDIDATES, order_by=order
        ):
            value = run.data.metrics.get(metric)
            is_number = value is not None and not math.isnan(value)
            if is_number and self._has_model(run):
                return run
        return None

    def _has_model(self, run: Run) -> bool:
        """Return whether the model of a run is there; at a server it is taken to be."""
        if self.store.is_remote:
            return True
        with suppress(MlflowException):  # it was deleted
            model = self.client.get_logged_model(run.data.tags.get(MODEL, ""))
            is_ready = model.status == LoggedModelStatus.READY
            return is_ready and model_there(model.artifact_location)
        return False


def update_champion(
    client: MlflowClient,
    store: Store,
    experiment: str,
    experiment_id: str,
    results: list[Result],
    lineage: Lineage,
) -> None:
    """Give the aliases to the best of the runs that are there.

    It is done for the data of these results, those of the commit, and those of `champion` as it is.

    Args:
        client: of the store.
        store: where the runs are.
        experiment: name of the MLflow experiment.
        experiment_id: its ID.
        results: published just now, or found there.
        lineage: says which data are the committed ones.
    """
    compared = [result for result in results if result.settings.champion]
    if not compared:
        return
    registry = safe_name(experiment)
    candidates = Candidates(client, store, experiment_id)
    registered = _read_registry(client, registry)
    champions = _find_champions(candidates, compared, lineage, registered)
    if champions.match(registered):
        return
    with publish_lock(client, store, registry, LOCK):
        registered = _read_registry(client, registry)
        _adopt(client, registered)
        champions = _find_champions(candidates, compared, lineage, registered)
        apply_unless_raced(client.create_registered_model, registry)
        for alias, run in champions.runs.items():
            version = registered.version_of(run)
            if version is None:
                version = _register(client, registry, run)
                registered = _read_registry(client, registry)
            if registered.aliases.get(alias) != version:
                client.set_registered_model_alias(registry, alias, version)
        for alias in registered.aliases.keys() & set(champions.stale_aliases):
            client.delete_registered_model_alias(registry, alias)


def _adopt(client: MlflowClient, registered: Registered) -> None:
    """Give the best runs the tags by which runs are compared: version 1.0 had none."""
    for number in {*registered.aliases.values()}:
        version = registered.versions.get(number)
        tags = _tags_by_version(version) if version else {}
        if version is None or not tags:
            continue
        with suppress(MlflowException):  # its run is gone
            run = client.get_run(str(version.run_id))
            if COMPLETE in run.data.tags and DATA not in run.data.tags:
                batch = [RunTag(key, value) for key, value in tags.items()]
                client.log_batch(run.info.run_id, tags=batch)


def _tags_by_version(version: ModelVersion) -> dict[str, str]:
    """Return the tags of a run by those of its version: its data, and a number by its metric."""
    metrics = version.tags.keys() - {VERSION_DATA}
    if VERSION_DATA not in version.tags or len(metrics) != 1:
        return {}
    model_id = str(version.source).removeprefix("models:/")
    return {DATA: version.tags[VERSION_DATA], METRIC: metrics.pop(), MODEL: model_id}


def _read_registry(client: MlflowClient, registry: str) -> Registered:
    models = client.search_registered_models(f"name = '{registry}'")
    if not models:
        return Registered()
    found = client.search_model_versions(f"name = '{registry}'", max_results=MOST_VERSIONS)
    aliases = {alias: str(version) for alias, version in models[0].aliases.items()}
    versions = {str(version.version): version for version in found}
    return Registered(aliases, versions)


def _find_champions(
    candidates: Candidates, results: list[Result], lineage: Lineage, registered: Registered
) -> Champions:
    """Return the best run on each of the data, and whose is `champion`.

    That is the best on the committed data; where no run is on these, it stays with the data that it
    is on, or else goes to those of the results.
    """
    metrics = {}
    wanted = []
    for result in results:
        metrics[result.compared_on] = _metric(result)
        wanted.append(lineage.committed_data_digest(result))
    wanted += [registered.data_of(ALIAS), *metrics]
    best = {}
    stale_aliases = []
    for data in dict.fromkeys(filter(None, wanted)):
        run = candidates.find_best(data, metrics.get(data, _metric(results[0])))
        if run:
            best[data] = run
        else:
            stale_aliases.append(alias_of(data))
    chosen = next(iter(best), None)  # in the order of what is wanted
    if chosen is None:
        stale_aliases.append(ALIAS)
    return Champions(best, chosen, stale_aliases)


def _metric(result: Result) -> str:
    champion = result.settings.champion
    return champion.metric if champion else ""


def _register(client: MlflowClient, registry: str, run: Run) -> str:
    """Register the model of a run; return its version."""
    tags = run.data.tags
    metric, model_id = tags[METRIC], tags[MODEL]
    value = run.data.metrics[metric]
    version = client.create_model_version(
        registry,
        f"models:/{model_id}",
        run.info.run_id,
        tags={metric: repr(value), VERSION_DATA: tags[DATA]},
        description=f"{metric} {value:.4g}: {run.info.run_name}",
        await_creation_for=0,
        model_id=model_id,
    )
    # Or the model's page says that it is not registered.
    linked = json.dumps([{"name": registry, "version": version.version}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": linked})
    return str(version.version)
