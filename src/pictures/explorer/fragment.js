/*
 * fragment.js: the state in the address's fragment, so that it can be sent.
 */
const FLAGS = ["units", "test"];

/** The state as a fragment; what is as the page opens is left out. */
function fragment() {
  const parts = changed().map(([key, value]) => `${key}=${plainNumber(value)}`);
  if (state.head !== lastIteration()) parts.push(`iteration=${state.head}`);
  if (state.chosenByHand) parts.push(`point=${state.chosen}`);
  if (state.unit !== null) parts.push(`unit=${state.unit}`);
  FLAGS.filter((flag) => state[flag]).forEach((flag) => parts.push(`${flag}=1`));
  return parts.join("&");
}

let writing = 0;
/** Writes the fragment, now and then: browsers do not allow it more often. */
function writeFragment() {
  if (writing) return;
  writing = setTimeout(() => {
    writing = 0;
    const text = fragment();
    if (text === location.hash.slice(1)) return;
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }, 400);
}

/** Sets the page to what the fragment says; what it does not name is as the page opens. */
function readFragment() {
  const named = new URLSearchParams(location.hash.slice(1));
  const values = {};
  for (const [key, text] of named) if (key in given.ranges) values[key] = Number(text);
  if (given.engine) setParameters(values, given.params);
  for (const flag of FLAGS) state[flag] = named.get(flag) === "1";
  const point = Number(named.get("point") ?? NaN);
  const unit = Number(named.get("unit") ?? NaN);
  if (Number.isInteger(point) && point >= 0 && point < sets.total) choosePoint(point);
  if (Number.isInteger(unit)) openTab("tab-unit");
  state.unit = Number.isInteger(unit) ? unit : null;
  const iteration = Number(named.get("iteration") ?? lastIteration());
  goTo(Number.isFinite(iteration) ? iteration : lastIteration());
}
