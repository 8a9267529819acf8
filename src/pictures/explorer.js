"use strict";
/*
 * The training to take hold of: every model at the moments of its training that were kept.
 *
 * Nothing is drawn from pictures: the page has the weights, and computes what the models say
 * at every place of the plane. What it needs is in the element #explorer-data, which
 * explorer.py writes; the HTML around it is there before this script runs.
 *
 * In this order: the models' forward pass; what they say at every place of the plane; drawing it;
 * a view for each model; hidden units; the reading at a point; the loss curve; the controls.
 */
(() => {
  const MARGIN = { left: 34, right: 8, top: 8, bottom: 34 }; // CSS pixels around a plane
  const CURVE_MARGIN = { left: 46, right: 14, top: 8, bottom: 34 };
  const QUICK = 8e6; // multiplications for a boundary while something is dragged: some 10 milliseconds
  const FULL = 4e8; // for the one drawn when it rests, in slices that keep the page awake
  const SLICE = 12; // milliseconds
  const MARKS = 3e7; // the misclassified points are marked while something is dragged, if it costs no more
  const FEWEST = 24; // places along a side of the plane, whatever they cost
  const REST = 150; // milliseconds without a change, until the full picture is begun
  const FRAME = 130; // milliseconds from one moment to the next when it plays
  const SLOW_FRAME = 700; // for those who asked their system for less motion
  const SPEAK_AFTER = 700; // milliseconds without a key, until a reading is spoken
  const PANEL = 315; // points (1/72 inch): width of a panel of the figures, for which marker sizes are given

  const section = document.getElementById("explorer");
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const slider = section.querySelector("input[type=range]");
  const part = section.querySelector(".part");
  const play = section.querySelector(".play");
  const unitsBox = section.querySelector("input[type=checkbox]");
  const spoken = section.querySelector(".spoken");
  const state = { permille: 1000, at: null, units: false, timer: null };

  /* ---- The data: little-endian doubles, as every browser's processor has them ---- */

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const doubles = (text) => new Float64Array(bytes(text).buffer);

  const points = { y: bytes(data.points.y) };
  points.count = points.y.length;
  points.x1 = doubles(data.points.x).subarray(0, points.count);
  points.x2 = doubles(data.points.x).subarray(points.count);
  const classes = data.colors.length;

  /* ---- The models: layers of weights W [inputs, units] and b [units], ReLU between them ---- */

  /** The layers of a model at one of its moments. */
  function layersOf(model, moment) {
    const layers = [];
    let start = moment * model.weightsPerMoment;
    for (let l = 0; l + 1 < model.sizes.length; l++) {
      const inputs = model.sizes[l], units = model.sizes[l + 1];
      const W = model.weights.subarray(start, start + inputs * units);
      const b = model.weights.subarray(start + inputs * units, start + (inputs + 1) * units);
      layers.push({ inputs, units, W, b, out: new Float64Array(units) });
      start += (inputs + 1) * units;
    }
    return layers;
  }

  /** The scores of the classes at a point; the array is written anew by the next call. */
  function scoresAt(layers, x1, x2) {
    let input = [x1, x2];
    for (let l = 0; l < layers.length; l++) {
      const { inputs, units, W, b, out } = layers[l];
      out.set(b);
      for (let i = 0; i < inputs; i++) {
        const value = input[i];
        if (value === 0) continue; // a unit that is off adds nothing
        for (let j = 0, w = i * units; j < units; j++, w++) out[j] += value * W[w];
      }
      if (l + 1 < layers.length) {
        for (let j = 0; j < units; j++) if (out[j] < 0) out[j] = 0; // ReLU
      }
      input = out;
    }
    return input;
  }

  /** Index of the largest number, the first of equal ones. */
  function largest(numbers) {
    let best = 0;
    for (let k = 1; k < numbers.length; k++) if (numbers[k] > numbers[best]) best = k;
    return best;
  }

  /** Softmax. The largest score is subtracted first, so that no exponential overflows. */
  function probabilitiesOf(scores) {
    const most = scores[largest(scores)];
    const powers = Array.from(scores, (score) => Math.exp(score - most));
    const sum = powers.reduce((total, power) => total + power, 0);
    return powers.map((power) => power / sum);
  }

  /* ---- What a model says at every place of the plane ---- */

  /**
   * A grid of n by n places from -limit to limit, row after row from the top, filled little by little.
   * best: the predicted class; lead: its score less the second's; margin: the same of the probabilities.
   */
  function newField(layers, n) {
    const field = { layers, n, done: 0, best: new Uint8Array(n * n) };
    field.lead = new Float32Array(n * n);
    field.margin = new Float32Array(n * n);
    return field;
  }

  function fillRow(field) {
    const { n, layers } = field, row = field.done++, step = (2 * data.limit) / (n - 1);
    for (let column = 0, at = row * n; column < n; column++, at++) {
      const scores = scoresAt(layers, column * step - data.limit, data.limit - row * step);
      const best = largest(scores);
      let second = -Infinity, sum = 0;
      for (let k = 0; k < classes; k++) {
        if (k !== best && scores[k] > second) second = scores[k];
        sum += Math.exp(scores[k] - scores[best]);
      }
      field.best[at] = best;
      field.lead[at] = scores[best] - second;
      field.margin[at] = (1 - Math.exp(second - scores[best])) / sum;
    }
  }

  /** How many places along a side may be computed for so many multiplications. */
  function placesFor(model, cost, most) {
    return Math.max(FEWEST, Math.min(most, Math.floor(Math.sqrt(cost / model.weightsPerMoment))));
  }

  /** The predicted classes of the points that are drawn. */
  function predict(layers) {
    const predicted = new Uint8Array(points.count);
    for (let i = 0; i < points.count; i++) predicted[i] = largest(scoresAt(layers, points.x1[i], points.x2[i]));
    return predicted;
  }

  /* ---- Drawing ---- */

  /** A canvas with as many pixels as the screen has for it; its size in CSS pixels. */
  function prepared(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    return { pen, width, height };
  }

  /** The colours of the page, light or dark, each as [red, green, blue] and as CSS. */
  function theme() {
    const style = getComputedStyle(section);
    const names = ["paper", "ink", "line", "unit", "faint"];
    const named = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
    const rgb = named.paper.match(/[\d.]+/g).slice(0, 3).map(Number);
    const dark = rgb[0] < 128; // there points would drown: regions are dimmer, points lighter
    const classes = data.colors.map((color) => cssColor(color.map((part) => (dark ? 0.75 * part + 0.25 : part))));
    return { ...named, rgb, classes, dim: dark ? 0.7 : 1 };
  }

  /** The shape of a class's marker around (0, 0), its area about that of a circle of diameter 1. */
  function shape(marker) {
    const path = new Path2D();
    const polygon = (...corners) => {
      corners.forEach(([x, y]) => path.lineTo(x, y));
      path.closePath();
    };
    if (marker === "s") path.rect(-0.45, -0.45, 0.9, 0.9);
    else if (marker === "^") polygon([0, -0.55], [0.55, 0.5], [-0.55, 0.5]);
    else if (marker === "v") polygon([0, 0.55], [0.55, -0.5], [-0.55, -0.5]);
    else if (marker === "D") polygon([0, -0.64], [0.64, 0], [0, 0.64], [-0.64, 0]);
    else if (marker === "P" || marker === "X") {
      const a = 0.19, b = 0.57; // half the width and half the length of an arm
      const arm = [[a, a], [b, a], [b, -a]];
      const turned = ([x, y], angle) => [
        x * Math.cos(angle) - y * Math.sin(angle),
        x * Math.sin(angle) + y * Math.cos(angle),
      ];
      const start = marker === "P" ? 0 : 0.5; // of a right angle
      polygon(...[0, 1, 2, 3].flatMap((k) => arm.map((corner) => turned(corner, (-(k + start) * Math.PI) / 2))));
    } else if (marker === "*") {
      polygon(...Array.from({ length: 10 }, (_, i) => {
        const radius = i % 2 ? 0.28 : 0.66;
        return [radius * Math.sin((i * Math.PI) / 5), -radius * Math.cos((i * Math.PI) / 5)];
      }));
    } else path.arc(0, 0, 0.5, 0, 2 * Math.PI);
    return path;
  }
  const shapes = data.markers.map(shape);
  const cssColor = (rgb) => `rgb(${rgb.map((part) => Math.round(255 * part)).join(" ")})`;

  function drawMarker(pen, k, color, x, y, diameter, edge, width) {
    pen.save();
    pen.translate(x, y);
    pen.scale(diameter, diameter);
    pen.fillStyle = color;
    pen.fill(shapes[k % shapes.length]);
    pen.strokeStyle = edge;
    pen.lineWidth = width / diameter;
    pen.stroke(shapes[k % shapes.length]);
    pen.restore();
  }

  /** Where the plane lies in its canvas: functions from coordinates to CSS pixels and back. */
  function placing(canvas) {
    const side = Math.max(1, canvas.clientWidth - MARGIN.left - MARGIN.right);
    const scale = side / (2 * data.limit);
    return {
      side,
      left: MARGIN.left,
      top: MARGIN.top,
      x: (x1) => MARGIN.left + (x1 + data.limit) * scale,
      y: (x2) => MARGIN.top + (data.limit - x2) * scale,
      x1: (x) => (x - MARGIN.left) / scale - data.limit,
      x2: (y) => data.limit - (y - MARGIN.top) / scale,
    };
  }

  /** Regions: the paler, the nearer two classes are to being equally probable. */
  function drawRegions(pen, place, field, colors) {
    const { n, best, margin } = field;
    const image = new ImageData(n, n), pixels = image.data;
    const toward = data.colors.map((rgb) => rgb.map((part, c) => 255 * part - colors.rgb[c]));
    for (let at = 0; at < n * n; at++) {
      const strength = colors.dim * (data.pale + (data.tint - data.pale) * margin[at]), color = toward[best[at]];
      for (let c = 0; c < 3; c++) pixels[4 * at + c] = colors.rgb[c] + color[c] * strength;
      pixels[4 * at + 3] = 255;
    }
    const drawn = document.createElement("canvas");
    drawn.width = drawn.height = n;
    drawn.getContext("2d").putImageData(image, 0, 0);
    const step = place.side / (n - 1); // the outer places lie on the edges, so half of their pixels is outside
    pen.drawImage(drawn, place.left - step / 2, place.top - step / 2, n * step, n * step);
  }

  /**
   * Lines where two classes are equally probable. In a square of four places, the line crosses a side
   * whose ends have different classes, where their leads are used up.
   */
  function drawBoundaries(pen, place, field, colors) {
    const { n, best, lead } = field, step = place.side / (n - 1);
    pen.beginPath();
    for (let row = 0; row + 1 < n; row++) {
      for (let column = 0; column + 1 < n; column++) {
        const at = row * n + column;
        if (best[at] === best[at + 1] && best[at] === best[at + n] && best[at] === best[at + n + 1]) continue;
        const crossings = [];
        for (const [from, to, x, y, dx, dy] of [
          [at, at + 1, column, row, 1, 0],
          [at + 1, at + n + 1, column + 1, row, 0, 1],
          [at + n, at + n + 1, column, row + 1, 1, 0],
          [at, at + n, column, row, 0, 1],
        ]) {
          if (best[from] === best[to]) continue;
          const both = lead[from] + lead[to];
          if (both > 0) crossings.push([x + (dx * lead[from]) / both, y + (dy * lead[from]) / both]);
        }
        const through = (k) => crossings.reduce((total, crossing) => total + crossing[k], 0) / crossings.length;
        const middle = crossings.length === 2 ? crossings[1] : [through(0), through(1)];
        for (const end of crossings.length === 2 ? [crossings[0]] : crossings) {
          pen.moveTo(place.left + end[0] * step, place.top + end[1] * step);
          pen.lineTo(place.left + middle[0] * step, place.top + middle[1] * step);
        }
      }
    }
    pen.strokeStyle = colors.line;
    pen.lineWidth = 1.4;
    pen.stroke();
  }

  function drawPoints(pen, place, predicted, colors) {
    const diameter = Math.max(3, (Math.sqrt(data.points.area) * place.side) / PANEL);
    const thin = diameter / 7;
    for (const wrong of [false, true]) { // the misclassified ones above the others
      for (let i = 0; i < points.count; i++) {
        if ((predicted !== null && predicted[i] !== points.y[i]) !== wrong) continue;
        const x = place.x(points.x1[i]), y = place.y(points.x2[i]);
        const [edge, width] = wrong ? [colors.ink, 0.4 + 1.2 * thin] : [colors.paper, 0.6 * thin];
        drawMarker(pen, points.y[i], colors.classes[points.y[i]], x, y, diameter, edge, width);
      }
    }
  }

  function drawPlaneAxes(pen, place, colors) {
    const power = 10 ** Math.floor(Math.log10(data.limit));
    const tick = power * [5, 2, 1].find((factor) => factor * power <= data.limit);
    pen.fillStyle = pen.strokeStyle = colors.ink;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.rect(place.left - 0.5, place.top - 0.5, place.side + 1, place.side + 1);
    for (const value of [-tick, 0, tick]) {
      const label = String(value).replace("-", "\u2212");
      const x = place.x(value), y = place.y(value), bottom = place.top + place.side;
      pen.moveTo(x, bottom);
      pen.lineTo(x, bottom + 4);
      pen.moveTo(place.left, y);
      pen.lineTo(place.left - 4, y);
      pen.textAlign = "center";
      pen.textBaseline = "top";
      pen.fillText(label, x, bottom + 6);
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      pen.fillText(label, place.left - 7, y);
    }
    pen.stroke();
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.fillText("x\u2081", place.left + place.side * 0.75, place.top + place.side + 6);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    pen.fillText("x\u2082", place.left - 9, place.top + place.side * 0.25);
  }

  /* ---- One view a model ---- */

  const whole = (number) => number.toLocaleString("en-US");
  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  const isPlain = (number) => number === 0 || (number >= 0.001 && number < 10000);
  const rounded = (loss) => (isPlain(loss) ? loss.toPrecision(4) : loss.toExponential(2));

  function newView(model) {
    const panel = section.querySelector(`[data-model="${model.name}"]`);
    const find = (name) => panel.querySelector(name);
    model.weights = doubles(model.weights);
    model.weightsPerMoment = model.weights.length / model.moments.length;
    model.curve = { iteration: doubles(model.curve.iteration), loss: doubles(model.curve.loss) };
    model.iterations = model.moments[model.moments.length - 1].iteration;
    const { loss } = model.curve, ends = `from ${rounded(loss[0])} to ${rounded(loss[loss.length - 1])}`;
    find(".curve").setAttribute("aria-label", `${model.title}: loss by iteration, ${ends}`);
    const view = { model, moment: -1, layers: null, hidden: [], field: null, predicted: null, waiting: 0 };
    Object.assign(view, { base: find(".base"), top: find(".top"), curve: find(".curve"), note: find(".note") });
    Object.assign(view, { iteration: find(".iteration"), loss: find(".loss"), accuracy: find(".accuracy") });
    Object.assign(view, { rows: [...panel.querySelectorAll(".reading li")], where: find(".where") });
    return view;
  }
  const views = data.models.map(newView);
  const permilles = data.models.flatMap((model) => model.moments.map((moment) => moment.permille));
  const stops = [...new Set(permilles)].sort((a, b) => a - b); // where arrow keys and playing stop

  /** The moment that was kept nearest to a thousandth of the training. */
  function nearest(model, permille) {
    let found = 0;
    model.moments.forEach((moment, i) => {
      if (Math.abs(moment.permille - permille) < Math.abs(model.moments[found].permille - permille)) found = i;
    });
    return found;
  }

  /** Numbers of the moment, at once; its picture with the next frame of the screen. */
  function show(view) {
    const { model } = view, index = nearest(model, state.permille), moment = model.moments[index];
    const wanted = Math.floor((state.permille * model.iterations) / 1000);
    const notes = [];
    if (wanted !== moment.iteration) notes.push(`nearest kept to ${whole(wanted)}`);
    if (moment.lossAt !== moment.iteration) notes.push(`loss of iteration ${whole(moment.lossAt)}`);
    view.note.textContent = notes.join("; ");
    view.iteration.textContent = whole(moment.iteration);
    view.loss.textContent = rounded(moment.loss);
    view.accuracy.textContent = percent(moment.accuracy);
    if (index === view.moment) return;
    view.moment = index;
    view.layers = layersOf(model, index);
    view.hidden = hiddenUnits(view.layers);
    refresh(view);
  }

  /** Draws a view coarsely with the next frame, and finely when nothing has changed for a while. */
  function refresh(view) {
    view.field = null;
    clearTimeout(view.waiting);
    schedule();
  }

  let scheduled = false;
  function schedule() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      views.forEach(draw);
    });
  }

  function draw(view) {
    if (view.field === null) {
      const { model } = view, width = placing(view.base).side;
      view.field = newField(view.layers, placesFor(model, QUICK, Math.min(200, Math.ceil(width))));
      while (view.field.done < view.field.n) fillRow(view.field);
      view.predicted = points.count * model.weightsPerMoment <= MARKS ? predict(view.layers) : null;
      drawBase(view);
      const fine = newField(view.layers, placesFor(model, FULL, Math.ceil(width)));
      view.waiting = setTimeout(() => refine(view, fine), REST);
      drawCurve(view);
    }
    drawTop(view);
  }

  function refine(view, field) {
    if (view.predicted === null) {
      view.predicted = predict(view.layers);
      drawBase(view);
    }
    const end = performance.now() + SLICE;
    while (field.done < field.n && performance.now() < end) fillRow(field);
    if (field.done < field.n) {
      view.waiting = setTimeout(() => refine(view, field), 0);
      return;
    }
    view.field = field;
    drawBase(view);
  }

  function drawBase(view) {
    const { pen } = prepared(view.base), place = placing(view.base), colors = theme();
    pen.save();
    pen.beginPath();
    pen.rect(place.left, place.top, place.side, place.side);
    pen.clip();
    drawRegions(pen, place, view.field, colors);
    drawBoundaries(pen, place, view.field, colors);
    pen.restore();
    drawPoints(pen, place, view.predicted, colors);
    drawPlaneAxes(pen, place, colors);
  }

  /* ---- Hidden units: each is on at one side of a line, w.x + b > 0 ---- */

  /** The units of the first hidden layer, the strongest first: w, b, and the length of the outgoing weights. */
  function hiddenUnits(layers) {
    if (layers.length < 2) return [];
    const [first, second] = layers;
    const units = Array.from({ length: first.units }, (_, i) => ({
      w1: first.W[i],
      w2: first.W[first.units + i],
      b: first.b[i],
      strength: Math.hypot(...second.W.subarray(i * second.units, (i + 1) * second.units)),
    }));
    return units.sort((a, b) => b.strength - a.strength);
  }

  const isOn = (unit, at) => at.x1 * unit.w1 + at.x2 * unit.w2 + unit.b > 0;

  /** The two ends of the line of a unit inside the square, or nothing. */
  function lineOf({ w1, w2, b }) {
    const length = Math.hypot(w1, w2), distance = -b / length;
    if (!(Math.abs(distance) < 2 * data.limit)) return null; // outside, or no line: both weights are zero
    const [n1, n2] = [w1 / length, w2 / length], reach = 3 * data.limit;
    const middle = [n1 * distance, n2 * distance];
    return [
      [middle[0] - n2 * reach, middle[1] + n1 * reach],
      [middle[0] + n2 * reach, middle[1] - n1 * reach],
    ];
  }

  function drawUnits(pen, place, units, colors) {
    const strongest = units.length ? units[0].strength : 0;
    const drawn = units.slice(0, data.mostLines), strong = Math.min(0.9, 6.5 / Math.sqrt(drawn.length));
    pen.strokeStyle = colors.unit;
    for (const unit of drawn) {
      const ends = lineOf(unit);
      if (ends === null) continue;
      const on = state.at !== null && isOn(unit, state.at);
      pen.globalAlpha = strong * (state.at === null ? 0.75 : on ? 1 : 0.35);
      pen.lineWidth = 0.4 + (strongest > 0 ? (2.8 * unit.strength) / strongest : 0);
      pen.setLineDash(state.at === null || on ? [] : [4, 4]);
      pen.beginPath();
      pen.moveTo(place.x(ends[0][0]), place.y(ends[0][1]));
      pen.lineTo(place.x(ends[1][0]), place.y(ends[1][1]));
      pen.stroke();
    }
    pen.globalAlpha = 1;
    pen.setLineDash([]);
  }

  /** Everything that follows the pointer: the lines of the units, the cross, the reading. */
  function drawTop(view) {
    const { pen } = prepared(view.top), place = placing(view.top), colors = theme(), { at } = state;
    pen.save();
    pen.beginPath();
    pen.rect(place.left, place.top, place.side, place.side);
    pen.clip();
    if (state.units) drawUnits(pen, place, view.hidden, colors);
    if (at !== null) {
      for (const [color, width] of [[colors.paper, 4], [colors.ink, 1.5]]) {
        const x = place.x(at.x1), y = place.y(at.x2);
        pen.strokeStyle = color;
        pen.lineWidth = width;
        pen.beginPath();
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          pen.moveTo(x + 5 * dx, y + 5 * dy);
          pen.lineTo(x + 15 * dx, y + 15 * dy);
        }
        pen.stroke();
      }
    }
    pen.restore();
    read(view, colors);
  }

  const decimals = (number) => number.toFixed(2).replace("-", "\u2212");
  const likely = (p) => (p > 0 && p < 0.0005 ? "<0.1%" : p < 1 && p >= 0.9995 ? ">99.9%" : percent(p));

  /** The probabilities at the point, and how many units are on there. */
  function read(view, colors) {
    const { at } = state, { rows, hidden } = view;
    const probabilities = at === null ? null : probabilitiesOf(scoresAt(view.layers, at.x1, at.x2));
    let order = rows.map((_, k) => k);
    if (at !== null && classes > rows.length) {
      order = Array.from(probabilities, (_, k) => k).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    }
    rows.forEach((row, i) => {
      const k = order[i], p = at === null ? 0 : probabilities[k];
      row.querySelector(".class").textContent = at === null && classes > rows.length ? "" : `class ${k}`;
      row.querySelector(".bar").style.width = percent(p);
      row.querySelector(".bar").style.background = colors.classes[k];
      row.querySelector(".share").textContent = at === null ? "" : likely(p);
    });
    const place = at === null ? "Point at the plane to read it" : `At (${decimals(at.x1)}, ${decimals(at.x2)})`;
    const on = at === null ? "" : `${whole(hidden.filter((unit) => isOn(unit, at)).length)} of `;
    const kind = view.layers.length > 2 ? "units of the first hidden layer" : "hidden units";
    const units = hidden.length ? `${on}${whole(hidden.length)} ${kind}${on && " are on"}` : "no hidden units";
    view.where.textContent = `${place}; ${units}.`;
    const shares = at === null ? [] : order.slice(0, rows.length).map((k) => `class ${k} ${likely(probabilities[k])}`);
    view.reading = shares.join(", ");
  }

  /* ---- The loss curve: iterations on a square-root scale, as much happens early ---- */

  function curveScales(view) {
    const { curve, iterations } = view.model, { left, right, top, bottom } = CURVE_MARGIN;
    const width = view.curve.clientWidth - left - right, height = view.curve.clientHeight - top - bottom;
    const high = curve.loss.reduce((a, b) => Math.max(a, b));
    const positive = curve.loss.filter((loss) => loss > 0);
    const low = positive.length ? positive.reduce((a, b) => Math.min(a, b)) : 1;
    const logarithmic = high > 30 * low;
    const from = logarithmic ? Math.log10(Math.max(low, high * 1e-9)) : 0;
    const to = logarithmic ? Math.log10(high) : high * 1.05 || 1;
    const share = (loss) => ((logarithmic ? Math.log10(Math.max(loss, 10 ** from)) : loss) - from) / (to - from);
    return {
      x: (iteration) => left + width * Math.sqrt(iteration / iterations),
      y: (loss) => top + height * (1 - share(loss)),
      permille: (x) => 1000 * Math.min(1, Math.max(0, (x - left) / width)) ** 2,
      left, width, top, height, from, to, logarithmic,
    };
  }

  /** Numbers for the axis of losses: powers of ten, or steps of 1, 2 or 5. */
  function lossTicks({ from, to, logarithmic }) {
    if (logarithmic) {
      const first = Math.ceil(from - 1e-9), last = Math.floor(to + 1e-9);
      const step = Math.max(1, Math.ceil((last - first) / 3));
      const powers = [];
      for (let power = first; power <= last; power += step) powers.push(10 ** power);
      return powers;
    }
    const power = 10 ** Math.floor(Math.log10(to / 2));
    const step = power * [5, 2, 1].find((factor) => 2 * factor * power <= to);
    return [0, 1, 2, 3, 4].map((i) => Number((i * step).toPrecision(3))).filter((value) => value <= to);
  }

  function drawCurve(view) {
    const { pen, width } = prepared(view.curve), colors = theme(), scales = curveScales(view);
    const { curve, iterations } = view.model;
    const bottom = scales.top + scales.height;
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const loss of lossTicks(scales)) {
      const y = Math.round(scales.y(loss)) + 0.5;
      pen.strokeStyle = colors.faint;
      pen.beginPath();
      pen.moveTo(scales.left, y);
      pen.lineTo(scales.left + scales.width, y);
      pen.stroke();
      pen.fillStyle = colors.ink;
      const label = isPlain(loss) ? loss.toLocaleString("en-US") : loss.toExponential(0).replace("e+", "e");
      pen.fillText(label, scales.left - 6, y);
    }
    pen.textBaseline = "top";
    pen.textAlign = "center";
    let free = -Infinity;
    for (const share of [0, 0.01, 0.1, 0.25, 0.5, 1]) {
      const iteration = Math.round(share * iterations), text = whole(iteration), half = pen.measureText(text).width / 2;
      const x = Math.min(scales.x(iteration), width - half);
      const last = share < 1 && x + half > scales.left + scales.width - pen.measureText(whole(iterations)).width - 8;
      if (x - half < free || last) continue; // letters would touch
      free = x + half + 8;
      pen.fillText(text, x, bottom + 5);
    }
    pen.fillText("iteration (square-root scale)", scales.left + scales.width / 2, bottom + 19);
    pen.strokeStyle = colors.ink;
    pen.lineWidth = 1.3;
    pen.lineJoin = "round";
    pen.beginPath();
    curve.iteration.forEach((iteration, i) => pen.lineTo(scales.x(iteration), scales.y(curve.loss[i])));
    pen.stroke();
    const moment = view.model.moments[view.moment], x = scales.x(moment.iteration);
    pen.strokeStyle = pen.fillStyle = colors.unit;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(x, scales.top);
    pen.lineTo(x, bottom);
    pen.stroke();
    pen.beginPath();
    pen.arc(x, scales.y(moment.loss), 5, 0, 2 * Math.PI);
    pen.fill();
  }

  /* ---- The training, dragged, played, and moved by keys ---- */

  /** The slider has the curves' square-root scale, so that a hand's breadth is as much change early as late. */
  function goTo(permille) {
    state.permille = Math.min(1000, Math.max(0, permille));
    slider.value = Math.round(Math.sqrt(1000 * state.permille));
    part.textContent = percent(state.permille / 1000);
    views.forEach(show);
    const told = views.map(
      ({ model, iteration, loss }) => `${model.title}: iteration ${iteration.textContent}, loss ${loss.textContent}`,
    );
    slider.setAttribute("aria-valuetext", [`${part.textContent} of the training`, ...told].join("; "));
    schedule();
  }

  /** Some kept moments on or back. */
  function step(moments) {
    const here = stops.findIndex((stop) => stop >= state.permille - 1e-9);
    const between = stops[here] > state.permille + 1e-9 && moments > 0; // the next kept one is itself a step
    goTo(stops[Math.min(stops.length - 1, Math.max(0, here + moments - (between ? 1 : 0)))]);
  }

  const STEPS = { ArrowRight: 1, ArrowUp: 1, PageUp: 5, ArrowLeft: -1, ArrowDown: -1, PageDown: -5 };
  Object.assign(STEPS, { Home: -Infinity, End: Infinity });
  slider.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault(); // else an arrow would move by a thousandth, and to most of those belongs no moment
    pause();
    step(STEPS[event.key]);
  });
  slider.addEventListener("input", () => {
    pause();
    goTo(Math.round(slider.value ** 2 / 1000));
  });

  function pause() {
    clearTimeout(state.timer);
    state.timer = null;
    play.textContent = "Play";
  }

  function playOn() {
    if (state.permille >= 1000) {
      pause();
      return;
    }
    step(1);
    const slow = matchMedia("(prefers-reduced-motion: reduce)").matches;
    state.timer = setTimeout(playOn, slow ? SLOW_FRAME : FRAME);
  }

  play.addEventListener("click", () => {
    if (state.timer !== null) {
      pause();
      return;
    }
    play.textContent = "Pause";
    if (state.permille >= 1000) goTo(0);
    state.timer = setTimeout(playOn, FRAME);
  });

  views.forEach((view) => {
    const drag = (event) => {
      pause();
      goTo(Math.round(curveScales(view).permille(event.offsetX)));
    };
    view.curve.addEventListener("pointerdown", (event) => {
      view.curve.setPointerCapture(event.pointerId);
      drag(event);
    });
    view.curve.addEventListener("pointermove", (event) => {
      if (view.curve.hasPointerCapture(event.pointerId)) drag(event);
    });
  });

  /* ---- The reading at a point: one point for all models ---- */

  function point(x1, x2) {
    const inside = (value) => Math.min(data.limit, Math.max(-data.limit, value));
    state.at = { x1: inside(x1), x2: inside(x2) };
    schedule();
  }

  const MOVES = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  let speaking = 0;
  views.forEach((view) => {
    const follow = (event) => {
      const place = placing(view.top);
      point(place.x1(event.offsetX), place.x2(event.offsetY));
    };
    view.top.addEventListener("pointerdown", follow);
    view.top.addEventListener("pointermove", follow);
    view.top.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        state.at = null;
        schedule();
      }
      if (!(event.key in MOVES)) return;
      event.preventDefault();
      const [right, up] = MOVES[event.key], far = (data.limit / 50) * (event.shiftKey ? 5 : 1), { at } = state;
      point(at === null ? 0 : at.x1 + right * far, at === null ? 0 : at.x2 + up * far);
      clearTimeout(speaking); // spoken when the keys rest, and only what was asked for by keys
      speaking = setTimeout(() => {
        spoken.textContent = `${view.model.title}. ${view.where.textContent} ${view.reading}`;
      }, SPEAK_AFTER);
    });
  });

  unitsBox?.addEventListener("change", () => {
    state.units = unitsBox.checked;
    schedule();
  });

  /* ---- Legend, and everything anew when the size, the colours or the screen change ---- */

  function drawLegend() {
    const colors = theme();
    section.querySelectorAll(".legend canvas").forEach((canvas) => {
      const { pen, width, height } = prepared(canvas), k = canvas.dataset.class;
      if (k === undefined) {
        pen.strokeStyle = colors.ink;
        pen.fillStyle = colors.paper;
        pen.lineWidth = 1.6;
        pen.beginPath();
        pen.arc(width / 2, height / 2, 4, 0, 2 * Math.PI);
        pen.fill();
        pen.stroke();
      } else drawMarker(pen, Number(k), colors.classes[k], width / 2, height / 2, 9, colors.paper, 0.6);
    });
  }

  function redraw() {
    drawLegend();
    views.forEach(refresh);
  }

  goTo(1000);
  drawLegend();
  const sizes = new ResizeObserver(redraw);
  views.forEach((view) => sizes.observe(view.base));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let ratio = window.devicePixelRatio;
  window.addEventListener("resize", () => {
    if (window.devicePixelRatio !== ratio) redraw(); // moved to another screen, or zoomed
    ratio = window.devicePixelRatio;
  });

  /* For the console, and for the test that compares with NumPy. */
  window.explorer = {
    models: data.models.map((model) => model.name),
    moments: (name) => data.models.find((model) => model.name === name).moments,
    probabilities(name, moment, x1, x2) {
      const layers = layersOf(data.models.find((model) => model.name === name), moment);
      return x1.map((value, i) => probabilitiesOf(scoresAt(layers, value, x2[i])));
    },
  };
})();
