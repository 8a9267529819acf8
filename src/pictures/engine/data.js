// The spirals: points on interleaved arms, one arm a class. The second form of src/spirals/data.py.

// Return draws from the normal distribution, after `skip` were thrown away: the polar method
// (Marsaglia and Bray, 1964) with a correctly rounded logarithm.
function standardNormal(seed, skip, count) {
  const random = new RandomState(seed);
  const draws = new Float64Array(count);
  let next = -skip; // where the next draw goes; before the start it is thrown away
  while (next < count) {
    const x = 2 * random.randomSample() - 1;
    const y = 2 * random.randomSample() - 1;
    const squared = x * x + y * y;
    if (squared >= 1 || squared === 0) continue;
    if (next + 1 >= 0) {
      const factor = Math.sqrt((-2 * logRounded(squared)) / squared);
      if (next >= 0) draws[next] = factor * y; // the second of a pair comes first
      if (next + 1 < count) draws[next + 1] = factor * x;
    }
    next += 2;
  }
  return draws;
}

// Normal draws, one array after another.
class NormalStream {
  constructor(seed, skip) {
    this.seed = seed;
    this.skip = skip;
  }

  randn(count) {
    const draws = standardNormal(this.seed, this.skip, count);
    this.skip += count;
    return draws;
  }
}

// Return points on spiral arms, class after class: X [N, 2], row by row, and their classes y [N].
function makeSpirals(pointsPerClass, classes, noise, seed, skipDraws = 0) {
  const points = classes * pointsPerClass;
  const draws = standardNormal(seed, skipDraws, points);
  const radius = linspace(0, 1, pointsPerClass);
  const X = new Float64Array(2 * points);
  const y = new Int32Array(points);
  for (let j = 0; j < classes; j++) {
    const arm = linspace(j * 4, (j + 1) * 4, pointsPerClass);
    for (let i = 0; i < pointsPerClass; i++) {
      const n = j * pointsPerClass + i;
      const [sine, cosine] = sinCosRounded(arm[i] + draws[n] * noise);
      X[2 * n] = radius[i] * sine;
      X[2 * n + 1] = radius[i] * cosine;
      y[n] = j;
    }
  }
  return { X, y };
}

// Return evenly spaced numbers from start to stop, as `np.linspace` computes them.
function linspace(start, stop, count) {
  const step = (stop - start) / (count - 1);
  const numbers = Float64Array.from({ length: count }, (_, i) => i * step + start);
  numbers[count - 1] = stop;
  return numbers;
}
