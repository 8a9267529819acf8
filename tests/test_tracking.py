"""Publishing to stores of its own: one complete run for each result, however it was interrupted."""

import dataclasses
import json
import multiprocessing
import secrets
import shutil
import signal

import pytest
from made import at_server, make_lineage, make_result, store_in, with_other_pictures
from mlflow import MlflowClient
from PIL import Image
from processes import at_moments, call, count_moments, end, is_killed_at, kill_myself, start
from proxy import proxied
from shown import runs_in

from bridge.publish import publish

pytestmark = pytest.mark.slow
CALLS = 20  # of a server, for one result that is not the best, beside its files


@pytest.fixture
def tmp_path(tmp_path):
    """A path that no test had before: MLflow keeps what it opened by its path."""
    folder = tmp_path / secrets.token_hex(4)
    folder.mkdir()
    return folder


@pytest.fixture
def result(tmp_path):
    return make_result(tmp_path)


@pytest.fixture
def lineage(tmp_path):
    return make_lineage(tmp_path)


@pytest.fixture
def server(server):
    """Address of a tracking server."""
    return server[0]


def clean_publication(result, lineage, folder):
    """Return what a run of the result shows that nothing has interrupted."""
    assert call(publish, [result], lineage, store_in(folder)) == 0
    return runs_in(store_in(folder).uri)


@pytest.mark.parametrize("part", [0.5, 1])
def test_killed_while_the_database_is_made_it_is_made_the_next_time(
    part, result, lineage, tmp_path
):
    def make_database(folder):
        publish([], lineage, store_in(folder))

    (tmp_path / "count").mkdir()
    moment = max(1, int(part * count_moments(tmp_path / "count", make_database)))
    folder = tmp_path / "killed"
    folder.mkdir()
    assert is_killed_at(moment, folder, make_database)
    assert call(publish, [result], lineage, store_in(folder)) == 0
    assert len(runs_in(store_in(folder).uri)) == 1
    assert list(folder.glob(".*")) == []


def test_killed_at_any_moment_and_published_again_is_one_complete_run(
    result, lineage, empty_store, tmp_path
):
    def publish_in(folder):
        publish([result], lineage, store_in(folder))

    expected = clean_publication(result, lineage, empty_store(tmp_path / "clean"))
    moments = count_moments(empty_store(tmp_path / "count"), publish_in)
    assert moments > 30
    for sample in range(1, 9):
        moment = moments * sample // 8  # the last one among them
        folder = empty_store(tmp_path / f"killed-{moment}")
        assert is_killed_at(moment, folder, publish_in), moment
        assert call(publish_in, folder) == 0, moment
        assert runs_in(store_in(folder).uri) == expected, moment
        assert list(folder.glob(".*")) == [], moment


def kept_pictures(folder):
    """Return the bytes of the pictures of the run in a store, by path."""
    (artifacts,) = folder.glob("mlflow-bridge/weather/*/artifacts")
    return {path.relative_to(artifacts): path.read_bytes() for path in artifacts.rglob("*.png")}


def test_pictures_half_replaced_are_not_taken_for_the_old_ones(
    result, lineage, empty_store, tmp_path
):
    other = with_other_pictures(result, tmp_path / "other")
    folder = empty_store(tmp_path / "store")
    expected = clean_publication(result, lineage, folder)
    before = kept_pictures(folder)

    def kill(_):
        if 0 < len(kept_pictures(folder)) < len(before):
            kill_myself()

    def killed():
        at_moments(folder, kill)
        publish([other], lineage, store_in(folder))

    assert call(killed) == signal.SIGKILL
    assert kept_pictures(folder) != before
    assert call(publish, [result], lineage, store_in(folder)) == 0
    assert kept_pictures(folder) == before
    assert runs_in(store_in(folder).uri) == expected


def test_pictures_of_a_first_publication_that_was_killed_do_not_stay(
    result, lineage, empty_store, tmp_path
):
    other = with_other_pictures(result, tmp_path / "other")
    store = store_in(empty_store(tmp_path / "store"))
    expected = clean_publication(result, lineage, empty_store(tmp_path / "clean"))

    def kill(_):
        if len([*store.folder.rglob("images/*.png")]) == 2:
            kill_myself()

    def killed():
        at_moments(store.folder.parent, kill)
        publish([other], lineage, store)

    assert call(killed) != 0
    assert call(publish, [result], lineage, store) == 0
    assert runs_in(store.uri) == expected


def publish_at_once(results, lineage, stores):
    """Publish results from a process for each store at the same time.

    Returns:
        How many of the processes have made the run of each result.
    """
    notes = [store.folder.parent / f"{index}.json" for index, store in enumerate(stores)]

    def publish_and_note(store, note):
        published = publish(results, lineage, store)
        note.write_text(json.dumps([published[result.digest].new for result in results]))

    pairs = zip(stores, notes, strict=True)
    children = [start(publish_and_note, store, note) for store, note in pairs]
    assert [end(child) for child in children] == [0] * len(children)
    made = [json.loads(note.read_text()) for note in notes]
    return [sum(counts) for counts in zip(*made, strict=True)]


def test_four_at_once_make_one_database_and_one_run_for_each_result(lineage, tmp_path):
    results = [make_result(tmp_path, str(score), score) for score in (0.5, 0.75)]
    store = store_in(tmp_path)
    assert publish_at_once(results, lineage, [store] * 4) == [1, 1]
    assert len(runs_in(store.uri)) == 2


