/*
 * units.js: computes and draws the lines of hidden units. A unit is on at one side of its line,
 * w.x + b > 0. Units whose lines coincide, with the same side on, are one line here.
 */
const SAME_ANGLE = (2 * Math.PI) / 180; // lines this near, and with distances this near, are one
const SAME_DISTANCE = 0.03;

/** The units of the first hidden layer, the strongest first. */
function hiddenUnits(layers) {
  if (layers.length < 2) return [];
  const [first, second] = layers;
  const units = Array.from({ length: first.units }, (_, i) => {
    const w1 = first.W[i];
    const w2 = first.W[first.units + i];
    const b = first.b[i];
    const length = Math.hypot(w1, w2);
    const out = second.W.subarray(i * second.units, (i + 1) * second.units);
    return { index: i, w1, w2, b, length, out, strength: length * Math.hypot(...out) };
  });
  return units.sort((a, b) => b.strength - a.strength);
}

const isOn = (unit, place) => place.x1 * unit.w1 + place.x2 * unit.w2 + unit.b > 0;

/**
 * The lines in the input space, the strongest first. Each has its units, where it lies (angle of
 * the side that is on, and distance from the origin), and what a length of 1 into that side adds to
 * every score (push, where the next layer is the scores).
 */
function unitLines(units, limit) {
  const lines = [];
  for (const unit of units.slice(0, given.mostLines)) {
    const angle = Math.atan2(unit.w2, unit.w1);
    const distance = -unit.b / unit.length;
    if (!(Math.abs(distance) < 1.42 * limit)) continue; // outside, or no line: w is zero
    let line = lines.find((other) => sameLine(other, angle, distance));
    if (!line) {
      line = {
        key: unit.index,
        angle,
        distance,
        units: [],
        push: new Float64Array(unit.out.length),
        strength: 0,
      };
      lines.push(line);
    }
    line.units.push(unit);
    line.strength += unit.strength;
    for (let k = 0; k < unit.out.length; k++) line.push[k] += unit.length * unit.out[k];
  }
  return lines.sort((a, b) => b.strength - a.strength);
}

function sameLine(line, angle, distance) {
  const turn = Math.abs(line.angle - angle);
  const apart = Math.min(turn, 2 * Math.PI - turn);
  return apart < SAME_ANGLE && Math.abs(line.distance - distance) < SAME_DISTANCE;
}

/** A point on the line, its direction, and two ends far outside of the square. */
function endsOf(line, limit) {
  const n1 = Math.cos(line.angle);
  const n2 = Math.sin(line.angle);
  const reach = 3 * limit;
  const [m1, m2] = [n1 * line.distance, n2 * line.distance];
  return {
    n1,
    n2,
    ends: [
      [m1 - n2 * reach, m2 + n1 * reach],
      [m1 + n2 * reach, m2 - n1 * reach],
    ],
  };
}

/** How far a place is from a line; positive where it is on. */
const sideOf = (line, x1, x2) =>
  x1 * Math.cos(line.angle) + x2 * Math.sin(line.angle) - line.distance;

/** The line of a hidden unit, or null: its line may lie outside of the input space. */
const lineOf = (lines, index) =>
  lines.find((line) => line.units.some((unit) => unit.index === index)) ?? null;

/** The line nearest to a place, if it is so near. */
function lineNear(lines, x1, x2, near) {
  let found = null;
  let least = near;
  for (const line of lines) {
    const distance = Math.abs(sideOf(line, x1, x2));
    if (distance < least) [found, least] = [line, distance];
  }
  return found;
}

