"""One publisher at a time: what holds at a server where publishers are killed, stalled or slow."""

import os
import re
import secrets
import socket
import sys
import threading
import time

import pytest
from made import at_server
from mlflow import MlflowClient
from processes import call, end, kill_myself, start

from bridge import locks
from bridge.locks import publish_lock

pytestmark = pytest.mark.slow
KEY = "0123"


@pytest.fixture
def client(server):
    address, _ = server
    return MlflowClient(address, address)


@pytest.fixture
def registry(client):
    """The name of a registered model; nothing of its claims is left in the end."""
    name = f"claims-{secrets.token_hex(4)}"
    yield name
    assert client.search_registered_models(f"name LIKE '{name}%'") == []


@pytest.fixture
def hurry(monkeypatch):
    """Let claims be abandoned after seconds; on a busy machine, a renewal may take one."""
    monkeypatch.setattr(locks, "CLAIM_TIMEOUT", 2)
    monkeypatch.setattr(locks, "RENEW_AFTER", 0.2)
    monkeypatch.setattr(locks, "TELL_AFTER", 0.3)
    monkeypatch.setattr(locks, "POLL", 0.05)


@pytest.fixture
def hold(client, registry, tmp_path):
    """Give the lock as the publisher of a folder takes it."""

    def publisher(folder, client=client):
        store = at_server(client.tracking_uri, tmp_path / folder, registry)
        return publish_lock(client, store, registry, KEY)

    return publisher


@pytest.fixture
def killed(hold):
    """Leave the claim of a publisher that was killed in the folder `dead`."""

    def claim_and_die():
        with hold("dead"):
            kill_myself()

    assert call(claim_and_die) != 0


def enter_alone(hold, folder, inside):
    """Take the lock, and fail if another has it."""
    with hold(folder):
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        time.sleep(0.3)
        inside.unlink()


@pytest.mark.parametrize("publishers", [2, 4])
def test_of_several_that_take_over_a_dead_ones_claim_one_at_a_time_is_inside(
    publishers, hold, killed, hurry, tmp_path
):
    inside = tmp_path / "inside"
    children = [start(enter_alone, hold, f"heir-{index}", inside) for index in range(publishers)]
    assert [end(child, 60) for child in children] == [0] * publishers


def test_who_waits_is_told_for_whom(hold, killed, hurry, tmp_path, capfd):
    with hold("heir"):
        pass
    waiting, *others = capfd.readouterr().err.splitlines()
    place = re.escape(f"{socket.gethostname()}:{tmp_path}/dead/mlflow-bridge")
    assert re.match(f"waiting for {place}, which publishes the same", waiting)
    assert others == []


def test_the_claim_of_ones_own_folder_is_taken_over_at_once(hold, killed):
    begin = time.monotonic()
    with hold("dead"):
        assert time.monotonic() - begin < locks.CLAIM_TIMEOUT / 4


class Stalled:
    """A client that does something else before it takes a claim away."""

    def __init__(self, client, meanwhile):
        self.client = client
        self.meanwhile = meanwhile

    def __getattr__(self, name):
        return getattr(self.client, name)

    def rename_registered_model(self, name, new_name):
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return self.client.rename_registered_model(name, new_name)


def test_a_stalled_publisher_does_not_take_away_the_claim_that_another_made_meanwhile(
    client, hold, killed, hurry
):
    other = hold("other")
    other_is_inside, is_inside = threading.Event(), threading.Event()

    def enter_other():
        other.__enter__()
        other_is_inside.set()

    stalled = hold("stalled", Stalled(client, enter_other))

    def enter():
        with stalled:
            is_inside.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert other_is_inside.wait(60)
    assert not is_inside.wait(2 * locks.CLAIM_TIMEOUT)
    other.__exit__(None, None, None)
    assert is_inside.wait(30)
    thread.join()


def test_a_publisher_that_is_alive_keeps_its_claim_however_long_it_takes(hold, hurry):
    is_inside = threading.Event()

    def enter():
        with hold("impatient"):
            is_inside.set()

    with hold("slow"):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not is_inside.wait(2 * locks.CLAIM_TIMEOUT)
    assert is_inside.wait(30)
    thread.join()


class LosesAnAnswer:
    """A client whose first answer to a claim is lost on its way: it asks again."""

    def __init__(self, client):
        self.client = client
        self.is_lost = False

    def __getattr__(self, name):
        return getattr(self.client, name)

    def create_registered_model(self, name, **named):
        if not self.is_lost:
            self.is_lost = True
            self.client.create_registered_model(name, **named)
        return self.client.create_registered_model(name, **named)


def test_a_claim_whose_answer_was_lost_is_ones_own(client, hold):
    begin = time.monotonic()
    with hold("one", LosesAnAnswer(client)):
        assert time.monotonic() - begin < locks.CLAIM_TIMEOUT / 4


def test_on_one_machine_who_waits_is_told_so(hold, hurry, capfd):
    def hold_for_a_second():
        with hold("same"):
            sys.stdout.write("inside\n")
            sys.stdout.flush()
            time.sleep(1)

    child = start(hold_for_a_second)
    while "inside" not in capfd.readouterr().out:
        time.sleep(0.05)
    with hold("same"):
        pass
    assert "waiting for another publisher on this machine" in capfd.readouterr().err
    assert end(child) == 0
