/*
 * time.js: the iteration that is shown: dragged, played, stepped, moved by keys. The slider has the
 * curves' square-root scale, so that a hand's breadth is as much change early as late.
 */
const slider = find("#time-slider");
const headLabel = find(".head");
const playButton = find(".play");
const stepButton = find(".step");
const speedBox = find(".speed select");
const SLOW_FACTOR = 4; // for those who asked their system for less motion
const EVERY = 120; // milliseconds from one iteration to the next, where every one is shown
const player = { timer: 0, began: 0, from: 0, until: Infinity };

const shareOf = (iteration) => Math.sqrt(iteration / lastIteration());
const iterationOf = (share) => Math.round(lastIteration() * share * share);

/** Shows an iteration. */
function goTo(iteration) {
  const { before } = state;
  state.head = Math.min(lastIteration(), Math.max(0, Math.round(iteration)));
  if (before !== null && before.head !== state.head) forgetStep();
  showHead();
  schedule();
  wantExact();
}

function showHead() {
  slider.value = Math.round(1000 * shareOf(state.head));
  setText(headLabel, whole(state.head));
  const atEnd = given.engine && state.head >= lastIteration();
  stepButton.disabled = atEnd;
  stepButton.title = atEnd ? "At the last iteration: go back first" : "One iteration";
  const perModel = views.map((view) => {
    const shown = nearest(view.model, wantedOf(view.model));
    return shown
      ? `${view.model.title}: iteration ${whole(shown.iteration)}, loss ${rounded(shown.loss)}`
      : view.model.title;
  });
  slider.setAttribute("aria-valuetext", [`iteration ${whole(state.head)}`, ...perModel].join("; "));
}

/** Where arrow keys stop: at the pipeline's snapshots of the longest training. */
function stops() {
  const last = lastIteration();
  const iterations = given.engine
    ? given.permilles.map((permille) => Math.floor((permille * last) / 1000))
    : models.flatMap((model) => model.recorded.snapshots.map((snapshot) => snapshot.iteration));
  return [...new Set(iterations)].sort((a, b) => a - b);
}

/** Some stops on or back. */
function move(by) {
  const all = stops();
  const next = all.findIndex((stop) => stop >= state.head);
  const here = next < 0 ? all.length - 1 : next;
  const between = all[here] > state.head && by > 0; // the next one is itself a step
  goTo(all[Math.min(all.length - 1, Math.max(0, here + by - (between ? 1 : 0)))]);
}

const STEPS = { ArrowRight: 1, ArrowUp: 1, PageUp: 5, ArrowLeft: -1, ArrowDown: -1, PageDown: -5 };
Object.assign(STEPS, { Home: -Infinity, End: Infinity });
slider.addEventListener("keydown", (event) => {
  if (!(event.key in STEPS)) return;
  event.preventDefault(); // else an arrow would move by a thousandth of the slider
  pause();
  move(STEPS[event.key]);
});
slider.addEventListener("input", () => {
  pause();
  goTo(iterationOf(slider.value / 1000));
});

/* Playing */

function pause() {
  cancelAnimationFrame(player.timer);
  clearTimeout(player.timer);
  player.timer = 0;
  player.until = Infinity;
  playButton.textContent = "Play";
  playButton.classList.remove("playing");
}

/** Plays on from here to an iteration. */
function play(until = Infinity) {
  pause();
  if (state.head >= Math.min(until, lastIteration())) goTo(0);
  playButton.textContent = "Pause";
  playButton.classList.add("playing");
  player.until = until;
  player.from = shareOf(state.head);
  player.began = performance.now();
  next();
}

function next() {
  const everyIteration = speedBox.value === "0";
  player.timer = everyIteration ? setTimeout(playOn, EVERY) : requestAnimationFrame(playOn);
}

/** The next picture: as far as time has gone, and as far as the training has come. */
function playOn() {
  const end = Math.min(player.until, lastIteration());
  const ready = Math.min(...models.map(readyUpTo));
  const goal = Math.min(end, speedBox.value === "0" ? state.head + 1 : iterationInTime());
  if (goal > ready) {
    // the training is slower than the player, which resumes from where it waits
    player.from = shareOf(Math.max(state.head, ready));
    player.began = performance.now();
  }
  goTo(Math.max(state.head, Math.min(goal, ready)));
  if (state.head >= end) pause();
  else next();
}

/** Up to which iteration the player may go for a model; anywhere, once its training is over. */
const readyUpTo = (model) =>
  model.front >= (model.diverged ?? model.iterations) ? Infinity : model.front;

function iterationInTime() {
  const slow = matchMedia("(prefers-reduced-motion: reduce)").matches ? SLOW_FACTOR : 1;
  const seconds = Number(speedBox.value) * slow;
  return iterationOf(
    Math.min(1, player.from + (performance.now() - player.began) / 1000 / seconds),
  );
}

playButton.addEventListener("click", () => (player.timer ? pause() : play()));
find(".restart").addEventListener("click", () => {
  pause();
  goTo(0);
});
speedBox.addEventListener("change", () => {
  if (player.timer) play(player.until);
});

/* One step: the pictures of before are kept to compare with */

stepButton.addEventListener("click", () => {
  pause();
  if (!given.engine) {
    move(1);
    return;
  }
  const before = Object.fromEntries(views.map((view) => [view.model.name, view.snapshot]));
  state.before = { head: state.head + 1, snapshots: before };
  views.forEach(
    (view) => (view.before = view.field && { path: chainedPath(view.pieces), n: view.field.n }),
  );
  goTo(state.head + 1);
});

function forgetStep() {
  state.before = null;
  views.forEach((view) => (view.before = null));
}

/* The loss curves can be dragged */

views.forEach((view) => {
  const drag = (event) => {
    pause();
    goTo(curveScales(view).iteration(event.offsetX));
  };
  view.curve.addEventListener("pointerdown", (event) => {
    view.curve.setPointerCapture(event.pointerId);
    drag(event);
  });
  view.curve.addEventListener("pointermove", (event) => {
    if (view.curve.hasPointerCapture(event.pointerId)) drag(event);
  });
});

/* The scale under the slider */

let ticksUpTo = null; // the iteration where the scale ends

function drawTicks() {
  const ticks = find(".ticks");
  const last = lastIteration();
  ticksUpTo = last;
  const width = ticks.clientWidth || 1;
  const widthOf = (text) => 7 * text.length + 2;
  const labels = iterationLabels(
    last,
    (iteration) => width * Math.sqrt(iteration / last),
    widthOf,
    Infinity,
  );
  ticks.replaceChildren(
    ...labels.map(({ iteration }) => {
      const tick = document.createElement("span");
      tick.textContent = whole(iteration);
      tick.style.left = `${100 * Math.sqrt(iteration / last)}%`;
      return tick;
    }),
  );
}