/** All lines, the thicker the stronger; dashed where a line is off at the place, if there is one. */
function drawLines(pen, plane, lines, place, colors) {
  const strongest = lines.length ? lines[0].strength : 1;
  pen.strokeStyle = colors.unit;
  for (const line of lines) {
    const share = strongest > 0 ? Math.sqrt(line.strength / strongest) : 0;
    const on = place === null || sideOf(line, place.x1, place.x2) > 0;
    pen.globalAlpha = (0.15 + 0.6 * share) * (on ? 1 : 0.7);
    pen.lineWidth = 0.5 + 2 * share;
    pen.setLineDash(on ? [] : [5, 4]);
    strokeLine(pen, plane, line);
  }
  pen.globalAlpha = 1;
  pen.setLineDash([]);
}

function strokeLine(pen, plane, line) {
  const [from, to] = endsOf(line, plane.limit).ends;
  pen.beginPath();
  pen.moveTo(plane.x(from[0]), plane.y(from[1]));
  pen.lineTo(plane.x(to[0]), plane.y(to[1]));
  pen.stroke();
}

/** Fills the side where a line is on. */
function fillOn(pen, plane, line) {
  const { n1, n2, ends } = endsOf(line, plane.limit);
  const reach = 6 * plane.limit;
  const corners = [
    ends[0],
    ends[1],
    [ends[1][0] + n1 * reach, ends[1][1] + n2 * reach],
    [ends[0][0] + n1 * reach, ends[0][1] + n2 * reach],
  ];
  pen.beginPath();
  corners.forEach(([x1, x2]) => pen.lineTo(plane.x(x1), plane.y(x2)));
  pen.closePath();
  pen.fill();
}

/** The chosen line: the side where it is on is shaded. */
function drawChosenLine(pen, plane, line, colors) {
  pen.globalAlpha = 0.16; // of ink, not of a colour: a region keeps the colour of its class
  pen.fillStyle = colors.ink;
  fillOn(pen, plane, line);
  pen.globalAlpha = 1;
  pen.strokeStyle = colors.paper;
  pen.lineWidth = 6;
  strokeLine(pen, plane, line);
  pen.strokeStyle = colors.unit;
  pen.lineWidth = 3;
  strokeLine(pen, plane, line);
}

/** On a line of several units, their number, in the middle of the part that is seen. */
function drawCounts(pen, plane, lines, colors) {
  pen.font = "600 11px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const taken = [];
  for (const line of lines) {
    if (line.units.length < 2) continue;
    const spot = freeSpot(line, plane, taken);
    if (spot === null) continue;
    taken.push(spot);
    const text = `\u00d7${line.units.length}`;
    const half = pen.measureText(text).width / 2 + 3;
    pen.fillStyle = colors.paper;
    pen.globalAlpha = 0.85;
    pen.fillRect(spot.x - half, spot.y - 8, 2 * half, 16);
    pen.globalAlpha = 1;
    pen.fillStyle = colors.unit;
    pen.fillText(text, spot.x, spot.y + 0.5);
  }
}

/** A place on the line for its number, near the edge, where no other number is. */
function freeSpot(line, plane, taken) {
  const { n1, n2 } = endsOf(line, plane.limit);
  const m1 = n1 * line.distance;
  const m2 = n2 * line.distance;
  for (const share of [0.93, -0.93, 0.8, -0.8, 0.65, -0.65]) {
    const along = share * Math.sqrt(Math.max(0, 2 * plane.limit ** 2 - line.distance ** 2));
    let reach = along;
    while (
      Math.abs(reach) > 0.02 &&
      !inSquare(m1 - n2 * reach, m2 + n1 * reach, 0.93 * plane.limit)
    )
      reach *= 0.95;
    const x = plane.x(m1 - n2 * reach);
    const y = plane.y(m2 + n1 * reach);
    if (!inSquare(m1 - n2 * reach, m2 + n1 * reach, 0.95 * plane.limit)) continue;
    if (taken.every((other) => Math.abs(other.x - x) > 26 || Math.abs(other.y - y) > 18))
      return { x, y };
  }
  return null;
}

const inSquare = (x1, x2, limit) => Math.abs(x1) < limit && Math.abs(x2) < limit;
