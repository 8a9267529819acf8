// The worker's side: it makes the data, trains one model after the other, and keeps snapshots, from
// which it can compute any iteration again.

const SLICE = 12; // milliseconds of work between two looks at the messages
const BATCH = 40; // milliseconds from one report to the next
const MOST_KEPT = 8_000_000; // numbers in the snapshots of a model: 64 MB
const SPACED = 200; // snapshots on a square-root scale of the iterations
const TEST_BATCH = 250; // test points at once, so that the hidden layer stays in the cache

// Return the iterations that are kept, in order: closer together at the start, where much happens,
// those of the pipeline's snapshots, the first and the last.
function snapshotIterations(iterations, weightCount = 0) {
  const kept = new Set(planSnapshots(iterations).keys());
  for (let i = 0; i <= SPACED; i++) kept.add(Math.round(iterations * (i / SPACED) * (i / SPACED)));
  const sorted = [...kept].sort((a, b) => a - b);
  const every = Math.ceil((sorted.length * weightCount) / MOST_KEPT);
  if (every <= 1) return sorted;
  return sorted.filter((iteration, i) => i % every === 0 || iteration === iterations);
}

// One model: its training, what is kept of it, and what the page has not been sent yet.
class Run {
  constructor(name, params, training, testAccuracy) {
    this.name = name;
    this.params = params;
    this.training = training;
    this.testAccuracy = testAccuracy; // of a name and weights; null before there is a test set
    this.permilles = planSnapshots(params.iterations);
    const iterations = snapshotIterations(params.iterations, countOf(training.model.weights));
    this.planned = new Set(iterations);
    this.kept = []; // { iteration, weights }, in order
    this.curve = [];
    this.snapshots = [];
    this.replay = null; // a second training of the same model, somewhere else
    this.record();
  }

  get isOver() {
    return this.training.diverged || this.training.iteration === this.params.iterations;
  }

  step() {
    this.training.step();
    this.record();
  }

  record() {
    const training = this.training;
    if (training.diverged) return;
    const { iteration } = training;
    if (training.isRecorded()) this.curve.push([iteration, training.loss, training.accuracyNow()]);
    if (!this.planned.has(iteration)) return;
    this.kept.push({ iteration, weights: copyWeights(training.model.weights) });
    this.snapshots.push(this.snapshot(training));
  }

  // Return the snapshot of a training where it is now.
  snapshot(training) {
    const { iteration, model } = training;
    return {
      name: this.name,
      iteration,
      permilles: this.permilles.get(iteration) ?? [],
      weights: copyWeights(model.weights),
      loss: training.lossNow(),
      accuracy: training.accuracyNow(),
      testAccuracy: this.testAccuracy(this.name, model.weights),
    };
  }

  // Move the replay towards an iteration until a time; return whether that is done. There is no
  // replay then if the training diverges before.
  seek(iteration, deadline) {
    const start = this.kept.findLast((kept) => kept.iteration <= iteration);
    if (start === undefined) return true;
    const reached = this.replay?.iteration;
    if (reached === undefined || reached > iteration || reached < start.iteration) {
      this.startReplay(start);
    }
    while (this.replay.iteration < iteration && !this.replay.diverged) {
      if (performance.now() > deadline) return false;
      this.replay.step();
    }
    if (this.replay.diverged) this.replay = null;
    return true;
  }

  startReplay({ iteration, weights }) {
    const model = new MODELS[this.name](copyWeights(weights));
    this.replay = new Training(this.name, model, this.training.points, this.params, iteration);
  }

  // Return what the page has not been sent yet.
  takeBatch() {
    const column = (i) => Float64Array.from(this.curve, (row) => row[i]);
    const curve = { iteration: column(0), loss: column(1), accuracy: column(2) };
    const snapshots = this.snapshots;
    this.curve = [];
    this.snapshots = [];
    const iteration = this.training.iteration;
    return { type: "batch", name: this.name, iteration, curve, snapshots };
  }
}

function countOf(weights) {
  return Object.values(weights).reduce((count, array) => count + array.length, 0);
}

// The training of both models with certain parameters.
class Session {
  constructor(params, post) {
    this.params = params;
    this.post = post;
    this.speed = Infinity;
    this.paused = false;
    this.seeks = [];
    this.testBatches = null;
  }

  begin() {
    const data = this.params.generate;
    const { points_per_class: count, classes, noise } = data;
    const { X, y } = makeSpirals(count, classes, noise, data.seed, data.skip_draws);
    this.post({ type: "data", X, y });
    const points = new Points(X, y);
    this.runs = Object.keys(MODELS).map((name) => {
      const section = this.params[`train_${name}`];
      const training = newTraining(name, points, classes, section);
      return new Run(name, section, training, (...model) => this.testAccuracy(...model));
    });
    for (const run of this.runs) this.post(run.takeBatch());
    this.makeTestSet();
    for (const run of this.runs) {
      if (!run.training.diverged) run.snapshots.push(run.snapshot(run.training));
    }
    this.waiting = [...this.runs];
    this.startPace();
    this.reported = performance.now();
  }

