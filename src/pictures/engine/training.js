// Full-batch gradient descent. The second form of src/spirals/training.py.

// When the pipeline takes a snapshot, in thousandths of the training.
const SNAPSHOT_PERMILLES = [
  ...range(0, 10, 1),
  ...range(10, 60, 2),
  ...range(60, 100, 5),
  ...range(100, 150, 10),
  ...[150, 200, 250, 300, 400, 500, 600, 800, 1000],
];

function range(start, end, step) {
  return Array.from({ length: (end - start) / step }, (_, i) => start + i * step);
}

// The training of one model: `iteration`, and the weights and scores before its update.
class Training {
  constructor(name, model, points, params, iteration = 0) {
    this.name = name;
    this.model = model;
    this.points = points;
    this.params = params;
    this.iteration = iteration;
    this.scores = new Float64Array(points.count * model.classes);
    this.forward();
  }

  // Take one step of gradient descent.
  step() {
    this.model.step(this.points, this.scores, this.params);
    this.iteration += 1;
    this.forward();
  }

  forward() {
    this.model.forward(this.points, this.scores);
    this.diverged = !isFinite(this.scores);
    if (this.diverged || !this.isRecorded()) return;
    this.loss = this.lossNow();
    this.diverged = !Number.isFinite(this.loss);
  }

  // Return whether the curve has a point at this iteration.
  isRecorded() {
    const { record_every: every, iterations } = this.params;
    return this.iteration % every === 0 || this.iteration === iterations;
  }

  lossNow() {
    return this.model.loss(this.scores, this.points.y, this.params.l2);
  }

  accuracyNow() {
    return accuracy(this.scores, this.points.y, this.model.classes);
  }
}

function isFinite(array) {
  for (let i = 0; i < array.length; i++) if (!Number.isFinite(array[i])) return false;
  return true;
}

// Return the training of a model from its beginning.
function newTraining(name, points, classes, params) {
  return new Training(name, MODELS[name].initialize(classes, params), points, params);
}

// Return a map from the iterations of the pipeline's snapshots to their permilles.
function planSnapshots(iterations) {
  const planned = new Map();
  for (const permille of SNAPSHOT_PERMILLES) {
    const iteration = Math.floor((permille * iterations) / 1000);
    planned.set(iteration, [...(planned.get(iteration) ?? []), permille]);
  }
  return planned;
}
