/*
 * point.js: the panel that shows what backprop.js computes for the chosen point, beside each line of
 * src/spirals/models.py.
 */
const pointBox = find(".point-index");
const modelBox = find(".point-model");
const pointPanel = {}; // see isNew
const barsPanel = {};
const BARS = "bars: hidden units; grey: off";

/** What a line of models.py leaves behind for the chosen point, and how it is shown. */
const LINES = {
  "hidden = matmul(X, self.W)": (t) => strip(t.products, t.hidden),
  "hidden += self.b": (t) => strip(t.sums, t.hidden),
  "np.maximum(0, hidden, out=hidden)": (t) => strip(t.hidden, t.hidden, `${onOf(t)} on`),
  "scores = matmul(hidden, self.W2) + self.b2": (t, old) => perClass(t.scores, old?.scores),
  "scores = matmul(X, self.W) + self.b": (t, old) => perClass(t.scores, old?.scores),
  "dscores = softmax(scores)": (t, old) => perClass(t.probabilities, old?.probabilities),
  "dscores[np.arange(len(y)), y] -= 1": (t, old) => perClass(t.less, old?.less),
  "dscores /= len(y)": (t) => perClass(t.dscores),
  "dW2 = matmul(hidden.T, dscores)": (t) => rows(transposed(t.dW2), t.hidden),
  "db2 = sum_points(dscores)": (t) => perClass(t.dscores),
  "dhidden = matmul(dscores, self.W2.T)": (t) => strip(t.allowed, t.hidden),
  "dhidden *= hidden > 0": (t) => strip(t.dhidden, t.hidden, `${t.hidden.length - onOf(t)} zeros`),
  "dW = matmul(X.T, dhidden)": (t) => rows(t.dW, t.hidden, ["x\u2081", "x\u2082"]),
  "db = sum_points(dhidden)": (t) => strip(t.dhidden, t.hidden),
  "dW = matmul(X.T, dscores)": (t) => matrix(t.dW),
  "db = sum_points(dscores)": (t) => perClass(t.dscores),
};

const onOf = (t) => t.hidden.filter((value) => value > 0).length;
const transposed = (rows) => rows[0].map((_, k) => rows.map((row) => row[k]));

/** The code of a line without what differs from one way of writing the same to the next. */
const lineKey = (line) => line.replace(/weights\["(\w+)"\]/g, "self.$1").trim();

function choosePoint(index) {
  state.chosen = index;
  state.chosenByHand = true;
  state.place = null;
  forgetStep();
  openTab("tab-point");
  schedule();
}

/** The next misclassified point of the model whose code is shown, after the chosen one; or null. */
function nextWrong() {
  const view = viewOf(modelBox.value);
  const { y, count } = sets.training;
  if (!view?.predicted) return null;
  const from = state.chosen ?? -1;
  for (let i = 1; i <= count; i++) {
    const index = (from + i) % count;
    if (view.predicted[index] !== y[index]) return index;
  }
  return null;
}

/** The point with the largest loss at the end; not near the origin, where all is near zero. */
function worstPoint() {
  const { x1, x2, y, count } = sets.training;
  const model = models.at(-1);
  const { layers } = model.recorded.snapshots.at(-1);
  let worst = null;
  let least = Infinity;
  for (let i = 0; i < count; i++) {
    if (Math.hypot(x1[i], x2[i]) < 0.15 * sets.limit) continue;
    const p = probabilitiesOf(scoresAt(layers, x1[i], x2[i]))[y[i]];
    if (p < least) [worst, least] = [i, p];
  }
  return worst;
}

