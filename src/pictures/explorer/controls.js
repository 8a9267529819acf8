/*
 * controls.js: boxes and sliders of the parameters, and the button that copies the line for DVC.
 */
const SCALES = {
  // of the sliders; numbers typed may be whatever params.yaml allows
  "generate.noise": { from: 0, to: 1, step: 0.01 },
  "generate.points_per_class": { from: 10, to: 500, step: 10 },
  "generate.classes": { from: 2, to: 8, step: 1 },
  learning_rate: { from: 0.01, to: 10, digits: 2, log: true },
  l2: { from: 1e-5, to: 1, digits: 1, log: true, zero: true },
  hidden_units: { from: 1, to: 300, digits: 2, log: true, whole: true },
};
const scaleOf = (key) => SCALES[key] ?? SCALES[key.split(".")[1]];

/** A value as the nearest multiple of a step; six digits hide that a step is no binary fraction. */
const roundTo = (step, value) => Number((Math.round(value / step) * step).toPrecision(6));

/** A value for a slider's place, from 0 to 1, in round numbers. */
function valueAt(scale, share) {
  if (!scale.log) return roundTo(scale.step, scale.from + share * (scale.to - scale.from));
  if (scale.zero && share === 0) return 0;
  const value = Number((scale.from * (scale.to / scale.from) ** share).toPrecision(scale.digits));
  return scale.whole ? Math.round(value) : value;
}

function shareAt(scale, value) {
  const { from, to } = scale;
  const share = scale.log
    ? Math.log(Math.max(value, from) / from) / Math.log(to / from)
    : (value - from) / (to - from);
  return Math.min(1, Math.max(0, share));
}

function showParameters() {
  for (const control of findAll(".control")) {
    const key = control.dataset.key;
    const value = valueOf(key);
    const [box, range] = control.querySelectorAll("input");
    if (document.activeElement !== box || Number(box.value) !== value)
      box.value = plainNumber(value);
    box.removeAttribute("aria-invalid");
    if (range) {
      const scale = scaleOf(key);
      if (valueAt(scale, range.value / 1000) !== value) {
        range.value = Math.round(1000 * shareAt(scale, value));
      }
      range.setAttribute("aria-valuetext", plainNumber(value));
    }
    control.classList.toggle("changed", value !== valueOf(key, given.params));
  }
  const differ = changed().length > 0;
  find(".reset").disabled = !differ;
  setText(find(".command code"), commandLine());
}

function listenToControls() {
  for (const control of findAll(".control")) {
    const key = control.dataset.key;
    const [box, range] = control.querySelectorAll("input");
    box.addEventListener("change", () => {
      const taken = box.value !== "" && setParameters({ [key]: Number(box.value) });
      if (box.value === "") tellRefusal(refusal(key, NaN));
      box.toggleAttribute("aria-invalid", !taken);
    });
    range?.addEventListener("input", () =>
      setParameters({ [key]: valueAt(scaleOf(key), range.value / 1000) }),
    );
  }
  find(".controls").addEventListener("submit", (event) => event.preventDefault());
  find(".reset").addEventListener("click", () => setParameters({}, given.params));
  find(".copy").addEventListener("click", copyCommand);
}

async function copyCommand() {
  const message = find(".copied");
  try {
    await navigator.clipboard.writeText(commandLine());
    message.textContent = "Copied";
  } catch {
    // some browsers have no clipboard for a page from disk
    getSelection().selectAllChildren(find(".command code"));
    message.textContent = "Selected: now copy it";
  }
  setTimeout(() => (message.textContent = ""), 3000);
}
