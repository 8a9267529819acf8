/*
 * palette.js: colours, markers and sizes of points, as pictures/palette.py has them for the
 * figures: here they are needed for data that the page makes itself.
 */
const PANEL = 315; // points (1/72 inch): width of a panel of the figures, for which sizes are given

/** Every how many of so many points one is drawn. */
const thinning = (count) => Math.ceil(count / 3000);

/** Area of a point's marker, square points: smaller where many points are drawn. */
function markerArea(count) {
  const { largest: most, smallest } = given.palette;
  return Math.min(most, Math.max(smallest, (most * 600 * thinning(count)) / count));
}

/** [red, green, blue] of each class, from 0 to 1; beyond the palette it begins again, lighter. */
function classColors(classes) {
  const { colors } = given.palette;
  return Array.from({ length: classes }, (_, k) => {
    const hex = Number.parseInt(colors[k % colors.length].slice(1), 16);
    const lighter = Math.floor(k / colors.length) / (1 + Math.floor((classes - 1) / colors.length));
    return [hex >> 16, (hex >> 8) & 255, hex & 255].map(
      (part) => part / 255 + (1 - part / 255) * lighter,
    );
  });
}

/** Half the width of a square around the origin that holds every point, with a margin. */
const halfWidth = (points) => 1.1 * points.X.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

const cssColor = (rgb) => `rgb(${rgb.map((part) => Math.round(255 * part)).join(" ")})`;

/** A colour of the theme, which is rgb(...), so much opaque. */
function withAlpha(color, alpha) {
  const parts = color.match(/[\d.]+/g).slice(0, 3);
  return `rgb(${parts.join(" ")} / ${alpha})`;
}

let knownTheme = null; // reading styles takes time, and a picture asks often

/** The colours of the page, light or dark; `rgb` is the paper as numbers. */
function theme() {
  knownTheme ??= readTheme();
  return knownTheme;
}

/** Has the colours read again: they, or the number of classes, have changed. */
function forgetTheme() {
  knownTheme = null;
}

function readTheme() {
  const style = getComputedStyle(section);
  const names = ["paper", "ink", "line", "unit", "faint", "muted", "ghost"];
  const named = Object.fromEntries(
    names.map((name) => [name, style.getPropertyValue(`--${name}`)]),
  );
  const rgb = named.paper
    .match(/[\d.]+/g)
    .slice(0, 3)
    .map(Number);
  const dark = rgb[0] < 128; // there points would drown: regions are dimmer, points lighter
  const raw = classColors(sets.training.classes);
  const lighter = (color) => cssColor(color.map((part) => (dark ? 0.75 * part + 0.25 : part)));
  return { ...named, rgb, dark, raw, classes: raw.map(lighter), dim: dark ? 0.7 : 1 };
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
  else if (marker === "P") polygon(...cross(0));
  else if (marker === "X") polygon(...cross(0.5));
  else if (marker === "*") polygon(...star());
  else path.arc(0, 0, 0.5, 0, 2 * Math.PI);
  return path;
}

/** The twelve corners of a cross, turned by a part of a right angle. */
function cross(turn) {
  const a = 0.19;
  const b = 0.57; // half the width and half the length of an arm
  const arm = [
    [a, a],
    [b, a],
    [b, -a],
  ];
  return [0, 1, 2, 3].flatMap((k) => {
    const angle = (-(k + turn) * Math.PI) / 2;
    const cos = Math.cos(angle);
    const sin = Math.sin(angle);
    return arm.map(([x, y]) => [x * cos - y * sin, x * sin + y * cos]);
  });
}

function star() {
  return Array.from({ length: 10 }, (_, i) => {
    const radius = i % 2 ? 0.28 : 0.66;
    const angle = (i * Math.PI) / 5;
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  });
}

const shapes = given.palette.markers.map(shape);
