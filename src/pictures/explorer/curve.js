/*
 * curve.js: the loss by iteration, on a square-root scale, as much happens early. Where parameters
 * differ from params.yaml, the curve recorded with those lies pale behind.
 */
const CURVE_MARGIN = { left: 40, right: 8, top: 6, bottom: 32 };

function curveScales(view) {
  const { model } = view;
  const { left, right, top, bottom } = CURVE_MARGIN;
  const size = sizeOf(view.curve);
  const width = size.width - left - right;
  const height = size.height - top - bottom;
  const { from, to, logarithmic } = lossRange(shownLosses(model));
  const share = (loss) =>
    ((logarithmic ? Math.log10(Math.max(loss, 10 ** from)) : loss) - from) / (to - from);
  return {
    x: (iteration) => left + width * Math.sqrt(iteration / model.iterations),
    y: (loss) => top + height * (1 - share(loss)),
    iteration: (x) => model.iterations * Math.min(1, Math.max(0, (x - left) / width)) ** 2,
    left,
    width,
    top,
    height,
    from,
    to,
    logarithmic,
  };
}

/** Every loss that is drawn; the recorded ones too, so that the axis does not move. */
function shownLosses(model) {
  return model.sameAsRecorded
    ? model.curve.loss
    : [...model.recorded.curve.loss, ...model.curve.loss];
}

/** From which to which loss the axis goes; as logarithms where they differ much. */
function lossRange(losses) {
  let high = 0;
  let low = Infinity;
  for (const loss of losses) {
    if (loss > high) high = loss;
    if (loss > 0 && loss < low) low = loss;
  }
  if (low === Infinity) low = 1;
  if (high <= 30 * low) return { from: 0, to: high * 1.05 || 1, logarithmic: false };
  return { from: Math.log10(Math.max(low, high * 1e-9)), to: Math.log10(high), logarithmic: true };
}

/** Numbers for the axis of losses: powers of ten, or steps of 1, 2 or 5. */
function lossTicks({ from, to, logarithmic }) {
  if (logarithmic) {
    const first = Math.ceil(from - 1e-9);
    const last = Math.floor(to + 1e-9);
    const step = Math.max(1, Math.ceil((last - first) / 3));
    const powers = [];
    for (let power = first; power <= last; power += step) powers.push(10 ** power);
    return powers;
  }
  const power = 10 ** Math.floor(Math.log10(to / 2));
  const step = power * [5, 2, 1].find((factor) => 2 * factor * power <= to);
  return [0, 1, 2, 3, 4]
    .map((i) => Number((i * step).toPrecision(3)))
    .filter((value) => value <= to);
}

function drawCurve(view) {
  if (!isSeen(view)) return;
  const { curve, sameAsRecorded, iterations } = view.model;
  const known = [view.snapshot, curve, curve.loss.length, sameAsRecorded, iterations];
  if (!isNew(view.drawn.curve, [...known, theme(), sizeOf(view.curve).width])) return;
  const { pen, width } = prepared(view.curve);
  const colors = theme();
  const scales = curveScales(view);
  const { model } = view;
  pen.font = "11px system-ui, sans-serif";
  drawLossAxis(pen, scales, colors);
  drawIterationAxis(pen, scales, model.iterations, width, colors);
  if (!model.sameAsRecorded) {
    strokeCurve(pen, scales, model.recorded.curve, model.iterations, colors.ghost, 1.5);
  }
  strokeCurve(pen, scales, model.curve, model.iterations, colors.ink, 1.3);
  if (view.snapshot) drawCursor(pen, scales, view.snapshot, colors);
}

function drawLossAxis(pen, scales, colors) {
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const loss of lossTicks(scales)) {
    const y = Math.round(scales.y(loss)) + 0.5;
    pen.strokeStyle = colors.faint;
    pen.globalAlpha = 0.6;
    pen.beginPath();
    pen.moveTo(scales.left, y);
    pen.lineTo(scales.left + scales.width, y);
    pen.stroke();
    pen.globalAlpha = 1;
    pen.fillStyle = colors.muted;
    const label = isPlain(loss)
      ? loss.toLocaleString("en-US")
      : loss.toExponential(0).replace("e+", "e");
    pen.fillText(label, scales.left - 5, y);
  }
}

/** Labels at parts of the training, as many as do not touch; the last one always. */
function iterationLabels(iterations, x, widthOf, right) {
  const labels = [];
  const last = { iteration: iterations, half: widthOf(whole(iterations)) / 2 };
  last.x = Math.min(x(iterations), right - last.half);
  let free = -Infinity;
  for (const share of [0, 0.01, 0.1, 0.25, 0.5]) {
    const iteration = Math.round(share * iterations);
    const half = widthOf(whole(iteration)) / 2;
    if (x(iteration) - half < free || x(iteration) + half > last.x - last.half - 8) continue;
    free = x(iteration) + half + 8;
    labels.push({ iteration, x: x(iteration) });
  }
  return [...labels, last];
}

function drawIterationAxis(pen, scales, iterations, width, colors) {
  const bottom = scales.top + scales.height;
  pen.fillStyle = colors.muted;
  pen.textBaseline = "top";
  pen.textAlign = "center";
  const widthOf = (text) => pen.measureText(text).width;
  for (const { iteration, x } of iterationLabels(iterations, scales.x, widthOf, width)) {
    pen.fillText(whole(iteration), x, bottom + 4);
  }
  const name = width < 260 ? "iteration (\u221a scale)" : "loss by iteration (square-root scale)";
  pen.fillText(name, scales.left + scales.width / 2, bottom + 18);
}

function strokeCurve(pen, scales, curve, iterations, color, width) {
  pen.save();
  pen.beginPath();
  pen.rect(scales.left, scales.top - 2, scales.width + 4, scales.height + 4);
  pen.clip();
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.lineJoin = "round";
  pen.beginPath();
  for (let i = 0; i < curve.iteration.length; i++) {
    if (curve.iteration[i] > iterations) break;
    pen.lineTo(scales.x(curve.iteration[i]), scales.y(curve.loss[i]));
  }
  pen.stroke();
  pen.restore();
}

/** The iteration that the picture shows. */
function drawCursor(pen, scales, snapshot, colors) {
  const x = scales.x(snapshot.iteration);
  pen.strokeStyle = pen.fillStyle = colors.unit;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x, scales.top);
  pen.lineTo(x, scales.top + scales.height);
  pen.stroke();
  pen.beginPath();
  pen.arc(x, scales.y(snapshot.loss), 5, 0, 2 * Math.PI);
  pen.fill();
}
