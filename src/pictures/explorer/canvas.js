/*
 * canvas.js: a canvas as sharp as the screen, where the input space lies in it, and a marker.
 */
let frameSizes = null; // by element, while a frame is drawn

const MARGIN = { left: 30, right: 6, top: 6, bottom: 30 }; // CSS pixels around the input space

/** Runs `draw` so that it reads each size once: after a change, reading lays out the page again. */
function readingSizesOnce(draw) {
  frameSizes = new Map();
  try {
    draw();
  } finally {
    frameSizes = null;
  }
}

/** The size of an element in CSS pixels. */
function sizeOf(element) {
  const known = frameSizes?.get(element);
  if (known) return known;
  const size = { width: element.clientWidth, height: element.clientHeight };
  frameSizes?.set(element, size);
  return size;
}

/** A canvas with as many pixels as the screen has for it; its size in CSS pixels. */
function prepared(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = sizeOf(canvas);
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  return { pen, width, height };
}

/** Where the input space lies in its canvas: functions from coordinates to CSS pixels and back. */
function planeOf(canvas) {
  const limit = sets.limit;
  const side = Math.max(1, sizeOf(canvas).width - MARGIN.left - MARGIN.right);
  const scale = side / (2 * limit);
  return {
    side,
    limit,
    left: MARGIN.left,
    top: MARGIN.top,
    x: (x1) => MARGIN.left + (x1 + limit) * scale,
    y: (x2) => MARGIN.top + (limit - x2) * scale,
    x1: (x) => (x - MARGIN.left) / scale - limit,
    x2: (y) => limit - (y - MARGIN.top) / scale,
  };
}

/** Runs `draw` with the pen held inside the input space. */
function inside(pen, plane, draw) {
  pen.save();
  pen.beginPath();
  pen.rect(plane.left, plane.top, plane.side, plane.side);
  pen.clip();
  draw();
  pen.restore();
}

function drawMarker(pen, k, color, x, y, diameter, edge, width) {
  const path = shapes[k % shapes.length];
  pen.save();
  pen.translate(x, y);
  pen.scale(diameter, diameter);
  pen.fillStyle = color;
  pen.fill(path);
  pen.strokeStyle = edge;
  pen.lineWidth = width / diameter;
  pen.stroke(path);
  pen.restore();
}