function showPoint() {
  const view = modelBox && viewOf(modelBox.value);
  if (!view?.snapshot || find("#panel-point").hidden) return;
  const known = [view.snapshot, state.chosen, state.before, sets.training, theme()];
  if (!isNew(pointPanel, known)) return;
  if (state.chosen === null || state.chosen >= sets.training.count) {
    find(".summary").textContent = "Click a point to see what the network computes for it.";
    findAll(".value").forEach((slot) => slot.replaceChildren());
    return;
  }
  const values = valuesOf(view.snapshot);
  const old = oldValues(view);
  if (document.activeElement !== pointBox) pointBox.value = state.chosen;
  find(".summary").replaceChildren(...summary(values, old));
  const code = find(`.code[data-model="${view.model.name}"]`);
  code.querySelectorAll(".value").forEach((slot) => {
    const show = LINES[lineKey(slot.dataset.line)];
    slot.replaceChildren(...(show ? [show(values, old)].flat() : []));
  });
  pointPanel.values = values;
}

/** The bars, and in words the one that is pointed at. */
function showBars() {
  const { values } = pointPanel;
  if (!values?.deep || find("#panel-point").hidden) return;
  if (!isNew(barsPanel, [values, state.bar])) return;
  drawStrips(find("#panel-point"));
  find(".bars").textContent = state.bar === null ? BARS : barInWords(values.hidden, state.bar);
}

function barInWords(hidden, index) {
  if (index >= hidden.length) return BARS; // the network has become smaller
  const value = hidden[index];
  return `hidden unit ${index}: ${value > 0 ? `on, ${signed(value)}` : "off"}`;
}

/** Everything that is computed for the chosen point with the weights of a snapshot. */
function valuesOf(snapshot) {
  const { x1, x2, y } = sets.training;
  const i = state.chosen;
  return { ...throughAndBack(snapshot.weights, x1[i], x2[i], y[i], sets.total), y: y[i] };
}

/** The same from before the last step, or null. */
function oldValues(view) {
  const before = state.before?.snapshots[view.model.name];
  return before && before.iteration !== view.snapshot.iteration ? valuesOf(before) : null;
}

function summary(values, old) {
  const { y, x, loss, probabilities } = values;
  const colors = theme();
  const swatch = element("i", "swatch");
  swatch.style.background = colors.classes[y];
  const predicted = largest(probabilities);
  const right = predicted === y;
  const was = old ? element("span", "was", `${rounded(old.loss)} \u2192 `) : "";
  return [
    element(
      "span",
      "",
      `(${decimals(x[0])}, ${decimals(x[1])}) of `,
      swatch,
      ` class ${y}, predicted ${predicted} `,
    ),
    element("b", right ? "right" : "wrong", right ? "right" : "misclassified"),
    element(
      "span",
      "loss-of-point",
      element("span", "", "loss \u2212log p = ", was, element("b", "", rounded(loss))),
      element("span", "bars"),
    ),
  ];
}

pointBox?.addEventListener("change", () => {
  const index = pointBox.value === "" ? NaN : Number(pointBox.value);
  if (Number.isInteger(index) && index >= 0 && index < sets.training.count) choosePoint(index);
});
find(".next-wrong")?.addEventListener("click", () => {
  const index = nextWrong();
  if (index !== null) choosePoint(index);
});
modelBox?.addEventListener("change", () => {
  findAll(".code").forEach((code) => (code.hidden = code.dataset.model !== modelBox.value));
  pointPanel.dependencies = null;
  schedule();
});

/* A bar is a hidden unit: while it is pointed at, the picture shows where that unit is on */

/** The index of the hidden unit whose bar is under the pointer, or null. */
function barAt(event) {
  const canvas = event.target.closest("canvas.strip");
  if (!canvas) return null;
  const { length } = canvas.strip.hidden;
  const index = Math.floor((length * event.offsetX) / canvas.clientWidth);
  return Math.min(length - 1, Math.max(0, index));
}

function pointAtBar(index) {
  if (state.bar === index) return;
  state.bar = index;
  schedule();
}

findAll(".code").forEach((code) => {
  code.addEventListener("pointermove", (event) => pointAtBar(barAt(event)));
  code.addEventListener("pointerleave", () => pointAtBar(null));
  code.addEventListener("click", (event) => {
    const index = barAt(event);
    const line = index === null ? null : lineOf(viewOf(modelBox.value).lines, index);
    pointAtBar(null);
    if (line) chooseLine(line);
  });
});
afterDrawing.push(showPoint, showBars);
