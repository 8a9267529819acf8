/*
 * values.js: shows the values that a line of code computes: a number for each class, with its
 * colour, or a bar for each hidden unit.
 */

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...content);
  return made;
}

const MOST_CLASSES = 8; // whose numbers are shown

/** A number for each class, with its colour; after a step also how it was. */
function perClass(numbers, old = null) {
  const colors = theme();
  const shown = numbers.slice(0, MOST_CLASSES);
  const cells = shown.map((value, k) => {
    const swatch = element("i", "swatch");
    swatch.style.background = colors.classes[k];
    const was =
      old && signed(old[k], 3) !== signed(value, 3)
        ? element("span", "was", `${signed(old[k], 3)} \u2192 `)
        : "";
    return element("span", "number", swatch, was, signed(value, 3));
  });
  if (numbers.length > MOST_CLASSES) cells.push(element("span", "number", "\u2026"));
  return cells;
}

/** A matrix of few numbers, row after row. */
const matrix = (rowsOfNumbers) =>
  rowsOfNumbers.map((row) => element("div", "row", ...perClass(row)));

/** A bar for each hidden unit; those that are off are grey. */
function strip(numbers, hidden, label = null) {
  const canvas = element("canvas", "strip");
  canvas.strip = { rows: [numbers], hidden };
  const most = numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute(
    "aria-label",
    `${numbers.length} hidden units${label ? `, ${label}` : ""}, at most ${signed(most)}`,
  );
  return [canvas, element("span", "most", label ?? `\u00b1${signed(most)}`)];
}

/** A strip for each row of a gradient; of many classes the first ones. */
function rows(numbers, hidden, names = null) {
  const canvas = element("canvas", "strip tall");
  const shown = numbers.slice(0, MOST_CLASSES);
  canvas.strip = { rows: shown, hidden, classes: names === null };
  if (shown.length > 4) canvas.style.height = `${0.45 * shown.length}rem`;
  const most = numbers.flat().reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute(
    "aria-label",
    `${numbers.length} rows of ${hidden.length} numbers, at most ${signed(most)}`,
  );
  return [canvas, element("span", "most", `\u00b1${signed(most)}`)];
}

function drawStrips(root) {
  const colors = theme();
  const canvases = [...root.querySelectorAll("canvas.strip")];
  canvases.forEach(sizeOf); // all, before the first one is changed
  canvases.forEach((canvas) => drawStrip(canvas, colors));
}

function drawStrip(canvas, colors) {
  const { rows: numbers, hidden, classes } = canvas.strip;
  const { pen, width, height } = prepared(canvas);
  const most = numbers.flat().reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  const step = width / hidden.length;
  const tall = height / numbers.length;
  const bar = Math.max(1, step * 0.72);
  pen.fillStyle = colors.faint;
  pen.globalAlpha = 0.55;
  hidden.forEach((value, h) => {
    if (!(value > 0)) pen.fillRect(h * step, 0, Math.max(1, step), height); // off
  });
  pen.globalAlpha = 1;
  if (state.bar !== null) {
    pen.fillStyle = colors.unit;
    pen.fillRect(state.bar * step, 0, Math.max(2, step), height);
  }
  numbers.forEach((row, r) => {
    const middle = (r + 0.5) * tall;
    pen.fillStyle = classes ? colors.classes[r] : colors.ink;
    row.forEach((value, h) => {
      const size = (value / most) * (tall / 2 - 0.5);
      if (size !== 0)
        pen.fillRect(h * step, Math.min(middle, middle - size), bar, Math.max(0.8, Math.abs(size)));
    });
    pen.fillStyle = colors.muted;
    pen.globalAlpha = 0.5;
    pen.fillRect(0, middle - 0.25, width, 0.5);
    pen.globalAlpha = 1;
  });
}