def test_three_checkouts_at_one_server_at_once_make_one_run_for_each_result(
    lineage, server, tmp_path
):
    results = [make_result(tmp_path, str(score), score) for score in (0.5, 0.75)]
    stores = [at_server(server, tmp_path / name, "at-once") for name in ("one", "two", "three")]
    for store in stores:
        store.folder.mkdir(parents=True)
    assert publish_at_once(results, lineage, stores) == [1, 1]
    assert len(runs_in(server, "at-once")) == 2


def test_pictures_are_replaced_at_a_server_and_none_of_the_old_steps_stays(
    result, lineage, server, tmp_path
):
    store = at_server(server, tmp_path, "pictures")
    publish([result], lineage, store)
    expected = runs_in(server, "pictures")
    publish([with_other_pictures(result, tmp_path / "other")], lineage, store)
    assert runs_in(server, "pictures") != expected
    publish([result], lineage, store)
    assert runs_in(server, "pictures") == expected


@pytest.mark.parametrize("is_served", [False, True])
def test_different_results_do_not_wait_for_one_another(
    is_served, lineage, empty_store, server, tmp_path
):
    results = [make_result(tmp_path, str(score), score) for score in (0.25, 0.5, 0.75)]
    if is_served:
        stores = [at_server(server, tmp_path / str(index), "apart") for index in range(3)]
    else:
        stores = [store_in(empty_store(tmp_path / "store"))] * 3
    # It breaks, after these seconds, if one waits for another to end.
    all_there = multiprocessing.Barrier(3, timeout=120)

    def publish_together(result, store):
        log_inputs = MlflowClient.log_inputs

        def log_inputs_together(*arguments):
            MlflowClient.log_inputs = log_inputs  # the next time, if it has to be tried again
            all_there.wait()  # each has begun its run, and none has ended it
            log_inputs(*arguments)

        MlflowClient.log_inputs = log_inputs_together
        publish([result], lineage, store)

    pairs = zip(results, stores, strict=True)
    children = [start(publish_together, result, store) for result, store in pairs]
    assert [end(child) for child in children] == [0] * 3
    assert len(runs_in(stores[0].uri, stores[0].experiment)) == 3


def test_the_requests_that_one_result_takes(lineage, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    better = make_result(tmp_path, "better", 0.75)
    worse = make_result(tmp_path, "worse", 0.5)
    for step in range(1, 30):
        shutil.copy(worse.root / "frames/0.png", worse.root / f"frames/{step}.png")
    with proxied(server, delay=0.1) as proxy:
        store = at_server(proxy.address, tmp_path, "requests")
        publish([better], lineage, store)
        proxy.requests.clear()
        publish([worse], lineage, store)
        uploads = [path for method, path, *_ in proxy.requests if method == "PUT"]
        calls = [f"{method} {path}" for method, path, *_ in proxy.requests if method != "PUT"]
        in_turn, at_once = proxy.in_turn(), proxy.at_once()
        proxy.requests.clear()
        publish([worse], lineage, store)
        again = len(proxy.requests)
    shown = runs_in(server, "requests")[worse.digest]
    assert len(set(uploads)) == len(uploads) == len(shown["files"]) + len(shown["model"])
    assert len(calls) <= CALLS, "\n".join(calls)
    assert at_once > 4
    # Eight uploads at once; each on its own would be many more.
    assert in_turn <= CALLS + len(uploads) // 3
    assert again <= 9


def test_files_that_dvc_keeps_read_only_can_be_replaced(result, lineage, empty_store, tmp_path):
    """DVC links files from its cache, where nobody may write them."""
    store = store_in(empty_store(tmp_path / "store"))
    for path in result.root.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    publish([result], lineage, store)
    kept = [path for path in store.folder.rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if not path.stat().st_mode & 0o200] == []


@pytest.mark.parametrize("run", ["v1.2", "a/b", "100%", "a'b\"c", "x:y"])
def test_a_run_may_be_called_what_no_model_may_be_called(
    run, result, lineage, empty_store, tmp_path
):
    store = store_in(empty_store(tmp_path / "store"))
    publish([dataclasses.replace(result, run=run)], lineage, store)
    assert len(runs_in(store.uri)) == 1


def only_picture(result, name, picture):
    """Let a result have this picture, and no other."""
    shutil.rmtree(result.root / "frames")
    (result.root / "frames").mkdir()
    picture.save(result.root / "frames" / name)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("1", "0.png"),
        ("P", "0.png"),
        ("LA", "0.png"),
        ("I;16", "0.png"),
        ("CMYK", "0.jpg"),
        ("F", "0.tiff"),
    ],
)
def test_a_picture_of_any_kind_is_shown(mode, name, result, lineage, empty_store, tmp_path):
    only_picture(result, name, Image.new(mode, (3, 3)))
    store = store_in(empty_store(tmp_path / "store"))
    publish([result], lineage, store)
    (shown,) = runs_in(store.uri).values()
    assert len([path for path in shown["files"] if "images/" in path]) == 2


def test_a_picture_that_is_too_wide_for_webp_is_shown(result, lineage, empty_store, tmp_path):
    only_picture(result, "0.png", Image.new("RGB", (17_000, 1)))
    store = store_in(empty_store(tmp_path / "store"))
    publish([result], lineage, store)
    assert len(runs_in(store.uri)) == 1
