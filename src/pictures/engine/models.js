// The classifiers: forward pass, loss, and backpropagation. The second form of
// src/spirals/models.py.
//
// Shapes: N points, D = 2 coordinates, H hidden units, K classes. Arrays lie row by row. Sums are
// taken for three classes at once (TripleSums), so what has K columns is also kept as groups of
// three columns: [groups, rows, 3]. Columns that fill the last group are products of -0 and 0,
// because x + -0 is x.

// Points X [N, 2] with their classes y [N], and the layouts that the sums want.
class Points {
  constructor(X, y) {
    this.X = X;
    this.y = y;
    this.count = y.length;
    this.columns = [new Float64Array(this.count), new Float64Array(this.count)];
    this.triples = new Float64Array(3 * this.count).fill(1); // x1, x2, 1
    for (let n = 0; n < this.count; n++) {
      for (let d = 0; d < 2; d++) {
        this.columns[d][n] = X[2 * n + d];
        this.triples[3 * n + d] = X[2 * n + d];
      }
    }
  }
}

// What both models share. `weights` holds the arrays by name, in the order of the layers.
class Classifier {
  constructor(weights, classes) {
    this.weights = weights;
    this.classes = classes;
    this.gradients = copyWeights(weights);
  }

  // Take one step of gradient descent; the scores are those of the last `forward`.
  step(points, scores, params) {
    this.prepare(points.count);
    scoreGradient(scores, points.y, this.classes, this.dscores);
    packColumns(this.dscores, points.count, this.classes, this.dscoreTriples);
    this.backward(points);
    this.update(params.learning_rate, params.l2);
  }

  // Allocate what `backward` needs for so many points.
  prepare(count) {
    if (this.dscores?.length === count * this.classes) return;
    const groups = Math.ceil(this.classes / 3);
    this.dscores = new Float64Array(count * this.classes);
    this.dscoreTriples = new Float64Array(3 * groups * count).fill(-0);
    this.pointSums = new TripleSums(count);
    this.column = new Float64Array(count);
  }

  // Set db to the sum of dscores over the points, one point after another.
  sumDscores(db) {
    db.fill(0);
    for (let i = 0; i < this.dscores.length; i += this.classes) {
      for (let k = 0; k < this.classes; k++) db[k] += this.dscores[i + k];
    }
  }

  // Set a row of gradient, of K columns, to the sums over the points of values times dscores.
  sumPoints(gradient, row, values, first, count) {
    const zero = count > SHORT_SUM ? 0 : -0; // NumPy's sum along an axis begins with 0
    const sums = this.sums;
    for (let k = 0; k < this.classes; k += 3) {
      this.pointSums.set(sums, 0, values, first, this.dscoreTriples, k * count);
      const columns = Math.min(3, this.classes - k);
      for (let i = 0; i < columns; i++) gradient[row * this.classes + k + i] = sums[i] + zero;
    }
  }

  sums = new Float64Array(3);

  // Add the gradient of the regularization, l2 W, and take the step.
  update(learningRate, l2) {
    for (const name in this.weights) {
      const weight = this.weights[name];
      const gradient = this.gradients[name];
      const isMatrix = name.startsWith("W");
      for (let i = 0; i < weight.length; i++) {
        if (isMatrix) gradient[i] += l2 * weight[i];
        weight[i] += -learningRate * gradient[i];
      }
    }
  }

  // Return the loss: cross-entropy and regularization.
  loss(scores, y, l2) {
    let regLoss = 0;
    for (const name in this.weights) {
      if (!name.startsWith("W")) continue;
      regLoss += 0.5 * l2 * pairwiseSum(this.weights[name].map((weight) => weight * weight));
    }
    return crossEntropy(scores, y, this.classes) + regLoss;
  }
}

// Softmax classifier with linear scores.
class Linear extends Classifier {
  static title = "Linear softmax classifier";

  static weightCount(classes) {
    return 3 * classes;
  }

  static initialize(classes, params) {
    const stream = new NormalStream(params.seed, params.skip_draws);
    const W = stream.randn(2 * classes).map((draw) => params.weight_scale * draw);
    return new Linear({ W, b: new Float64Array(classes) });
  }

  constructor(weights) {
    super(weights, weights.b.length);
  }

