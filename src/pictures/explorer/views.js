/*
 * views.js: a view for each model: its numbers, its pictures, and when they are drawn. A picture is
 * coarse at first and fine when nothing has changed for a while. Everything is drawn in short slices,
 * so that the page never stops answering.
 */
const QUICK = { fewest: 1e6, most: 8e6, milliseconds: 8 }; // for a picture while something moves
const FULL = 4e8; // multiplications for the picture drawn when it rests
const SLICE = 10; // milliseconds of drawing in a frame of the screen, or of computing at rest
const MARKS = 4e6; // misclassified points are marked while something moves, if it costs no more
const FEWEST = 24; // places along a side of the input space, whatever they cost
const ROOM_FOR_COUNTS = 220; // CSS pixels: in a smaller picture the numbers of units hide it
const REST = 150; // milliseconds without a change, until the fine picture is begun

function newView(model) {
  const panel = find(`figure[data-model="${model.name}"]`);
  const part = (name) => panel.querySelector(`.${name}`);
  const view = {
    model,
    panel,
    snapshot: null,
    field: null,
    image: null,
    boundary: null,
    waiting: 0,
  };
  for (const name of [
    "base",
    "top",
    "curve",
    "note",
    "iteration",
    "loss",
    "accuracy",
    "test",
    "where",
  ]) {
    view[name] = part(name);
  }
  view.bar = part("reading");
  const drawn = { base: {}, curve: {}, top: {} }; // see isNew
  return { ...view, next: null, predicted: null, lines: [], before: null, stale: true, drawn };
}

sets.limit = halfWidth(sets.training);
sets.training.drawn =
  sets.total > sets.training.count ? [...sets.training.y.keys()] : drawnOf(sets.training);
const views = models.map(newView);
const viewOf = (name) => views.find((view) => view.model.name === name);
const isSeen = (view) => sizeOf(view.base).width > 0;

const afterDrawing = []; // of other modules: what shows numbers of the snapshots on the screen
let frame = 0; // the request for the next frame of the screen, or 0
let changedSince = false; // whether something has changed since `steps` were listed
let steps = []; // what is still to be drawn

/** Draws what has changed, from the next frame of the screen on. */
function schedule() {
  changedSince = true;
  requestFrame();
}

function requestFrame() {
  if (frame === 0) frame = requestAnimationFrame(() => readingSizesOnce(drawFrame));
}

/** Draws for a slice of time; what is left over waits for the next frame. */
function drawFrame() {
  frame = 0;
  for (const view of views) [view.base, view.curve, view.top].forEach(sizeOf);
  const end = performance.now() + SLICE;
  if (steps.length === 0) {
    changedSince = false;
    steps = stepsOfDrawing();
  }
  do steps.shift()(end);
  while (steps.length > 0 && performance.now() < end);
  if (steps.length > 0 || changedSince) requestFrame();
}

/** The steps of drawing what is new: at most one more snapshot, and the panels when none is left. */
function stepsOfDrawing() {
  const behind = views.find((view) => view.next !== null || nextSnapshot(view) !== null);
  const pictures = views.flatMap((view) => [
    () => drawBase(view),
    () => drawCurve(view),
    () => tellState(view),
    () => drawTop(view),
  ]);
  if (behind) return [(end) => advance(behind, end), ...pictures, schedule];
  return [...pictures, ...afterDrawing.map((call) => () => call())];
}

/** Everything again: the size, the colours, or the data have changed. */
function redraw() {
  forgetTheme();
  drawLegend();
  views.forEach((view) => Object.assign(view, { stale: true, next: null }));
  schedule();
}

/** Whether a drawing has to be made again: something that it depends on has changed. */
function isNew(drawing, dependencies) {
  const known = drawing.dependencies;
  drawing.dependencies = dependencies;
  return !known || dependencies.some((value, i) => value !== known[i]);
}

/** The snapshot that a view should show next, or null if it shows the right one. */
function nextSnapshot(view) {
  const snapshot = nearest(view.model, wantedOf(view.model));
  const right = !snapshot || (snapshot === view.snapshot && !view.stale);
  return right || !isSeen(view) ? null : snapshot;
}

/** Computes the coarse picture of the next snapshot until a time; shows it once it is complete. */
function advance(view, end) {
  view.next ??= newQuickField(view, nextSnapshot(view));
  const { snapshot, field } = view.next;
  const began = performance.now();
  const isComplete = fillFor(field, end - began);
  view.next.milliseconds += performance.now() - began;
  if (!isComplete) return;
  adaptQuickCost(view.next.milliseconds);
  view.next = null;
  show(view, snapshot, field);
}

