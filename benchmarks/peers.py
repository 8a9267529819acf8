"""The same training by other means: full-batch gradient descent of the two-layer network.

Run as a worker, which keeps imports and compilation out of what is timed:
`python benchmarks/peers.py NAME FOLDER` reads X, y and the first weights from FOLDER, says
{"ready": seconds it took} or {"missing": why}, and then for every number of iterations that
it reads trains from the first weights and says {"seconds": ..., "loss": ...}.
"""

import json
import os
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STEP, L2 = 1.0, 1e-3  # the case study's
NAMES = ("W", "b", "W2", "b2")


@dataclass
class Params:
    """What the loop of the pipeline takes of a section of params.yaml."""

    iterations: int
    learning_rate: float = STEP
    l2: float = L2


def compiled(X, y, first):
    """The loop of the pipeline, as it is where Numba is there and the training is long."""
    sys.path.insert(0, str(ROOT / "src"))
    from portable.compiler import set_up_numba

    set_up_numba()
    from portable import compiled

    def descent(model, X, y, params):
        return compiled.gradient_descent(
            model.weights,
            X,
            y,
            iterations=params.iterations,
            learning_rate=params.learning_rate,
            l2=params.l2,
        )

    return ours(X, y, first, descent)


def ours(X, y, first, descent=None):
    """The loop of the pipeline; the loss is taken every tenth time, as there."""
    sys.path.insert(0, str(ROOT / "src"))
    from spirals.models import MLP
    from spirals.training import gradient_descent

    def run(iterations):
        model = MLP.from_weights(first).copy()
        steps = (descent or gradient_descent)(model, X, y, Params(iterations))
        for iteration, scores in steps:
            if iteration % 10 == 0:
                model.loss(scores, y, L2)
        return model.weights

    return run


def case_study(X, y, first):
    """The text's loop, with NumPy's own dot, exp and log."""
    sys.path.insert(0, str(ROOT / "tests"))
    import restatement

    def run(iterations):
        weights = {name: value.copy() for name, value in first.items()}
        restatement.net(X, y, *(weights[name] for name in NAMES), STEP, L2, iterations)
        return weights

    return run


def blas(X, y, first):
    """The fastest form found with BLAS: units as rows, biases folded in, no allocation, no loss."""
    n, classes, hidden = len(X), first["W2"].shape[1], first["W"].shape[1]
    points = np.vstack([X.T, np.ones(n)])
    target = (np.arange(classes)[:, None] == y).astype(float)
    layer, dlayer, on = np.ones((hidden + 1, n)), np.empty((hidden, n)), np.empty((hidden, n))
    scores, units = np.empty((classes, n)), layer[:hidden]

    def run(iterations):
        V = np.hstack([first["W"].T, first["b"][:, None]])
        V2 = np.hstack([first["W2"].T, first["b2"][:, None]])
        for _ in range(iterations):
            np.matmul(V, points, out=units)
            np.maximum(units, 0, out=units)
            np.matmul(V2, layer, out=scores)
            scores[:] -= scores.max(axis=0)
            np.exp(scores, out=scores)
            scores[:] /= scores.sum(axis=0)
            scores[:] -= target
            scores[:] *= STEP / n
            np.matmul(V2[:, :hidden].T, scores, out=dlayer)
            np.sign(units, out=on)
            dlayer[:] *= on
            V2[:, :hidden] *= 1 - STEP * L2
            V2 -= scores @ layer.T
            V[:, :-1] *= 1 - STEP * L2
            V -= dlayer @ points.T
        return {"W": V[:, :-1].T, "b": V[:, -1], "W2": V2[:, :-1].T, "b2": V2[:, -1]}

    return run


