/*
 * history.js: a record for each model: the snapshots of its training, in the order of their
 * iterations, and its curve. At first these are the ones that the pipeline recorded.
 */
/** The suffixes of W and b for so many layers: none, 2, 3 and so on. */
const weightSuffixes = (layers) => Array.from({ length: layers }, (_, l) => (l ? l + 1 : ""));

/** The recorded weights of a snapshot, out of the one array that holds those of all. */
function recordedWeights(all, sizes, index) {
  const weights = {};
  const counts = sizes.slice(1).map((units, l) => (sizes[l] + 1) * units);
  let start = index * counts.reduce((total, count) => total + count, 0);
  weightSuffixes(counts.length).forEach((suffix, l) => {
    const matrix = sizes[l] * sizes[l + 1];
    weights[`W${suffix}`] = all.subarray(start, start + matrix);
    weights[`b${suffix}`] = all.subarray(start + matrix, start + counts[l]);
    start += counts[l];
  });
  return weights;
}

function newModel(model) {
  const all = doubles(model.weights);
  const { metrics } = model;
  const snapshots = model.snapshots.map((snapshot, i) => {
    const weights = recordedWeights(all, model.sizes, i);
    return { ...snapshot, weights, layers: layersOf(weights), test: null };
  });
  const last = snapshots[snapshots.length - 1];
  if (metrics) last.test = metrics.test_accuracy;
  const curve = {
    iteration: [...wholes(model.curve.iteration)],
    loss: [...doubles(model.curve.loss)],
  };
  return {
    name: model.name,
    title: model.title,
    short: model.short,
    section: `train_${model.name}`,
    md5: model.md5,
    iterations: last.iteration,
    recorded: { snapshots, curve, iterations: last.iteration },
    snapshots: [...snapshots],
    curve,
    front: last.iteration, // how far the training has come
    diverged: null, // the last iteration before the loss was not finite
    lostAt: null, // that iteration
    sameAsRecorded: true, // whether what is on the screen has the recorded parameters
    trained: 0, // the iteration that the training in the page has reached
    final: null, // {metrics, md5, text}, the last two of weights.json, once the page has trained
  };
}

const models = given.models.map(newModel);
const modelOf = (name) => models.find((model) => model.name === name);
const lastIteration = () => Math.max(...models.map((model) => model.diverged ?? model.iterations));

/** Puts the model back to its first iteration: nothing is known about the training that begins. */
function forget(model, iterations) {
  const empty = { snapshots: [], curve: { iteration: [], loss: [] }, front: 0, trained: 0 };
  Object.assign(model, empty, { iterations, diverged: null, final: null });
}

/** Where a snapshot of this iteration is, or belongs. */
function placeOf(snapshots, iteration) {
  let low = 0;
  let high = snapshots.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (snapshots[middle].iteration < iteration) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Keeps a snapshot {iteration, weights, layers, loss, accuracy, test}. */
function keep(model, snapshot) {
  const { snapshots } = model;
  const index = placeOf(snapshots, snapshot.iteration);
  const same = snapshots[index]?.iteration === snapshot.iteration;
  snapshots.splice(index, same ? 1 : 0, snapshot);
}

/** The iteration that a model should show: the one that is wanted, as far as it has come. */
const wantedOf = (model) => Math.min(state.head, model.diverged ?? model.iterations);

/** The snapshot nearest to an iteration, or undefined while there is none. */
function nearest(model, iteration) {
  const { snapshots } = model;
  const after = placeOf(snapshots, iteration);
  const [before, next] = [snapshots[after - 1], snapshots[after]];
  if (!before || !next) return before ?? next;
  return iteration - before.iteration <= next.iteration - iteration ? before : next;
}
