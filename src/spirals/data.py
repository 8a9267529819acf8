"""The spirals: points on interleaved arms, one arm a class (case study, "Generating some data")."""

import numpy as np

from portable.arithmetic import log_rounded, sin_cos_rounded

NAME = "The spiral data"  # as titles have it


def standard_normal(seed, skip, count):
    """Draws [count] from the normal distribution, the same numbers as NumPy's legacy stream, after `skip` of them.

    They are `RandomState(seed).standard_normal(skip + count)[skip:]`, the stream of the case study's
    `np.random.randn`, which NEP 19 freezes for good. NumPy takes the logarithm in it from the system's libm; here only
    the uniform draws are NumPy's, and the polar method (Marsaglia and Bray, 1964) follows with a correctly rounded
    logarithm. Measured with glibc 2.36: 3 or 4 of 10,000 draws differ from NumPy's, by at most 3 ulp.
    """
    uniform = np.random.RandomState(seed).random_sample
    pairs = np.empty((0, 2))
    needed = (skip + count + 1) // 2  # an accepted pair gives two draws
    while len(pairs) < needed:
        candidates = 2.0 * uniform((needed - len(pairs) + 16, 2)) - 1.0
        squared = candidates[:, 0] * candidates[:, 0] + candidates[:, 1] * candidates[:, 1]
        pairs = np.concatenate([pairs, candidates[(squared < 1.0) & (squared != 0.0)]])
    pairs = pairs[skip // 2 : needed]
    squared = pairs[:, 0] * pairs[:, 0] + pairs[:, 1] * pairs[:, 1]
    factor = np.sqrt(-2.0 * log_rounded(squared) / squared)
    draws = (factor[:, None] * pairs)[:, ::-1].ravel()  # the second of a pair comes first
    return draws[skip % 2 :][:count]


def make_spirals(points_per_class, classes, noise, seed, skip_draws=0):
    """Points on `classes` spiral arms, class after class: their coordinates X [N, 2] and classes y [N], from 0.

    Arm j turns from the angle 4j to 4(j+1) radians while its radius grows from 0 to 1; normal draws are
    added to the angle, with the standard deviation `noise` in radians.
    """
    draws = standard_normal(seed, skip_draws, classes * points_per_class).reshape(
        classes, points_per_class
    )
    radius = np.linspace(0.0, 1.0, points_per_class)
    arms = []
    for j in range(classes):
        angle = np.linspace(j * 4, (j + 1) * 4, points_per_class) + draws[j] * noise
        sine, cosine = sin_cos_rounded(angle)
        arms.append(np.stack([radius * sine, radius * cosine], axis=1))
    return np.concatenate(arms), np.repeat(np.arange(classes), points_per_class)
