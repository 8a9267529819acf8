/*
 * views.js: a view for each model: its numbers, its pictures, and when they are drawn. A picture is
 * coarse at once and fine when nothing has changed for a while: the page never stops answering.
 */
const QUICK = { fewest: 1e6, most: 8e6, milliseconds: 10 }; // for a picture while something moves
const FULL = 4e8; // multiplications for the picture drawn when it rests, in slices
const SLICE = 10; // milliseconds
const MARKS = 3e7; // misclassified points are marked while something moves, if it costs no more
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
  return { ...view, predicted: null, lines: [], before: null, stale: true, drawn };
}

sets.limit = halfWidth(sets.training);
sets.training.drawn =
  sets.total > sets.training.count ? [...sets.training.y.keys()] : drawnOf(sets.training);
const views = models.map(newView);
const viewOf = (name) => views.find((view) => view.model.name === name);
const isSeen = (view) => view.base.clientWidth > 0;

let scheduled = false;
/** Draws with the next frame of the screen. */
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    drawFrame();
  });
}
const afterDrawing = []; // of other modules: what shows numbers of the snapshots on the screen

/** Draws what is new; the picture of one more snapshot at most, so that no frame takes long. */
function drawFrame() {
  const behind = views.filter((view) => nextSnapshot(view) !== null);
  if (behind.length > 0) show(behind[0], nextSnapshot(behind[0]));
  views.forEach(update);
  if (behind.length > 0) schedule();
  else afterDrawing.forEach((call) => call());
}

/** Everything again: the size, the colours, or the data have changed. */
function redraw() {
  forgetTheme();
  drawLegend();
  views.forEach((view) => (view.stale = true));
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

function update(view) {
  if (!isSeen(view)) return;
  drawBase(view);
  drawCurve(view);
  tellState(view);
  drawTop(view);
}

/** Another snapshot: its numbers, and its picture, first coarse. */
function show(view, snapshot) {
  clearTimeout(view.waiting);
  Object.assign(view, { snapshot, stale: false });
  view.iteration.textContent = whole(snapshot.iteration);
  view.loss.textContent = rounded(snapshot.loss);
  view.accuracy.textContent = percent(snapshot.accuracy);
  showTestAccuracy(view);
  view.lines = unitLines(hiddenUnits(snapshot.layers), sets.limit);
  const side = Math.ceil(placing(view.base).side);
  const { layers } = snapshot;
  const field = quickField(layers, side);
  view.predicted =
    sets.training.count * costOf(layers) <= MARKS ? predictionsOf(layers, sets.training) : null;
  takeField(view, field);
  const fine = newField(layers, placesFor(layers, FULL, side), sets.limit);
  view.waiting = setTimeout(() => refine(view, fine), REST);
}

/** The test accuracy; computed here, where the snapshot came before the test set. */
function showTestAccuracy({ snapshot, test }) {
  if (!snapshot) return;
  const fits = sets.test?.classes === snapshot.layers.at(-1).units;
  if (snapshot.test === null && fits) snapshot.test = accuracyOf(snapshot.layers, sets.test);
  test.textContent = snapshot.test === null ? "\u2013" : percent(snapshot.test);
}

let quickCost = 2e6; // multiplications: what this machine can do in the time for a quick picture

/** A coarse field at once; the next one is finer, or coarser, as this one took little or much. */
function quickField(layers, side) {
  const field = newField(layers, placesFor(layers, quickCost, Math.min(200, side)), sets.limit);
  const began = performance.now();
  fillFor(field, Infinity);
  const change = QUICK.milliseconds / Math.max(1, performance.now() - began);
  const cost = quickCost * Math.min(1.5, Math.max(0.4, change));
  quickCost = Math.min(QUICK.most, Math.max(QUICK.fewest, cost));
  return field;
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

function refine(view, field) {
  if (view.predicted === null) view.predicted = predictionsOf(view.snapshot.layers, sets.training);
  if (!fillFor(field, SLICE)) {
    view.waiting = setTimeout(() => refine(view, field), 0);
    return;
  }
  takeField(view, field);
  drawBase(view);
}

/** What the picture of a view depends on. */
function baseDependencies(view) {
  const { chosen, unit, bar, units, test, place } = state;
  const seen = [view.image, view.predicted, view.before, chosen, unit, bar, units, units && place];
  return [...seen, test && sets.test, sets.training, theme(), view.base.clientWidth];
}

function drawBase(view) {
  if (view.image === null || !isSeen(view)) return;
  if (!isNew(view.drawn.base, baseDependencies(view))) return;
  const { pen } = prepared(view.base);
  const place = placing(view.base);
  const colors = theme();
  inside(pen, place, () => {
    drawRegions(pen, place, view.image);
    if (state.test && sets.test) drawTestPoints(pen, place, sets.test, colors);
    const chosen = chosenLine(view);
    if (state.units) drawLines(pen, place, view.lines, state.place, colors);
    if (chosen) drawChosenLine(pen, place, chosen, colors);
    if (view.before) {
      drawBoundary(pen, place, view.before.path, view.before.n, {
        color: colors.line,
        width: 1.4,
        dash: [6, 5],
      });
    }
    drawBoundary(pen, place, view.boundary, view.field.n, { color: colors.line, width: 1.6 });
    drawPoints(pen, place, sets.training, view.predicted, colors);
    if (state.units && place.side > ROOM_FOR_COUNTS) drawCounts(pen, place, view.lines, colors);
  });
  if (state.chosen !== null) {
    drawChosen(pen, place, sets.training.x1[state.chosen], sets.training.x2[state.chosen], colors);
  }
  drawPlaneAxes(pen, place, colors);
}

/** The line of this model that is chosen, or whose bar is pointed at, if it still has one. */
function chosenLine(view) {
  const index = state.bar ?? state.unit;
  return index === null ? null : lineOf(view.lines, index);
}

/** What follows the pointer: the cross, and the reading. */
function drawTop(view) {
  const place = readPlace();
  const where = [place?.x1, place?.x2, state.place === null];
  if (!isNew(view.drawn.top, [view.snapshot, theme(), view.top.clientWidth, ...where])) return;
  const { pen } = prepared(view.top);
  const plane = placing(view.top);
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
    view.where.textContent = "Point at the input space to read it.";
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
  view.where.textContent = `${where}: ${view.reading}${unitsOn(layers, place)}.`;
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
  view.note.textContent = notes.join("; ");
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
