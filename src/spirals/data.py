"""The spiral data, one arm for each class, and the random numbers that they are made from.

See the case study, "Generating some data".
"""

import math

import numpy as np

from portable.arithmetic import FloatArray, IntArray, log_rounded, sin_cos_rounded

NAME = "The spiral data"  # in titles


def standard_normal(seed: int, skip: int, count: int) -> FloatArray:
    """Return draws [count] from the normal distribution, the same as NumPy's legacy stream.

    They are `RandomState(seed).standard_normal(skip + count)[skip:]`, the stream of the case
    study's `np.random.randn`, which NEP 19 freezes for good. NumPy takes the logarithm in it from
    the system's libm. Here only the uniform draws are NumPy's; the polar method (Marsaglia and
    Bray, 1964) turns them into normal ones, with a correctly rounded logarithm. With glibc 2.36,
    3 or 4 of 10,000 draws differ from NumPy's, by at most 3 ulp.

    Args:
        seed: of the stream, 0 to 2**32 - 1.
        skip: draws that are thrown away first.
        count: draws that are returned.
    """
    random_sample = np.random.RandomState(seed).random_sample
    pairs = np.empty((0, 2))
    needed = (skip + count + 1) // 2  # an accepted pair gives two draws
    while len(pairs) < needed:
        candidates = 2.0 * random_sample((needed - len(pairs) + 16, 2)) - 1.0
        squared = _squared_length(candidates)
        accepted = (squared < 1.0) & (squared != 0.0)
        pairs = np.concatenate([pairs, candidates[accepted]])
    pairs = pairs[skip // 2 : needed]
    squared = _squared_length(pairs)
    factor = np.sqrt(-2.0 * log_rounded(squared) / squared)
    draws = factor[:, None] * pairs
    draws = draws[:, ::-1].ravel()  # the second of a pair comes first
    return draws[skip % 2 :][:count]


def _squared_length(pairs: FloatArray) -> FloatArray:
    """Return x**2 + y**2 [N] of pairs x, y [N, 2]."""
    return pairs[:, 0] * pairs[:, 0] + pairs[:, 1] * pairs[:, 1]


class NormalStream:
    """Normal draws, one array after another: `np.random.randn` after `np.random.seed(seed)`."""

    def __init__(self, seed: int, skip: int) -> None:
        self.seed = seed
        self.skip = skip

    def randn(self, *shape: int) -> FloatArray:
        """Return the next draws of the stream, an array of this shape."""
        count = math.prod(shape)
        draws = standard_normal(self.seed, self.skip, count)
        self.skip += count
        return draws.reshape(shape)


def make_spirals(
    points_per_class: int, classes: int, noise: float, seed: int, skip_draws: int = 0
) -> tuple[FloatArray, IntArray]:
    """Return points on spiral arms, class after class.

    Arm j turns from the angle 4j to 4(j+1) radians while its radius grows from 0 to 1.

    Args:
        points_per_class: points on each arm.
        classes: arms.
        noise: standard deviation of the normal draws that are added to the angle, radians.
        seed: of the normal draws.
        skip_draws: normal draws that are thrown away first.

    Returns:
        The points X [N, 2], and their classes y [N], from 0.
    """
    draws = standard_normal(seed, skip_draws, classes * points_per_class)
    draws = draws.reshape(classes, points_per_class)
    radius = np.linspace(0.0, 1.0, points_per_class)
    arms = []
    for j in range(classes):
        angle = np.linspace(j * 4, (j + 1) * 4, points_per_class) + draws[j] * noise
        sine, cosine = sin_cos_rounded(angle)
        arms.append(np.stack([radius * sine, radius * cosine], axis=1))
    return np.concatenate(arms), np.repeat(np.arange(classes), points_per_class)
