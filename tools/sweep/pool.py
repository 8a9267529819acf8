"""The workers of a sweep: threads of this process, or a Dask cluster."""

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from tqdm import tqdm

import guard
import warm
import worker
from pipeline.errors import UserError


@dataclass(frozen=True)
class Pool:
    """Workers that run experiments."""

    executor: Executor
    count: Callable[[], int]  # how many experiments they can run at once, at this moment


@dataclass
class Outcome:
    """The result of running experiments."""

    failed: dict[str, str] = field(default_factory=dict)  # by name, the reason
    stopped: bool = False  # by Ctrl-C


@contextmanager
def local_pool(count: int) -> Iterator[Pool]:
    """Yield a pool of threads that wait for their experiments' commands: no port is opened."""
    with ThreadPoolExecutor(count) as executor:
        yield Pool(executor, lambda: count)
    worker.close_warm()


@contextmanager
def cluster_pool(scheduler: str) -> Iterator[Pool]:
    """Yield the workers of a Dask cluster as a pool.

    Args:
        scheduler: its address, tls://... or tcp://...

    Raises:
        UserError: Dask is not installed, no scheduler answers, or certificates are missing.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError("a cluster needs Dask: pip install 'distributed'") from None
    logging.disable()  # Dask's own messages; ours explain what goes wrong
    try:
        client = Client(scheduler, timeout=10)  # seconds
    except (OSError, ValueError) as error:
        raise UserError(f"no scheduler answers at {scheduler}: {error}") from None
    except TypeError:  # Dask's own error
        raise UserError(
            f"{scheduler} needs TLS certificates: set their paths in Dask's configuration, as"
            " docs/cluster.md shows"
        ) from None
    with client:
        for module in (guard, warm, worker):  # in the order of their imports
            client.upload_file(module.__file__)
        executor = client.get_executor(pure=False)
        yield Pool(executor, lambda: max(1, sum(client.nthreads().values())))


def run_all(
    pool: Pool,
    experiments: Mapping[str, dict[str, str]],
    job: worker.Job,
    bar: "tqdm[Any]",
) -> Outcome:
    """Run experiments, as many at once as the workers can.

    Ctrl-C lets the running experiments end. A second one ends this process at once, and with it
    whatever runs on this machine.

    Args:
        pool: the workers that run them.
        experiments: by name, the values by key.
        job: what they have in common.
        bar: the progress bar.

    Raises:
        UserError: the scheduler is lost.
    """
    outcome = Outcome()

    def stop(signal_number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        outcome.stopped = True
        bar.write("Stopping when the running experiments end; Ctrl-C again stops them too.")

    waiting = list(experiments)
    running: dict[Future[str | None], str] = {}
    handler = signal.signal(signal.SIGINT, stop)
    try:
        while running or (waiting and not outcome.stopped):
            while waiting and not outcome.stopped and len(running) < pool.count():
                name = waiting.pop(0)
                values = experiments[name]
                future = pool.executor.submit(worker.run_experiment, name, values, job)
                running[future] = name
            bar.set_postfix(running=len(running), failed=len(outcome.failed))
            done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                reason = failure(future)
                if reason:
                    outcome.failed[name] = reason
                    bar.write(f"{name} failed: {reason}")
                bar.update()
    except (CancelledError, OSError):
        raise UserError(
            "the scheduler is lost; finished experiments are kept: the same command runs the rest"
        ) from None
    finally:
        signal.signal(signal.SIGINT, handler)
    return outcome


def failure(future: "Future[str | None]") -> str | None:
    """Return why an experiment failed, or None; raise CancelledError if its worker is lost."""
    error = future.exception()
    return str(error) if error else future.result()
