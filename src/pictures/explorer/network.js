/*
 * network.js: the forward pass at any place, for pictures. A picture needs no last bit, so that
 * sums are taken in any order; numbers that are compared with DVC's come from the engine.
 */

/** The layers of weights {W, b, W2, b2, ...}: W [inputs, units] row after row, b [units]. */
function layersOf(weights) {
  const layers = [];
  for (let l = 1; `W${l > 1 ? l : ""}` in weights; l++) {
    const suffix = l > 1 ? l : "";
    const W = weights[`W${suffix}`];
    const b = weights[`b${suffix}`];
    layers.push({
      inputs: W.length / b.length,
      units: b.length,
      W,
      b,
      out: new Float64Array(b.length),
    });
  }
  return layers;
}

/** The scores of the classes at a place; the array is written again by the next call. */
function scoresAt(layers, x1, x2) {
  let input = [x1, x2];
  for (let l = 0; l < layers.length; l++) {
    const { inputs, units, W, b, out } = layers[l];
    out.set(b);
    for (let i = 0; i < inputs; i++) {
      const value = input[i];
      if (value === 0) continue; // a unit that is off adds nothing
      for (let j = 0, w = i * units; j < units; j++, w++) out[j] += value * W[w];
    }
    if (l + 1 < layers.length) {
      for (let j = 0; j < units; j++) if (out[j] < 0) out[j] = 0; // ReLU
    }
    input = out;
  }
  return input;
}

/** Index of the largest number, the first of equal ones. */
function largest(numbers) {
  let best = 0;
  for (let k = 1; k < numbers.length; k++) if (numbers[k] > numbers[best]) best = k;
  return best;
}

/** Softmax. The largest score is subtracted first, so that no exponential overflows. */
function probabilitiesOf(scores) {
  const most = scores[largest(scores)];
  const powers = Array.from(scores, (score) => Math.exp(score - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** How many multiplications a place costs. */
const costOf = (layers) => layers.reduce((total, { W }) => total + W.length, 0);

/** The predicted classes of points. */
function predictionsOf(layers, points) {
  const predicted = new Uint8Array(points.count);
  for (let i = 0; i < points.count; i++) {
    predicted[i] = largest(scoresAt(layers, points.x1[i], points.x2[i]));
  }
  return predicted;
}

/** The share of points that are classified right. */
function accuracyOf(layers, points) {
  const predicted = predictionsOf(layers, points);
  let right = 0;
  for (let i = 0; i < points.count; i++) if (predicted[i] === points.y[i]) right++;
  return right / points.count;
}

/**
 * A grid of n by n places from -limit to limit, row after row from the top, filled little by
 * little. best: the predicted class; lead: its score less the second's; margin: the same of the
 * probabilities.
 */
function newField(layers, n, limit) {
  const field = { layers, n, limit, rows: 0, best: new Uint8Array(n * n) };
  field.lead = new Float32Array(n * n);
  field.margin = new Float32Array(n * n);
  return field;
}

/** A function that gives the scores along a row of places; of two layers, x2's part only once. */
function scoresAlong(layers, x2) {
  if (layers.length !== 2) return (x1) => scoresAt(layers, x1, x2);
  const [{ W, b, units }, { W: W2, b: b2, units: classes, out }] = layers;
  const part = b.map((bias, h) => x2 * W[units + h] + bias);
  return (x1) => {
    out.set(b2);
    for (let h = 0; h < units; h++) {
      const hidden = x1 * W[h] + part[h];
      if (hidden > 0) for (let k = 0; k < classes; k++) out[k] += hidden * W2[h * classes + k];
    }
    return out;
  };
}

function fillRow(field) {
  const { n, layers, limit } = field;
  const row = field.rows++;
  const step = (2 * limit) / (n - 1);
  const scoresOf = scoresAlong(layers, limit - row * step);
  for (let column = 0, cell = row * n; column < n; column++, cell++) {
    const scores = scoresOf(column * step - limit);
    const best = largest(scores);
    let second = -Infinity;
    let sum = 0;
    for (let k = 0; k < scores.length; k++) {
      if (k !== best && scores[k] > second) second = scores[k];
      sum += Math.exp(scores[k] - scores[best]);
    }
    field.best[cell] = best;
    field.lead[cell] = scores[best] - second;
    field.margin[cell] = (1 - Math.exp(second - scores[best])) / sum;
  }
}

/** Fills a row, and more for at most so many milliseconds; returns whether the field is complete. */
function fillFor(field, milliseconds) {
  const end = performance.now() + milliseconds;
  do fillRow(field);
  while (field.rows < field.n && performance.now() < end);
  return field.rows === field.n;
}