/** Another snapshot: its numbers, and its coarse picture; the fine one is begun when it rests. */
function show(view, snapshot, field) {
  clearTimeout(view.waiting);
  Object.assign(view, { snapshot, stale: false });
  setText(view.iteration, whole(snapshot.iteration));
  setText(view.loss, rounded(snapshot.loss));
  setText(view.accuracy, percent(snapshot.accuracy));
  showTestAccuracy(view);
  view.lines = unitLines(hiddenUnits(snapshot.layers), sets.limit);
  const { layers } = snapshot;
  view.predicted =
    sets.training.count * costOf(layers) <= MARKS ? predictionsOf(layers, sets.training) : null;
  takeField(view, field);
  const fine = newField(layers, placesFor(layers, FULL, sideOfView(view)), sets.limit);
  view.waiting = setTimeout(() => refine(view, fine), REST);
}

/**
 * The test accuracy; computed here for a recorded snapshot. The engine sends it with those that it
 * makes: with the first one, which comes before the test set, a moment later.
 */
function showTestAccuracy({ model, snapshot, test }) {
  if (!snapshot) return;
  const fits = sets.test?.classes === snapshot.layers.at(-1).units;
  if (snapshot.test === null && fits && model.sameAsRecorded) {
    snapshot.test = accuracyOf(snapshot.layers, sets.test);
  }
  setText(test, snapshot.test === null ? "\u2013" : percent(snapshot.test));
}

let quickCost = 2e6; // multiplications: what this machine can do in the time for a quick picture

/** Pixels along a side of a view's input space. */
const sideOfView = (view) => Math.ceil(planeOf(view.base).side);

/** A coarse field of a snapshot, still empty, and the time that it took so far. */
function newQuickField(view, snapshot) {
  const { layers } = snapshot;
  const places = placesFor(layers, quickCost, Math.min(200, sideOfView(view)));
  return { snapshot, field: newField(layers, places, sets.limit), milliseconds: 0 };
}

/** Makes the next coarse field finer, or coarser, as the last one took little or much time. */
function adaptQuickCost(milliseconds) {
  const change = QUICK.milliseconds / Math.max(1, milliseconds);
  const cost = quickCost * Math.min(1.5, Math.max(0.4, change));
  quickCost = Math.min(QUICK.most, Math.max(QUICK.fewest, cost));
}

/** How many places along a side may be computed for so many multiplications. */
function placesFor(layers, cost, most) {
  return Math.max(FEWEST, Math.min(most, Math.floor(Math.sqrt(cost / costOf(layers)))));
}

function takeField(view, field) {
  view.field = field;
  view.image = regionsImage(field, theme());
  view.pieces = boundaryPieces(field);
  view.boundary = pathOf(view.pieces);
}

/** Goes on with the fine picture, for a slice of time. */
function refine(view, field) {
  if (view.predicted === null) {
    view.predicted = predictionsOf(view.snapshot.layers, sets.training);
  } else if (field.rows === field.n) {
    takeField(view, field);
    schedule();
    return;
  } else {
    fillFor(field, SLICE);
  }
  view.waiting = setTimeout(() => refine(view, field), 0);
}

/** What the picture of a view depends on. */
function baseDependencies(view) {
  const { chosen, unit, bar, units, test, place } = state;
  const seen = [view.image, view.predicted, view.before, chosen, unit, bar, units, units && place];
  return [...seen, test && sets.test, sets.training, theme(), sizeOf(view.base).width];
}

function drawBase(view) {
  if (view.image === null || !isSeen(view)) return;
  if (!isNew(view.drawn.base, baseDependencies(view))) return;
  const { pen } = prepared(view.base);
  const plane = planeOf(view.base);
  const colors = theme();
  inside(pen, plane, () => {
    drawRegions(pen, plane, view.image);
    if (state.test && sets.test) drawTestPoints(pen, plane, sets.test, colors);
    const chosen = chosenLine(view);
    if (state.units) drawLines(pen, plane, view.lines, state.place, colors);
    if (chosen) drawChosenLine(pen, plane, chosen, colors);
    if (view.before) {
      drawBoundary(pen, plane, view.before.path, view.before.n, {
        color: colors.line,
        width: 1.4,
        dash: [6, 5],
      });
    }
    drawBoundary(pen, plane, view.boundary, view.field.n, { color: colors.line, width: 1.6 });
    drawPoints(pen, plane, sets.training, view.predicted, colors);
    if (state.units && plane.side > ROOM_FOR_COUNTS) drawCounts(pen, plane, view.lines, colors);
  });
  if (state.chosen !== null) {
    drawChosen(pen, plane, sets.training.x1[state.chosen], sets.training.x2[state.chosen], colors);
  }
  drawPlaneAxes(pen, plane, colors);
}

/** The line of this model that is chosen, or whose bar is pointed at, if it still has one. */
function chosenLine(view) {
  const index = state.bar ?? state.unit;
  return index === null ? null : lineOf(view.lines, index);
}

/** What follows the pointer: the cross, and the reading. */
function drawTop(view) {
  if (!isSeen(view)) return;
  const place = readPlace();
  const where = [place?.x1, place?.x2, state.place === null];
  if (!isNew(view.drawn.top, [view.snapshot, theme(), sizeOf(view.top).width, ...where])) return;
  const { pen } = prepared(view.top);
  const plane = planeOf(view.top);
  if (state.place) inside(pen, plane, () => drawCross(pen, plane, place.x1, place.x2, theme()));
  read(view);
}

