/*
 * given.js: the data of the page (the JSON that explorer.py wrote), its points, and its state. Every
 * module after this one may read `given` and `state`.
 */
const section = document.getElementById("explorer");
const given = JSON.parse(document.getElementById("explorer-data").textContent);
const find = (selector) => section.querySelector(selector);
const findAll = (selector) => [...section.querySelectorAll(selector)];

/** Sets the text of an element where it is another one: else the browser lays out the page again. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const doubles = (text) => new Float64Array(bytes(text).buffer);
const wholes = (text) => new Uint32Array(bytes(text).buffer);

/** What is on the screen; the modules change it and then call `schedule` (views.js). */
const state = {
  params: structuredClone(given.params),
  head: 0, // the iteration that is wanted; a model that has fewer stays at its last
  show: "both", // which models a narrow screen shows
  place: null, // {x1, x2} under the pointer or moved by keys
  chosen: null, // index of the training point that goes through the network
  chosenByHand: false, // whether the reader chose it, not the page
  unit: null, // key of the line that is chosen
  bar: null, // index of the hidden unit whose bar is pointed at
  units: false, // whether the lines of the hidden units are drawn
  test: false, // whether the test points are drawn
  before: null, // after one step: the snapshots from before it, by model
};

/** Points as the page keeps them; X holds pairs x1, x2. */
function newPoints(X, y, classes) {
  const count = y.length;
  const x1 = new Float64Array(count);
  const x2 = new Float64Array(count);
  for (let i = 0; i < count; i++) [x1[i], x2[i]] = [X[2 * i], X[2 * i + 1]];
  return { X, x1, x2, y, count, classes };
}

/** The training set and the test set; replaced when a parameter of the data changes. */
const sets = {
  training: newPoints(doubles(given.points.X), bytes(given.points.y), given.classes),
  test: given.test && newPoints(doubles(given.test.X), bytes(given.test.y), given.classes),
  total: given.count, // of the training set: of many, not all are drawn
};
