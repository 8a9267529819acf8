/*
 * parameters.js: the parameters on the screen, what differs from params.yaml, and the line for DVC.
 */
const valueOf = (key, params = state.params) =>
  key.split(".").reduce((part, name) => part[name], params);

/** What is wrong with a value of a parameter, or nothing. */
function refusal(key, value) {
  const { low, high, above, whole: isWhole } = given.ranges[key];
  const kind = isWhole ? "a whole number" : "a number";
  const fits = Number.isFinite(value) && (above ? value > low : value >= low) && value <= high;
  if (fits && (!isWhole || Number.isInteger(value))) return "";
  return `${key} must be ${kind} ${above ? `above ${low}, to` : `from ${low} to`} ${high}.`;
}

/** The parameters that differ from params.yaml, as pairs. */
function changed() {
  return Object.keys(given.ranges)
    .filter((key) => valueOf(key) !== valueOf(key, given.params))
    .map((key) => [key, valueOf(key)]);
}

/** The line that makes `dvc` compute what is on the screen. */
function commandLine() {
  return [
    "dvc exp run",
    ...changed().map(([key, value]) => `-S ${key}=${plainNumber(value)}`),
  ].join(" ");
}

/** Takes values of parameters by key, all others as they were; whether they were taken. */
function setParameters(values, others = state.params) {
  const params = structuredClone(others);
  for (const [key, value] of Object.entries(values)) {
    const reason = refusal(key, value);
    if (reason) {
      tellRefusal(reason);
      return false;
    }
    const [part, name] = key.split(".");
    params[part][name] = value;
  }
  const reason = Engine.whyTooLarge(params) ?? "";
  tellRefusal(reason);
  if (reason) return false;
  const same = JSON.stringify(params) === JSON.stringify(state.params);
  state.params = params;
  showParameters();
  if (!same) startTraining();
  return true;
}

function tellRefusal(reason) {
  const refused = find(".refused");
  if (refused) setText(refused, reason);
}