/** The place that is read: the one pointed at, or the chosen point. */
function readPlace() {
  if (state.place) return state.place;
  if (state.chosen === null) return null;
  return { x1: sets.training.x1[state.chosen], x2: sets.training.x2[state.chosen] };
}

/** The probabilities at the place that is read, as a bar and in words. */
function read(view) {
  const place = readPlace();
  if (!view.snapshot || !place) {
    view.bar.style.background = "";
    setText(view.where, "Point at the input space to read it.");
    view.reading = "";
    return;
  }
  const { layers } = view.snapshot;
  const colors = theme();
  const probabilities = probabilitiesOf(scoresAt(layers, place.x1, place.x2));
  view.bar.style.background = stripes(probabilities, colors.classes);
  const order = [...probabilities.keys()];
  if (order.length > 4) order.sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  view.reading = order
    .slice(0, 4)
    .map((k) => `class ${k} ${likely(probabilities[k])}`)
    .join(", ");
  const where = `At (${decimals(place.x1)}, ${decimals(place.x2)})`;
  setText(view.where, `${where}: ${view.reading}${unitsOn(layers, place)}.`);
}

/** Stripes of the colours side by side, each as wide as its share. */
function stripes(shares, colors) {
  let end = 0;
  const stops = shares.map((share, k) => `${colors[k]} ${percent(end)} ${percent((end += share))}`);
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}

/** In words, how many hidden units are on at a place. */
function unitsOn(layers, place) {
  if (layers.length < 2) return "";
  const units = hiddenUnits(layers);
  const on = units.filter((unit) => isOn(unit, place)).length;
  const kind = layers.length > 2 ? "units of the first hidden layer" : "hidden units";
  return `; ${whole(on)} of ${whole(units.length)} ${kind} are on`;
}

/** What keeps the picture from being the one that is wanted. */
function tellState(view) {
  if (!isSeen(view)) return;
  const { model, snapshot } = view;
  const notes = [];
  if (model.diverged !== null) {
    const where = `the loss is not finite at iteration ${whole(model.lostAt)}`;
    notes.push(`Diverged: ${where}. Try a smaller learning rate.`);
  } else if (model.front < wantedOf(model)) {
    notes.push(`training \u2026 ${whole(model.front)} of ${whole(model.iterations)}`);
  } else if (snapshot && snapshot.iteration !== wantedOf(model) && !given.engine) {
    notes.push(`nearest kept to ${whole(wantedOf(model))}`);
  }
  if (snapshot?.lossAt !== undefined && snapshot.lossAt !== snapshot.iteration) {
    notes.push(`loss of iteration ${whole(snapshot.lossAt)}`);
  }
  const change = lossChange(view);
  if (change) notes.push(change);
  setText(view.note, notes.join("; "));
}

/** After one step: the loss of the chosen point before it, and after it. */
function lossChange({ model, snapshot }) {
  const before = state.before?.snapshots[model.name];
  if (!before || !snapshot || state.chosen === null) return "";
  if (before.iteration === snapshot.iteration) return "";
  const [old, now] = [before, snapshot].map(({ layers }) => rounded(lossOf(layers, state.chosen)));
  return `point ${state.chosen}: loss ${old} \u2192 ${now}`;
}

/** The loss of a training point. */
function lossOf(layers, index) {
  const { x1, x2, y } = sets.training;
  return -Math.log(probabilitiesOf(scoresAt(layers, x1[index], x2[index]))[y[index]]);
}

/** Gives every class of the palette an entry in the legend; beyond it colours begin again. */
function listClasses() {
  const list = find(".legend ul");
  const { classes } = sets.training;
  const shown = classes <= given.palette.colors.length ? classes : 0;
  if (list.children.length === shown + 1) return;
  const entries = Array.from({ length: shown }, (_, k) => {
    const canvas = document.createElement("canvas");
    canvas.dataset.class = k;
    canvas.setAttribute("aria-hidden", "true");
    const entry = document.createElement("li");
    entry.append(canvas, `class ${k}`);
    return entry;
  });
  list.replaceChildren(...entries, list.lastElementChild);
}

function drawLegend() {
  const colors = theme();
  listClasses();
  findAll(".legend canvas").forEach((canvas) => {
    const { pen, width, height } = prepared(canvas);
    const k = canvas.dataset.class;
    if (k !== undefined) {
      drawMarker(pen, Number(k), colors.classes[k], width / 2, height / 2, 9, colors.paper, 0.6);
      return;
    }
    pen.strokeStyle = colors.ink;
    pen.fillStyle = colors.paper;
    pen.lineWidth = 1.6;
    pen.beginPath();
    pen.arc(width / 2, height / 2, 4, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  });
}
