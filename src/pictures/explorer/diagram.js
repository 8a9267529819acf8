/*
 * diagram.js: the network as a diagram: the inputs, the strongest hidden units, the classes. The
 * picture of a unit is the input space, shaded where the unit is on, the more the larger its value.
 * Units whose lines coincide are one here too.
 */
const MOST_ROWS = 8; // hidden units in the diagram
const ROW = 35; // CSS pixels
const NAME = 22;
const TEXT_BESIDE = 46; // for the name of a class
const THICKEST = 4;
const CURVED = 0.45; // of the way from node to node, where an edge turns
const diagram = find(".diagram");
const diagramDrawn = {}; // see isNew

/** The strongest lines, and the chosen one, in the order of their first units. */
function linesOfDiagram(view) {
  const { lines } = view;
  const chosen = chosenLine(view);
  const shown = lines.slice(0, MOST_ROWS);
  if (chosen && !shown.includes(chosen)) shown[shown.length - 1] = chosen;
  const first = (line) => Math.min(...line.units.map((unit) => unit.index));
  return shown.sort((a, b) => first(a) - first(b));
}

function showDiagram() {
  if (find("#panel-unit").hidden) return;
  const view = unitView();
  diagram.hidden = find(".diagram-key").hidden = view?.snapshot.layers.length !== 2;
  if (diagram.hidden) return;
  const known = [view.snapshot, state.unit, state.chosen, sets.training, theme()];
  if (!isNew(diagramDrawn, [...known, sizeOf(diagram).width])) return;
  const lines = linesOfDiagram(view);
  diagram.style.height = `${heightOf(view.snapshot.layers)}px`;
  showUnitButtons(view, lines);
  drawEdges(view, lines);
}

/** Room for the units and for the names of the classes; it does not depend on the iteration. */
function heightOf([{ units }, { units: classes }]) {
  return Math.max(ROW * Math.min(MOST_ROWS, units), NAME * Math.min(MOST_CLASSES, classes));
}

/** As many buttons as lines; those that are there stay, so that the focus does. */
function showUnitButtons(view, lines) {
  const list = diagram.querySelector("ul");
  while (list.children.length > lines.length) list.lastElementChild.remove();
  while (list.children.length < lines.length) list.append(newUnitButton());
  const chosen = chosenLine(view);
  lines.forEach((line, row) => {
    const entry = list.children[row];
    entry.style.top = `${(100 * (row + 0.5)) / lines.length}%`;
    const button = entry.firstElementChild;
    const count = line.units.length;
    button.line = line;
    button.setAttribute("aria-pressed", String(line === chosen));
    const units = count === 1 ? "one hidden unit" : `${whole(count)} hidden units`;
    button.setAttribute("aria-label", `Line ${view.lines.indexOf(line) + 1}: ${units}`);
    button.lastElementChild.textContent = count === 1 ? "" : `\u00d7${whole(count)}`;
    drawUnit(button.firstElementChild, line);
  });
}

function newUnitButton() {
  const button = element("button", "", element("canvas", ""), element("span", ""));
  button.type = "button";
  button.addEventListener("click", () => chooseLine(button.line));
  return element("li", "", button);
}

/** The input space as one line of units sees it, and where the chosen point lies in it. */
function drawUnit(canvas, line) {
  const { pen, width } = prepared(canvas);
  const colors = theme();
  const { limit } = sets;
  const scale = width / (2 * limit);
  const plane = { limit, x: (x1) => (x1 + limit) * scale, y: (x2) => (limit - x2) * scale };
  const { n1, n2 } = endsOf(line, limit);
  const farthest = limit * (Math.abs(n1) + Math.abs(n2)); // of the corners, along n
  const onNormal = (distance) => [plane.x(n1 * distance), plane.y(n2 * distance)];
  const shade = pen.createLinearGradient(...onNormal(line.distance), ...onNormal(farthest));
  shade.addColorStop(0, withAlpha(colors.ink, 0.12));
  shade.addColorStop(1, withAlpha(colors.ink, 0.7));
  pen.fillStyle = colors.paper;
  pen.fillRect(0, 0, width, width);
  if (farthest > line.distance) {
    pen.fillStyle = shade;
    fillOn(pen, plane, line);
  }
  pen.strokeStyle = colors.unit;
  pen.lineWidth = 1.5;
  strokeLine(pen, plane, line);
  if (state.chosen === null) return;
  const { x1, x2, y } = sets.training;
  const [x, top] = [plane.x(x1[state.chosen]), plane.y(x2[state.chosen])];
  const k = y[state.chosen];
  drawMarker(pen, k, colors.classes[k], x, top, 6, colors.paper, 1);
}

/** The weights as edges: the thicker, the more they do; a negative one is dashed. */
function drawEdges(view, lines) {
  const { pen, width, height } = prepared(diagram.querySelector("canvas"));
  const colors = theme();
  const classes = Math.min(MOST_CLASSES, lines[0].push.length);
  const middleOf = (i, count) => ((i + 0.5) * height) / count;
  const entry = diagram.querySelector("li");
  const [left, right] = [entry.offsetLeft, entry.offsetLeft + entry.offsetWidth];
  const classX = width - TEXT_BESIDE - 10;
  const pushes = lines.flatMap((line) => [...line.push.slice(0, classes)]);
  const most = Math.max(...pushes.map(Math.abs)) || 1;
  const strongest = view.lines[0].strength || 1;
  const chosen = chosenLine(view);
  lines.forEach((line, row) => {
    pen.globalAlpha = chosen === null || line === chosen ? 1 : 0.5;
    const y = middleOf(row, lines.length);
    const share = Math.sqrt(line.strength / strongest);
    [Math.cos(line.angle), Math.sin(line.angle)].forEach((weight, i) => {
      drawEdge(pen, [20, middleOf(i, 2)], [left, y], weight * share, colors.muted);
    });
    line.push.slice(0, classes).forEach((push, k) => {
      drawEdge(pen, [right, y], [classX, middleOf(k, classes)], push / most, colors.classes[k]);
    });
  });
  pen.globalAlpha = 1;
  drawNames(pen, colors, middleOf, classes, classX);
}

function drawEdge(pen, from, to, weight, color) {
  if (Math.abs(weight) < 0.02) return;
  const turn = (to[0] - from[0]) * CURVED;
  pen.beginPath();
  pen.moveTo(...from);
  pen.bezierCurveTo(from[0] + turn, from[1], to[0] - turn, to[1], ...to);
  pen.lineWidth = 0.4 + (THICKEST - 0.4) * Math.abs(weight);
  pen.strokeStyle = color;
  pen.setLineDash(weight < 0 ? [4, 3] : []);
  pen.stroke();
  pen.setLineDash([]);
}

function drawNames(pen, colors, middleOf, classes, classX) {
  pen.textBaseline = "middle";
  pen.textAlign = "left";
  pen.fillStyle = colors.ink;
  ["x\u2081", "x\u2082"].forEach((name, i) => pen.fillText(name, 2, middleOf(i, 2)));
  for (let k = 0; k < classes; k++) {
    const y = middleOf(k, classes);
    drawMarker(pen, k, colors.classes[k], classX + 3, y, 10, colors.paper, 0.6);
    pen.fillStyle = colors.ink;
    pen.fillText(`class ${k}`, classX + 12, y);
  }
}

afterDrawing.push(showDiagram);
