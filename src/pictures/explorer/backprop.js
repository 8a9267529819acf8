/*
 * backprop.js: computes one point's way through a model and back, step by step as
 * src/spirals/models.py does. For pictures and four digits; not in the pipeline's order of sums.
 */

/** All that `forward`, `score_gradient` and `backward` compute for one of N points, of class y. */
function throughAndBack(weights, x1, x2, y, N) {
  const x = [x1, x2];
  const deep = "W2" in weights;
  const { W, b, W2, b2 } = weights;
  const values = { x, deep };
  if (deep) {
    values.products = product(x, W, b.length);
    values.sums = values.products.map((value, h) => value + b[h]);
    values.hidden = values.sums.map((value) => Math.max(0, value));
    values.scores = plus(product(values.hidden, W2, b2.length), b2);
  } else {
    values.scores = plus(product(x, W, b.length), b);
  }
  values.probabilities = probabilitiesOf(values.scores);
  values.loss = -Math.log(values.probabilities[y]);
  values.less = values.probabilities.map((p, k) => p - (k === y ? 1 : 0));
  values.dscores = values.less.map((value) => value / N);
  if (deep) {
    values.dW2 = outer(values.hidden, values.dscores);
    values.allowed = back(values.dscores, W2, b.length);
    values.dhidden = values.allowed.map((value, h) => (values.hidden[h] > 0 ? value : 0));
    values.dW = outer(x, values.dhidden);
  } else {
    values.dW = outer(x, values.dscores);
  }
  return values;
}

/** x W, for x [inputs] and W [inputs, units]. */
function product(x, W, units) {
  return Array.from({ length: units }, (_, j) =>
    x.reduce((total, value, i) => total + value * W[i * units + j], 0),
  );
}

const plus = (a, b) => a.map((value, j) => value + b[j]);

/** The matrix a_i d_j as rows. */
const outer = (a, d) => a.map((value) => d.map((other) => value * other));

/** d W^T, for d [outputs] and W [units, outputs]. */
function back(d, W, units) {
  return Array.from({ length: units }, (_, h) =>
    d.reduce((total, value, k) => total + value * W[h * d.length + k], 0),
  );
}