  // Set the scores [N, K] of points.
  forward(points, scores) {
    const K = this.classes;
    const { W, b } = this.weights;
    for (let n = 0; n < points.count; n++) {
      const x1 = points.X[2 * n];
      const x2 = points.X[2 * n + 1];
      for (let k = 0; k < K; k++) scores[n * K + k] = x1 * W[k] + x2 * W[K + k] + b[k];
    }
  }

  backward(points) {
    const { W: dW, b: db } = this.gradients;
    this.sumDscores(db);
    for (let d = 0; d < 2; d++) this.sumPoints(dW, d, points.columns[d], 0, points.count);
  }
}

// Two-layer network: a hidden layer of ReLU units.
class MLP extends Classifier {
  static title = "Two-layer network";

  static weightCount(classes, params) {
    return 3 * params.hidden_units + (params.hidden_units + 1) * classes;
  }

  static initialize(classes, params) {
    const H = params.hidden_units;
    const stream = new NormalStream(params.seed, params.skip_draws);
    const W = stream.randn(2 * H).map((draw) => params.weight_scale * draw);
    const W2 = stream.randn(H * classes).map((draw) => params.weight_scale * draw);
    return new MLP({ W, b: new Float64Array(H), W2, b2: new Float64Array(classes) });
  }

  constructor(weights) {
    super(weights, weights.b2.length);
    const H = weights.b.length;
    this.units = H;
    this.unitSums = new TripleSums(H);
    this.outputTriples = new Float64Array(3 * Math.ceil(this.classes / 3) * H); // of W2
    this.row = new Float64Array(H);
    this.hidden = new Float64Array(0);
    if (this.classes <= 3) return;
    this.classSums = new TripleSums(this.classes);
    const groups = Math.ceil(H / 3);
    this.unitTriples = new Float64Array(3 * groups * this.classes); // of the transposed W2
  }

  // Set the scores [N, K] of points; the hidden layer is kept for `backward`, [H, N].
  forward(points, scores) {
    const K = this.classes;
    const H = this.units;
    const b2 = this.weights.b2;
    const sums = this.sums;
    if (this.hidden.length < H * points.count) this.hidden = new Float64Array(H * points.count);
    packColumns(this.weights.W2, H, K, this.outputTriples);
    for (let n = 0; n < points.count; n++) {
      this.hiddenRow(points, n);
      for (let k = 0; k < K; k += 3) {
        this.unitSums.set(sums, 0, this.row, 0, this.outputTriples, k * H);
        const columns = Math.min(3, K - k);
        for (let i = 0; i < columns; i++) scores[n * K + k + i] = sums[i] + b2[k + i];
      }
    }
  }

  // Compute the hidden layer of point n.
  hiddenRow(points, n) {
    const { W, b } = this.weights;
    const { row, hidden, units } = this;
    const x1 = points.X[2 * n];
    const x2 = points.X[2 * n + 1];
    for (let h = 0, index = n; h < units; h++, index += points.count) {
      const sum = x1 * W[h] + x2 * W[units + h] + b[h];
      const value = relu(sum);
      row[h] = value;
      hidden[index] = value;
    }
  }

  backward(points) {
    const N = points.count;
    const H = this.units;
    const { W: dW, b: db, W2: dW2, b2: db2 } = this.gradients;
    const sums = this.sums;
    const zero = N > SHORT_SUM ? 0 : -0; // NumPy's sum along an axis begins with 0
    this.sumDscores(db2);
    if (this.classes > 3) {
      const rows = transposed(this.weights.W2, H, this.classes);
      packColumns(rows, this.classes, H, this.unitTriples);
    }
    for (let h = 0; h < H; h++) {
      db[h] = this.hiddenGradient(h, N);
      this.pointSums.set(sums, 0, this.column, 0, points.triples, 0);
      dW[h] = sums[0] + zero;
      dW[H + h] = sums[1] + zero;
      if (H === 1) db[h] = sums[2] + 0; // NumPy takes the sum of a single column pairwise
      this.sumPoints(dW2, h, this.hidden, h * N, N);
    }
  }

