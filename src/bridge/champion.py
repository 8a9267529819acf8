"""Keep the aliases of the best models: `models:/NAME@champion` loads one.

The best on some data has the alias champion-DATA, with digits of their digest: results on other
data are not compared. `champion` is that of the data of the committed pipeline. The best is looked
for among the runs that are there, active and complete, whenever something is published: one that
was deleted gives way to the next.
"""

import json
from contextlib import suppress

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from bridge.files import digest
from bridge.lineage import Lineage
from bridge.locks import happened, publish_lock
from bridge.results import Result
from bridge.store import ALIAS, COMPLETE, DATA, MODEL, Store, alias_of, safe_name

LOCK = digest(ALIAS)


def update_champion(
    client: MlflowClient,
    store: Store,
    experiment: str,
    experiment_id: str,
    results: list[Result],
    lineage: Lineage,
) -> None:
    """Give the aliases to the best of the runs on the data of these results.

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
    with publish_lock(client, store, registry, LOCK):
        happened(client.create_registered_model, registry)
        for data, metric in sorted({_comparison(result) for result in compared}):
            best = find_best(client, experiment_id, data, metric)
            if best:
                version = _version_of(client, registry, best, metric, data)
                _set_alias(client, registry, alias_of(data), version.version)
        _set_champion(client, registry, compared[0], lineage)


def _comparison(result: Result) -> tuple[str, str]:
    """Return the data that a result is compared on, and the metric."""
    champion = result.settings.champion
    return result.compared_on, champion.metric if champion else ""


def find_best(client: MlflowClient, experiment_id: str, data: str, metric: str) -> Run | None:
    """Return the best of the complete runs on some data; of equal ones, the first.

    None where no run has a number: nothing is above NaN.
    """
    complete = f"tags.`{COMPLETE}` = 'true' AND tags.`{DATA}` = '{data}'"
    order = [f"metrics.`{metric}` DESC", "attributes.start_time ASC", "attributes.run_id ASC"]
    runs = client.search_runs([experiment_id], complete, max_results=1, order_by=order)
    if not runs:
        return None
    value = runs[0].data.metrics.get(metric)
    is_number = value is not None and value == value
    return runs[0] if is_number else None


def _version_of(
    client: MlflowClient, registry: str, run: Run, metric: str, data: str
) -> ModelVersion:
    """Return the registered version of a run's model, which is made if it is not there."""
    run_id = run.info.run_id
    model_id = run.data.tags[MODEL]
    for version in client.search_model_versions(f"name = '{registry}'"):
        if version.run_id == run_id and version.source == f"models:/{model_id}":
            return version
    value = run.data.metrics[metric]
    version = client.create_model_version(
        registry,
        f"models:/{model_id}",
        run_id,
        tags={metric: repr(value), "data": data},
        description=f"{metric} {value:.4g}: {run.info.run_name}",
        await_creation_for=0,
        model_id=model_id,
    )
    # Or the model's page says that it is not registered.
    linked = json.dumps([{"name": registry, "version": version.version}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": linked})
    return version


def _set_champion(client: MlflowClient, registry: str, result: Result, lineage: Lineage) -> None:
    """Give `champion` to the best on the committed data, or else on those of this result."""
    registered = client.get_registered_model(registry)
    own = alias_of(result.compared_on)
    committed = alias_of(lineage.committed_data_digest(result) or result.compared_on)
    aliases = registered.aliases
    if committed in aliases:
        _set_alias(client, registry, ALIAS, aliases[committed])
    elif own in aliases and not _is_there(client, registered, ALIAS):
        _set_alias(client, registry, ALIAS, aliases[own])


def _is_there(client: MlflowClient, registered: RegisteredModel, alias: str) -> bool:
    """Return whether the model of an alias is there, and its run was not deleted."""
    version = registered.aliases.get(alias)
    if version is None:
        return False
    with suppress(MlflowException):
        found = client.get_model_version(registered.name, version)
        return client.get_run(str(found.run_id)).info.lifecycle_stage == "active"
    return False


def _set_alias(client: MlflowClient, registry: str, alias: str, version: str) -> None:
    if client.get_registered_model(registry).aliases.get(alias) != version:
        client.set_registered_model_alias(registry, alias, version)