def scikit_learn(X, y, first):
    from sklearn.neural_network import MLPClassifier

    def run(iterations):
        model = MLPClassifier(
            hidden_layer_sizes=(first["W"].shape[1],),
            solver="sgd",
            alpha=L2 * len(X),  # it divides by the number of points
            batch_size=len(X),
            learning_rate_init=STEP,
            momentum=0.0,
            nesterovs_momentum=False,
            shuffle=False,
            warm_start=True,  # from the weights that are set below
            max_iter=1,
            n_iter_no_change=iterations + 1,
        )
        model.fit(X, y)
        model.set_params(max_iter=iterations)
        model.coefs_ = [first["W"].copy(), first["W2"].copy()]
        model.intercepts_ = [first["b"].copy(), first["b2"].copy()]
        model.fit(X, y)
        W, W2 = model.coefs_
        b, b2 = model.intercepts_
        return {"W": W, "b": b, "W2": W2, "b2": b2}

    return run


def torch_eager(X, y, first, wrap=lambda function: function):
    import torch

    torch.set_num_threads(1)
    points, labels = torch.from_numpy(X), torch.from_numpy(y)

    @wrap
    def data_loss(W, b, W2, b2):
        return torch.nn.functional.cross_entropy(torch.relu(points @ W + b) @ W2 + b2, labels)

    def run(iterations):
        weights = [torch.tensor(first[name], requires_grad=True) for name in NAMES]
        groups = [{"params": weights[::2], "weight_decay": L2}, {"params": weights[1::2]}]
        optimizer = torch.optim.SGD(groups, lr=STEP)
        for _ in range(iterations):
            optimizer.zero_grad()
            data_loss(*weights).backward()
            optimizer.step()
        return {name: value.detach().numpy() for name, value in zip(NAMES, weights, strict=True)}

    return run


def torch_compiled(X, y, first):
    import torch

    return torch_eager(X, y, first, torch.compile)


def jax_jit(X, y, first):
    """The whole loop compiled, not only its body."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    rows = jnp.arange(len(X))

    def whole_loss(w):
        scores = jnp.maximum(0, X @ w["W"] + w["b"]) @ w["W2"] + w["b2"]
        penalty = 0.5 * L2 * (jnp.sum(w["W"] ** 2) + jnp.sum(w["W2"] ** 2))
        return penalty - jnp.mean(jax.nn.log_softmax(scores)[rows, y])

    def step(_, w):
        return jax.tree.map(lambda value, slope: value - STEP * slope, w, jax.grad(whole_loss)(w))

    descend = jax.jit(lambda iterations, w: jax.lax.fori_loop(0, iterations, step, w))

    def run(iterations):
        return {name: np.asarray(value) for name, value in descend(iterations, first).items()}

    return run


PEERS = {
    "this project": compiled,
    "this project, NumPy only": ours,
    "case study's loop": case_study,
    "fastest BLAS form": blas,
    "scikit-learn": scikit_learn,
    "PyTorch, eager": torch_eager,
    "PyTorch, compiled": torch_compiled,
    "JAX, jit": jax_jit,
}


def loss(X, y, w):
    """By plain NumPy, the same for all."""
    scores = np.maximum(0, X @ w["W"] + w["b"]) @ w["W2"] + w["b2"]
    shifted = scores - scores.max(axis=1, keepdims=True)
    data_loss = np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y])
    return float(data_loss + 0.5 * L2 * (np.sum(w["W"] ** 2) + np.sum(w["W2"] ** 2)))


def say(**message):
    print(json.dumps(message), flush=True)


def main(name, folder):
    warnings.simplefilter("ignore")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, and one thread on it
    X, y, *values = (np.load(Path(folder, f"{part}.npy")) for part in ("X", "y", *NAMES))
    begin = time.perf_counter()
    try:
        run = PEERS[name](X, y, dict(zip(NAMES, values, strict=True)))
        run(3)
    except Exception as error:  # whatever keeps a library from working here
        say(missing=f"{type(error).__name__}: {error}".splitlines()[0][:100])
        return
    say(ready=time.perf_counter() - begin)
    for line in sys.stdin:
        begin = time.perf_counter()
        weights = run(int(line))
        say(seconds=time.perf_counter() - begin, loss=loss(X, y, weights))


if __name__ == "__main__":
    main(*sys.argv[1:])
