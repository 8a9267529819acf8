"""The case study's own script: its data, both of its loops, its printed lines, with plain NumPy."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from restatement import linear, net

N, D, K, H = 100, 2, 3, 100
randn = np.random.RandomState(0).standard_normal
X, y = np.zeros((N * K, D)), np.repeat(np.arange(K), N)
for j in range(K):
    r, t = np.linspace(0.0, 1, N), np.linspace(j * 4, (j + 1) * 4, N) + randn(N) * 0.2
    X[y == j] = np.c_[r * np.sin(t), r * np.cos(t)]
randn(18)
for i, loss in enumerate(linear(X, y, 0.01 * randn((D, K)), np.zeros(K), 1.0, 1e-3, 200)):
    if i % 10 == 0:
        print(f"iteration {i}: loss {loss:f}")
W, b, W2, b2 = 0.01 * randn((D, H)), np.zeros(H), 0.01 * randn((H, K)), np.zeros(K)
for i, loss in enumerate(net(X, y, W, b, W2, b2, 1.0, 1e-3, 10_000)):
    if i % 1000 == 0:
        print(f"iteration {i}: loss {loss:f}")
scores = np.maximum(0, X.dot(W) + b).dot(W2) + b2
print(f"training accuracy: {np.mean(scores.argmax(axis=1) == y):.2f}")
