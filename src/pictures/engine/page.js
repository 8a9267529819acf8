// The page's side: start a training in the worker and receive its messages; compute one point's
// values and scores without the worker.

let worker = null;
let lastSession = 0;
let current = null; // the training whose messages are received

// Train with these parameters, sections of params.yaml by name; cancel the training before.
// The listener gets the messages of `Session`.
function start(params, listener) {
  const reason = whyTooLarge(params);
  if (reason !== null) throw new RangeError(reason);
  current?.cancel();
  current = new RemoteTraining(params, listener);
  return current;
}

// A training in the worker.
class RemoteTraining {
  constructor(params, listener) {
    lastSession += 1;
    this.session = lastSession;
    this.listener = listener;
    this.seeks = new Map(); // what waits for an answer, by number
    this.lastSeek = 0;
    worker ??= newWorker();
    this.send("start", { params });
  }

  send(type, content = {}) {
    worker.postMessage({ type, session: this.session, ...content });
  }

  hear(message) {
    if (message.type !== "sought") this.listener(message);
    else this.endSeek(message.seek, message.snapshot);
  }

  // Pause the training; `seek` still answers.
  pause() {
    this.send("pause");
  }

  resume() {
    this.send("resume");
  }

  // Set the speed, iterations per second; Infinity for as fast as it can.
  setSpeed(speed) {
    this.send("speed", { speed });
  }

  // Return a promise of the snapshot of a model at an iteration. It is null if the training
  // diverges before, if it is cancelled, or if another iteration is asked for meanwhile.
  seek(name, iteration) {
    if (current !== this) return Promise.resolve(null);
    this.lastSeek += 1;
    this.send("seek", { seek: this.lastSeek, name, iteration });
    return new Promise((resolve) => this.seeks.set(this.lastSeek, resolve));
  }

  endSeek(seek, snapshot) {
    this.seeks.get(seek)(snapshot);
    this.seeks.delete(seek);
  }

  cancel() {
    if (current !== this) return;
    this.send("cancel");
    current = null;
    for (const seek of this.seeks.keys()) this.endSeek(seek, null);
  }
}

// Return a worker made of this text, because a page that is opened from a disk may load no other.
function newWorker() {
  const text = `(${makeEngine})().serve(self);`;
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const started = new Worker(address);
  started.onmessage = ({ data: { session, ...message } }) => {
    if (current?.session === session) current.hear(message);
  };
  started.onerror = (event) => current?.hear({ type: "failed", reason: event.message });
  return started;
}

// Return what one point makes of a model, forward and back, as it does among `count` points: the
// numbers of `forward` and `backward`, and what the point adds to the gradients.
function onePoint(name, weights, x1, x2, label, count) {
  const points = new Points(Float64Array.of(x1, x2), Int32Array.of(label));
  const model = new MODELS[name](weights);
  const scores = new Float64Array(model.classes);
  model.forward(points, scores);
  const probabilities = new Float64Array(model.classes);
  const total = expRow(scores, 0, model.classes, probabilities);
  for (let k = 0; k < model.classes; k++) probabilities[k] /= total;
  const loss = crossEntropy(scores, points.y, model.classes);
  const dscores = probabilities.map((p, k) => (p - (k === label ? 1 : 0)) / count);
  model.prepare(1);
  model.dscores.set(dscores);
  packColumns(dscores, 1, model.classes, model.dscoreTriples);
  model.backward(points);
  const values = { scores, probabilities, loss, dscores, gradients: model.gradients };
  return name === "linear" ? values : { ...hiddenValues(model, points), ...values };
}

function hiddenValues(model, points) {
  const { W, b } = model.weights;
  const H = model.units;
  const [x1, x2] = points.X;
  const sums = b.map((bias, h) => x1 * W[h] + x2 * W[H + h] + bias);
  const dhidden = b.map((_, h) => {
    model.hiddenGradient(h, 1);
    return model.column[0];
  });
  return { sums, hidden: model.hidden.slice(0, H), dhidden };
}

// Return the scores [N, K] of points X [N, 2].
function scoresOf(name, weights, X) {
  const model = new MODELS[name](weights);
  const points = new Points(X, new Int32Array(X.length / 2));
  const scores = new Float64Array(points.count * model.classes);
  model.forward(points, scores);
  return scores;
}

// Return the class probabilities [N, K] of scores [N, K].
function probabilitiesOf(scores, classes) {
  const probabilities = new Float64Array(scores.length);
  for (let row = 0; row < scores.length; row += classes) {
    const total = expRow(scores, row, classes, probabilities);
    for (let k = 0; k < classes; k++) probabilities[row + k] /= total;
  }
  return probabilities;
}
