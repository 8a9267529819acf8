/*
 * main.js: starts the page. It listens to the pointer, the keys and the switches, draws the first
 * picture, draws again when the window changes, and offers `explorer` to the console.
 */
const NEAR_POINT = 13; // CSS pixels from a point to a click that means it
const NEAR_LINE = 7;
const FIRST_PICTURE = 300; // milliseconds, before the training in the page begins
const SPEAK_AFTER = 700; // milliseconds without a key, until a reading is spoken
const spoken = find(".spoken");

/* The place that is read: one for all models */

function pointAt(x1, x2) {
  const within = (value) => Math.min(sets.limit, Math.max(-sets.limit, value));
  state.place = { x1: within(x1), x2: within(x2) };
  schedule();
}

/** The training point nearest to a place, if it is nearer than `near`; or null. */
function pointNear(x1, x2, near) {
  let found = null;
  let least = near;
  for (const i of sets.training.drawn) {
    const distance = Math.hypot(sets.training.x1[i] - x1, sets.training.x2[i] - x2);
    if (distance < least) [found, least] = [i, distance];
  }
  return found;
}

/** A click: a point, else a line, else a place to read. */
function choose(view, x1, x2, scale) {
  const index = pointNear(x1, x2, NEAR_POINT / scale);
  const line = state.units ? lineNear(view.lines, x1, x2, NEAR_LINE / scale) : null;
  if (index !== null) choosePoint(index);
  else if (line !== null) chooseLine(line);
  else pointAt(x1, x2);
}

const MOVES = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
let speaking = 0;

function listenToPlane(view) {
  const coordinatesOf = (event) => {
    const plane = planeOf(view.top);
    return [plane.x1(event.offsetX), plane.x2(event.offsetY)];
  };
  view.top.addEventListener("pointermove", (event) => pointAt(...coordinatesOf(event)));
  view.top.addEventListener("click", (event) => {
    const plane = planeOf(view.top);
    choose(view, ...coordinatesOf(event), plane.side / (2 * plane.limit));
  });
  view.top.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "mouse" || document.activeElement === view.top) return;
    state.place = null;
    schedule();
  });
  view.top.addEventListener("keydown", (event) => keyOnPlane(view, event));
}

function keyOnPlane(view, event) {
  const { place } = state;
  if (event.key === "Escape") {
    Object.assign(state, { place: null, unit: null });
    schedule();
  } else if (event.key === "Enter" && place) {
    const index = pointNear(place.x1, place.x2, Infinity);
    if (index !== null) choosePoint(index);
  }
  if (!(event.key in MOVES)) return;
  event.preventDefault();
  const [right, up] = MOVES[event.key];
  const far = (sets.limit / 50) * (event.shiftKey ? 5 : 1);
  pointAt(place ? place.x1 + right * far : 0, place ? place.x2 + up * far : 0);
  clearTimeout(speaking); // spoken when the keys rest, and only what was asked for by keys
  speaking = setTimeout(() => {
    spoken.textContent = `${view.model.title}. ${view.where.textContent}`;
  }, SPEAK_AFTER);
}

/* The switches */

/** Which models a narrow screen shows: "both", or one by name. */
function showModels(which) {
  state.show = which;
  find(".models").dataset.show = which;
  findAll(".switch button").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.show === which));
  });
  redraw();
}

function listenToSwitches() {
  findAll(".switch button").forEach((button) => {
    button.addEventListener("click", () => showModels(button.dataset.show));
  });
  find(".show-units").addEventListener("change", (event) => {
    state.units = event.target.checked;
    if (!state.units) state.unit = null;
    schedule();
  });
  find(".show-test").addEventListener("change", (event) => {
    state.test = event.target.checked;
    schedule();
  });
}

/* The first picture, and everything again when the size, the colours or the screen change */

function begin() {
  state.head = lastIteration();
  state.chosen = worstPoint();
  if (given.engine) {
    listenToControls();
    openQuestion(0);
  }
  views.forEach(listenToPlane);
  listenToSwitches();
  drawTicks();
  drawLegend();
  readFragment();
  find(".show-units").checked = state.units;
  find(".show-test").checked = state.test;
  addEventListener("hashchange", readFragment);
  afterDrawing.push(writeFragment);
  if (given.engine && !engineRun.training) {
    engineRun.waiting = setTimeout(beginTraining, FIRST_PICTURE);
  }
}

begin();
const sizes = new ResizeObserver(() => {
  drawTicks();
  redraw();
});
views.forEach((view) => sizes.observe(view.base));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let ratio = window.devicePixelRatio;
window.addEventListener("resize", () => {
  if (window.devicePixelRatio !== ratio) redraw(); // moved to another screen, or zoomed
  ratio = window.devicePixelRatio;
});

/* For the console, and for the tests that compare with NumPy. */
window.explorer = {
  models: models.map((model) => model.name),
  state,
  isDrawn: () => frame === 0,
  snapshots: (name) => modelOf(name).snapshots,
  final: (name) => modelOf(name).final.metrics,
  shown: (name) => viewOf(name).snapshot,
  curve: (name) => modelOf(name).curve,
  before: (name) => viewOf(name).before,
  lines: (name) =>
    viewOf(name).lines.map((line) => ({
      ...line,
      push: [...line.push],
      units: line.units.map((unit) => unit.index),
    })),
  probabilities(name, iteration, x1, x2) {
    const { layers } = nearest(modelOf(name), iteration);
    return x1.map((value, i) => probabilitiesOf(scoresAt(layers, value, x2[i])));
  },
};