  makeTestSet() {
    const { classes, noise } = this.params.generate;
    const { seed, points_per_class: count } = this.params.evaluate;
    const { X, y } = makeSpirals(count, classes, noise, seed);
    this.post({ type: "test", X, y });
    this.testBatches = [];
    for (let n = 0; n < y.length; n += TEST_BATCH) {
      const end = Math.min(n + TEST_BATCH, y.length);
      this.testBatches.push(new Points(X.slice(2 * n, 2 * end), y.slice(n, end)));
    }
  }

  // Return the accuracy on the test set; null before there is one.
  testAccuracy(name, weights) {
    if (!this.testBatches) return null;
    const model = new MODELS[name](weights);
    const scores = new Float64Array(TEST_BATCH * model.classes);
    let right = 0;
    let points = 0;
    for (const batch of this.testBatches) {
      model.forward(batch, scores);
      right += countRight(scores, batch.y, model.classes);
      points += batch.count;
    }
    return right / points;
  }

  setSpeed(speed) {
    this.speed = speed;
    this.startPace();
  }

  pause() {
    this.paused = true;
  }

  resume() {
    this.paused = false;
    this.startPace();
  }

  // Count the iterations that the speed allows from now on.
  startPace() {
    this.paceStart = performance.now();
    this.paceSteps = 0;
  }

  // Ask for a snapshot; what was asked for before, of the same model, is given up.
  seek(asked) {
    const isOlder = (seek) => seek.name === asked.name;
    for (const seek of this.seeks.filter(isOlder)) this.answer(seek, null);
    this.seeks = [...this.seeks.filter((seek) => !isOlder(seek)), asked];
  }

  answer({ seek }, snapshot) {
    this.post({ type: "sought", seek, snapshot });
  }

  // Work for a while; return the milliseconds until there is more to do, or Infinity.
  work() {
    if (!this.runs) this.begin();
    const deadline = performance.now() + SLICE;
    if (this.seeks.length > 0) return this.workOnSeek(deadline);
    if (this.waiting.length === 0 || this.paused) return Infinity;
    return this.train(deadline);
  }

  workOnSeek(deadline) {
    const asked = this.seeks[0];
    const run = this.runs.find(({ name }) => name === asked.name);
    if (!run.seek(asked.iteration, deadline)) return 0;
    this.seeks.shift();
    this.answer(asked, run.replay === null ? null : run.snapshot(run.replay));
    return 0;
  }

  train(deadline) {
    const run = this.waiting[0];
    while (!run.isOver && performance.now() < deadline) {
      const allowed = ((performance.now() - this.paceStart) / 1000) * this.speed;
      if (this.paceSteps >= allowed) break;
      run.step();
      this.paceSteps += 1;
    }
    if (run.isOver) this.finish(run);
    else if (performance.now() - this.reported > BATCH) this.report(run);
    return this.speed === Infinity || run.isOver ? 0 : Math.min(1000 / this.speed, BATCH) / 2;
  }

  report(run) {
    this.post(run.takeBatch());
    this.reported = performance.now();
  }

  finish(run) {
    this.report(run);
    this.waiting.shift();
    const { training, name } = run;
    if (training.diverged) {
      this.post({ type: "diverged", name, iteration: training.iteration });
    } else {
      this.post({ type: "done", name, ...this.result(run) });
    }
    if (this.waiting.length === 0) this.post({ type: "finished" });
  }

  // Return the metrics and the weights, as evaluate and train write them.
  result({ training, name }) {
    const weights = copyWeights(training.model.weights);
    const text = weightsJson(weights);
    const metrics = {
      train_accuracy: training.accuracyNow(),
      train_loss: training.loss,
      test_accuracy: this.testAccuracy(name, weights),
    };
    return { metrics, weights, text, md5: md5(text) };
  }
}

// Answer the messages of the page, as the worker whose global scope this is.
function serve(scope) {
  let session = null;
  let isWoken = false;
  let timer = null;
  const wake = new MessageChannel(); // unlike a timer of 0 ms, a message comes at once
  wake.port1.onmessage = work;

  function schedule(pause) {
    clearTimeout(timer);
    if (pause > 0 && pause < Infinity) timer = setTimeout(work, pause);
    if (pause > 0 || isWoken) return;
    isWoken = true;
    wake.port2.postMessage(null);
  }

  function work() {
    isWoken = false;
    if (session === null) return;
    try {
      schedule(session.work());
    } catch (error) {
      session.post({ type: "failed", reason: String(error.message ?? error) });
      session = null;
    }
  }

  scope.onmessage = ({ data: { type, session: id, ...content } }) => {
    if (type === "start") {
      const post = (message) => scope.postMessage({ ...message, session: id });
      session = Object.assign(new Session(content.params, post), { id });
    }
    if (session === null || session.id !== id) return;
    if (type === "cancel") session = null;
    if (type === "pause") session.pause();
    if (type === "resume") session.resume();
    if (type === "speed") session.setSpeed(content.speed);
    if (type === "seek") session.seek(content);
    schedule(0);
  };
}