  // Set `column` to dhidden [N] of unit h; return its sum, one point after another.
  hiddenGradient(h, N) {
    const { column, hidden, dscoreTriples } = this;
    if (this.classes > 3) return this.hiddenGradientOfMany(h, N);
    const w0 = this.outputTriples[3 * h];
    const w1 = this.outputTriples[3 * h + 1];
    const w2 = this.outputTriples[3 * h + 2];
    let sum = 0;
    for (let n = 0, t = 0, index = h * N; n < N; n++, t += 3, index++) {
      const d = dscoreTriples[t] * w0 + dscoreTriples[t + 1] * w1 + dscoreTriples[t + 2] * w2;
      const masked = d * reluGradient(hidden[index]);
      column[n] = masked;
      sum += masked;
    }
    return sum;
  }

  hiddenGradientOfMany(h, N) {
    const K = this.classes;
    const group = h - (h % 3);
    const zero = K > SHORT_SUM && N < this.units ? 0 : -0; // as `matmul` lays it out
    let sum = 0;
    for (let n = 0; n < N; n++) {
      this.classSums.set(this.sums, 0, this.dscores, n * K, this.unitTriples, group * K);
      const masked = (this.sums[h - group] + zero) * reluGradient(this.hidden[h * N + n]);
      this.column[n] = masked;
      sum += masked;
    }
    return sum;
  }
}

const MODELS = { linear: Linear, mlp: MLP }; // as params.yaml names them

function relu(x) {
  return x <= 0 ? 0 : x;
}

// Return the ReLU's gradient: 1 for a unit that is on, 0 for one that is off.
function reluGradient(hidden) {
  return hidden > 0 ? 1 : 0;
}

function copyWeights(weights) {
  return Object.fromEntries(Object.entries(weights).map(([name, array]) => [name, array.slice()]));
}

// Copy a matrix [rows, columns] into groups of three columns, [groups, rows, 3].
function packColumns(matrix, rows, columns, triples) {
  for (let k = 0; k < columns; k++) {
    let index = 3 * rows * Math.floor(k / 3) + (k % 3);
    for (let m = 0; m < rows; m++, index += 3) triples[index] = matrix[m * columns + k];
  }
}

function transposed(matrix, rows, columns) {
  return matrix.map((_, i) => matrix[(i % rows) * columns + Math.floor(i / rows)]);
}

// Set dscores [N, K] to the gradient of the data loss on the scores: (p_k - 1(y = k)) / N.
function scoreGradient(scores, y, classes, dscores) {
  const N = y.length;
  for (let n = 0; n < N; n++) {
    const row = n * classes;
    const total = expRow(scores, row, classes, dscores);
    for (let k = 0; k < classes; k++) {
      const p = dscores[row + k] / total;
      dscores[row + k] = (p - (y[n] === k ? 1 : 0)) / N;
    }
  }
}

// Set a row of exps to e**(score - the largest of the row); return their sum, class after class.
function expRow(scores, row, classes, exps) {
  const top = highest(scores, row, classes);
  let total = 0;
  for (let k = 0; k < classes; k++) {
    const value = exp(scores[row + k] - top);
    exps[row + k] = value;
    total += value;
  }
  return total;
}

function highest(scores, row, classes) {
  let top = scores[row];
  for (let k = 1; k < classes; k++) if (scores[row + k] > top) top = scores[row + k];
  return top;
}

// Return the data loss: the average of -log p(y) over the points.
function crossEntropy(scores, y, classes) {
  const exps = new Float64Array(scores.length);
  const logprobs = new Float64Array(y.length);
  for (let n = 0; n < y.length; n++) {
    const row = n * classes;
    const total = expRow(scores, row, classes, exps);
    logprobs[n] = scores[row + y[n]] - highest(scores, row, classes) - log(total);
  }
  return -pairwiseSum(logprobs) / y.length;
}

// Return the share of points whose highest score is that of their class.
function accuracy(scores, y, classes) {
  return countRight(scores, y, classes) / y.length;
}

function countRight(scores, y, classes) {
  let right = 0;
  for (let n = 0; n < y.length; n++) {
    if (predicted(scores, n * classes, classes) === y[n]) right += 1;
  }
  return right;
}

// Return the class with the highest score of a row, the first of several.
function predicted(scores, row, classes) {
  let best = 0;
  for (let k = 1; k < classes; k++) if (scores[row + k] > scores[row + best]) best = k;
  return best;
}
