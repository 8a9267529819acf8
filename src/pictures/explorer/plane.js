/*
 * plane.js: draws the input space of a model: regions, decision boundary, points, axes.
 */

/** The regions as an image: the paler, the nearer two classes are to being equally probable. */
function regionsImage(field, colors) {
  const { n, best, margin } = field;
  const { pale, tint } = given.palette;
  const image = new ImageData(n, n);
  const pixels = image.data;
  const toward = colors.raw.map((rgb) => rgb.map((part, c) => 255 * part - colors.rgb[c]));
  for (let cell = 0; cell < n * n; cell++) {
    const strength = colors.dim * (pale + (tint - pale) * margin[cell]);
    const color = toward[best[cell]];
    for (let c = 0; c < 3; c++) pixels[4 * cell + c] = colors.rgb[c] + color[c] * strength;
    pixels[4 * cell + 3] = 255;
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = n;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function drawRegions(pen, plane, image) {
  const n = image.width;
  const step = plane.side / (n - 1); // half of the outer places' pixels lies outside
  pen.drawImage(image, plane.left - step / 2, plane.top - step / 2, n * step, n * step);
}

/**
 * The decision boundary as pieces [x, y, x, y] in units of the grid: where two classes are equally
 * probable. In a square of four places, it crosses a side whose ends have different classes, where
 * their leads are used up.
 */
function boundaryPieces(field) {
  const { n, best, lead } = field;
  const pieces = [];
  for (let row = 0; row + 1 < n; row++) {
    for (let column = 0, cell = row * n; column + 1 < n; column++, cell++) {
      const k = best[cell];
      if (k === best[cell + 1] && k === best[cell + n] && k === best[cell + n + 1]) continue;
      joinCrossings(pieces, crossingsOf(cell, column, row, n, best, lead));
    }
  }
  return pieces;
}

/** Where the boundary crosses the four sides of a square of places. */
function crossingsOf(cell, column, row, n, best, lead) {
  const sides = [
    [cell, cell + 1, column, row, 1, 0],
    [cell + 1, cell + n + 1, column + 1, row, 0, 1],
    [cell + n, cell + n + 1, column, row + 1, 1, 0],
    [cell, cell + n, column, row, 0, 1],
  ];
  const crossings = [];
  for (const [from, to, x, y, dx, dy] of sides) {
    if (best[from] === best[to]) continue;
    const both = lead[from] + lead[to];
    if (both > 0) crossings.push([x + (dx * lead[from]) / both, y + (dy * lead[from]) / both]);
  }
  return crossings;
}

/** Two crossings are joined by a line; more of them meet in their middle. */
function joinCrossings(pieces, crossings) {
  if (crossings.length === 2) {
    pieces.push([...crossings[0], ...crossings[1]]);
    return;
  }
  const mean = (c) => crossings.reduce((sum, crossing) => sum + crossing[c], 0) / crossings.length;
  for (const crossing of crossings) pieces.push([...crossing, mean(0), mean(1)]);
}

/** A path of the pieces in any order. */
function pathOf(pieces) {
  const path = new Path2D();
  for (const [x1, y1, x2, y2] of pieces) {
    path.moveTo(x1, y1);
    path.lineTo(x2, y2);
  }
  return path;
}

/** A path of the pieces one after another, as dashes need it. */
function chainedPath(pieces) {
  const path = new Path2D();
  const byEnd = new Map(); // pieces by the places where they end
  const endsOfPiece = ([x1, y1, x2, y2]) => [`${x1},${y1}`, `${x2},${y2}`];
  for (const piece of pieces) {
    for (const end of endsOfPiece(piece)) byEnd.set(end, [...(byEnd.get(end) ?? []), piece]);
  }
  const free = new Set(pieces);
  const inner = (piece) => endsOfPiece(piece).every((end) => byEnd.get(end).length > 1);
  const starts = [...pieces.filter((piece) => !inner(piece)), ...pieces];
  for (const start of starts) {
    let piece = free.has(start) ? start : null;
    let end = piece && endsOfPiece(piece).find((name) => byEnd.get(name).length === 1);
    if (piece) path.moveTo(...(end === endsOfPiece(piece)[1] ? piece.slice(2) : piece.slice(0, 2)));
    while (piece) {
      free.delete(piece);
      const [first, second] = endsOfPiece(piece);
      const forward = end !== second;
      path.lineTo(...(forward ? piece.slice(2) : piece.slice(0, 2)));
      end = forward ? second : first;
      piece = byEnd.get(end).find((other) => free.has(other));
    }
  }
  return path;
}

/** Draws a path in units of a grid of n by n places. */
function drawBoundary(pen, plane, path, n, { color, width, dash = [] }) {
  const step = plane.side / (n - 1);
  pen.save();
  pen.translate(plane.left, plane.top);
  pen.scale(step, step);
  pen.strokeStyle = color;
  pen.lineWidth = width / step;
  pen.setLineDash(dash.map((length) => length / step));
  pen.stroke(path);
  pen.restore();
}

/** Which of the points are drawn: every so many of each class, as the figures do. */
function drawnOf(points) {
  const step = thinning(points.count);
  const drawn = [];
  const seen = new Uint32Array(points.classes);
  for (let i = 0; i < points.count; i++) if (seen[points.y[i]]++ % step === 0) drawn.push(i);
  return drawn;
}

const diameterIn = (plane) => Math.max(3, (Math.sqrt(markerArea(sets.total)) * plane.side) / PANEL);

/** The training points, the misclassified ones with a dark edge above the others. */
function drawPoints(pen, plane, points, predicted, colors) {
  const diameter = diameterIn(plane);
  const thin = diameter / 7;
  for (const wrong of [false, true]) {
    const [edge, width] = wrong ? [colors.ink, 0.4 + 1.2 * thin] : [colors.paper, 0.6 * thin];
    for (const i of points.drawn) {
      const k = points.y[i];
      if ((predicted !== null && predicted[i] !== k) !== wrong) continue;
      drawMarker(
        pen,
        k,
        colors.classes[k],
        plane.x(points.x1[i]),
        plane.y(points.x2[i]),
        diameter,
        edge,
        width,
      );
    }
  }
}

/** The test points, as dots: one path for each class. */
function drawTestPoints(pen, plane, points, colors) {
  const size = Math.max(1.5, plane.side / 200);
  for (let k = 0; k < points.classes; k++) {
    pen.beginPath();
    for (let i = 0; i < points.count; i++) {
      if (points.y[i] !== k) continue;
      pen.rect(plane.x(points.x1[i]) - size / 2, plane.y(points.x2[i]) - size / 2, size, size);
    }
    pen.fillStyle = colors.classes[k];
    pen.fill();
  }
}

/** A ring around the chosen point. */
function drawChosen(pen, plane, x1, x2, colors) {
  const radius = diameterIn(plane) * 0.5 + 5;
  for (const [color, width] of [
    [colors.paper, 5],
    [colors.unit, 2.5],
  ]) {
    pen.beginPath();
    pen.arc(plane.x(x1), plane.y(x2), radius, 0, 2 * Math.PI);
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.stroke();
  }
}

/** A cross at the place that is read. */
function drawCross(pen, plane, x1, x2, colors) {
  const x = plane.x(x1);
  const y = plane.y(x2);
  for (const [color, width] of [
    [colors.paper, 4],
    [colors.ink, 1.5],
  ]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      pen.moveTo(x + 5 * dx, y + 5 * dy);
      pen.lineTo(x + 13 * dx, y + 13 * dy);
    }
    pen.stroke();
  }
}

function drawPlaneAxes(pen, plane, colors) {
  const power = 10 ** Math.floor(Math.log10(plane.limit));
  const tick = power * [5, 2, 1].find((factor) => factor * power <= plane.limit);
  const bottom = plane.top + plane.side;
  pen.fillStyle = colors.muted;
  pen.strokeStyle = colors.faint;
  pen.lineWidth = 1;
  pen.strokeRect(plane.left - 0.5, plane.top - 0.5, plane.side + 1, plane.side + 1);
  for (const value of [-tick, 0, tick]) {
    const label = String(value).replace("-", MINUS);
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.fillText(label, plane.x(value), bottom + 5);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    pen.fillText(label, plane.left - 5, plane.y(value));
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  pen.fillText("x\u2081", plane.left + plane.side * 0.75, bottom + 5);
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  pen.fillText("x\u2082", plane.left - 5, plane.top + plane.side * 0.25);
}
