/*
 * training.js: trains the models in the page, by the engine. It runs ahead of what is shown, in a
 * worker; its snapshots go into the history as they come. The first training is the recorded one
 * again: what is on the screen stays, and at the end the two files are compared.
 */
const SOONEST = 120; // milliseconds from one start to the next, while a slider is dragged
const EXACT_AFTER = 40; // milliseconds of rest, until the very iteration is computed
const MOST_CURVE_POINTS = 4000; // points of a curve, before every second pair is left out
const engineRun = { training: null, count: 0, began: -Infinity, waiting: 0, seeking: 0 };

/** Begins to train with the parameters on the screen; while a slider moves, not too often. */
function startTraining() {
  const atEnd = state.head >= lastIteration();
  endTraining();
  forgetStep();
  for (const model of models) restart(model);
  models.forEach(showDigest);
  if (atEnd || state.head > lastIteration()) state.head = lastIteration();
  if (ticksUpTo !== lastIteration()) drawTicks();
  showHead();
  schedule();
  clearTimeout(engineRun.waiting);
  const wait = Math.max(0, engineRun.began + SOONEST - performance.now());
  if (wait === 0) beginTraining();
  else engineRun.waiting = setTimeout(beginTraining, wait);
}

/** What the training that runs has still to say is about other parameters: it is heard no more. */
function endTraining() {
  engineRun.count++;
  engineRun.training?.cancel();
  engineRun.training = null;
}

/** What is known of a model, when its training begins: nothing, or what was recorded. */
function restart(model) {
  forget(model, state.params[model.section].iterations);
  model.sameAsRecorded = ["generate", model.section].every((name) => affectedBy(name).length === 0);
  if (model.sameAsRecorded) takeRecorded(model);
}

function takeRecorded(model) {
  const { curve, iterations } = model.recorded;
  const sameTest = affectedBy("evaluate").length === 0;
  const snapshots = model.recorded.snapshots.map((snapshot) =>
    sameTest ? snapshot : { ...snapshot, test: null },
  );
  Object.assign(model, { snapshots, curve, front: iterations });
}

/** The parameters of a section that differ from params.yaml. */
const affectedBy = (name) => changed().filter(([key]) => key.startsWith(`${name}.`));

function beginTraining() {
  clearTimeout(engineRun.waiting);
  engineRun.began = performance.now();
  engineRun.count++;
  const { count } = engineRun;
  engineRun.training = Engine.start(state.params, (message) => {
    if (count === engineRun.count) HEAR[message.type]?.(message);
  });
  models.forEach(showDigest);
}

const HEAR = {
  data({ X, y }) {
    if (samePoints(X, y)) return;
    const points = newPoints(X, y, state.params.generate.classes);
    sets.total = points.count;
    sets.training = Object.assign(points, { drawn: drawnOf(points) });
    sets.limit = halfWidth(points);
    if (state.chosen >= points.count) state.chosen = points.count - 1;
    sets.test = null;
    views.forEach((view) => Object.assign(view, { predicted: null }));
    redraw();
  },
  test({ X, y }) {
    sets.test = newPoints(X, y, state.params.generate.classes);
    views.forEach(showTestAccuracy);
    schedule();
  },
  batch({ name, iteration, curve, snapshots }) {
    const model = modelOf(name);
    if (!model) return;
    model.trained = iteration;
    snapshots.forEach((snapshot) => take(model, snapshot));
    if (!model.sameAsRecorded) {
      model.front = iteration;
      addToCurve(model.curve, curve);
    }
    showDigest(model);
    schedule();
    wantExact();
  },
  done({ name, metrics, text, md5 }) {
    const model = modelOf(name);
    if (!model) return;
    Object.assign(model, {
      final: { metrics, text, md5 },
      front: model.iterations,
      trained: model.iterations,
    });
    showDigest(model);
    schedule();
  },
  diverged({ name, iteration }) {
    const model = modelOf(name);
    if (!model) return;
    model.diverged = Math.max(0, iteration - 1);
    model.front = model.diverged;
    model.lostAt = iteration;
    state.head = Math.min(state.head, lastIteration());
    showDigest(model);
    showHead();
    schedule();
  },
  failed({ reason }) {
    tellRefusal(reason);
  },
};

/** Whether the training set is the one that is on the screen. */
function samePoints(X, y) {
  const { training } = sets;
  const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);
  return same(X, training.X) && same(y, training.y);
}

function take(model, { iteration, weights, loss, accuracy, testAccuracy }) {
  const layers = layersOf(weights);
  keep(model, { iteration, weights, loss, accuracy, test: testAccuracy, layers });
}

function addToCurve(curve, { iteration, loss }) {
  for (let i = 0; i < iteration.length; i++) {
    curve.iteration.push(iteration[i]);
    curve.loss.push(loss[i]);
  }
  while (curve.loss.length > MOST_CURVE_POINTS) {
    const kept = (_, i) => i % 4 < 2;
    curve.iteration = curve.iteration.filter(kept);
    curve.loss = curve.loss.filter(kept);
  }
}

/** Asks for the very iteration that is wanted, where it lies between two snapshots. */
function wantExact() {
  if (!engineRun.training) return;
  clearTimeout(engineRun.seeking);
  engineRun.seeking = setTimeout(() => models.forEach(seek), EXACT_AFTER);
}

async function seek(model) {
  const wanted = wantedOf(model);
  const { count } = engineRun;
  if (!engineRun.training || model.front < wanted) return;
  if (nearest(model, wanted)?.iteration === wanted) return;
  const snapshot = await engineRun.training.seek(model.name, wanted);
  if (snapshot === null || count !== engineRun.count) return; // something else was wanted meanwhile
  take(model, snapshot);
  schedule();
}

/* The files that the page writes, and whether they are those of the pipeline */

function showDigest(model) {
  const row = find(`.digests [data-model="${model.name}"]`);
  if (!row) return;
  const [code, verdict, link] = [".md5", ".verdict", ".save"].map((part) =>
    row.querySelector(part),
  );
  const { final } = model;
  const kind = final === null ? "" : kindOfDigest(model);
  setText(code, final?.md5 ?? "\u00b7".repeat(32));
  verdict.className = `verdict ${kind}`;
  setText(verdict, final === null ? progressOf(model) : VERDICTS[kind]);
  if (link.href) URL.revokeObjectURL(link.href);
  link.hidden = final === null;
  if (final) link.href = URL.createObjectURL(new Blob([final.text], { type: "application/json" }));
}

const VERDICTS = {
  same: "\u2713 the same as in dvc.lock",
  other: "\u2717 not the one in dvc.lock",
  changed: "as dvc exp run writes it",
};

function kindOfDigest(model) {
  if (!model.sameAsRecorded) return "changed";
  return model.final.md5 === model.md5 ? "same" : "other";
}

function progressOf(model) {
  if (model.diverged !== null) return "diverged";
  return `training in this page: ${Math.floor((100 * model.trained) / model.iterations)}%`;
}
