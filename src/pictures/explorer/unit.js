/*
 * unit.js: the panel that describes the chosen line: one hidden unit, or several that share it.
 */

const unitView = () => views.find((view) => view.lines.length > 0);

function chooseLine(line) {
  state.unit = line.key;
  setUnits(true);
  openTab("tab-unit");
  schedule();
}

function setUnits(on) {
  state.units = on;
  find(".show-units").checked = on;
}

/** The stronger or the weaker neighbour of the chosen line. */
function moveLine(by) {
  const view = unitView();
  if (!view) return;
  const here = view.lines.indexOf(chosenLine(view));
  chooseLine(view.lines[here < 0 ? 0 : Math.min(view.lines.length - 1, Math.max(0, here + by))]);
}

function showUnit() {
  if (find("#panel-unit").hidden) return;
  const view = unitView();
  const line = view && chosenLine(view);
  const parts = {
    title: find(".unit-title"),
    line: find(".unit-line"),
    members: find(".unit-members"),
  };
  find(".unit-chosen").hidden = !line;
  if (!line) {
    parts.title.textContent = view
      ? "Choose a unit in the diagram, by its line, or with the buttons."
      : "No hidden unit has its line here: each is on everywhere, or off everywhere.";
    parts.line.textContent = parts.members.textContent = "";
    find(".pushes").replaceChildren();
    return;
  }
  const rank = view.lines.indexOf(line) + 1;
  const count = line.units.length;
  const units = count === 1 ? "one unit" : `${whole(count)} units lie on it`;
  parts.title.textContent = `Line ${rank} of ${view.lines.length}: ${units}.`;
  const [n1, n2] = [Math.cos(line.angle), Math.sin(line.angle)];
  const second = `${n2 < 0 ? MINUS : "+"} ${Math.abs(n2).toFixed(2)} x\u2082`;
  const sum = `${decimals(n1)} x\u2081 ${second}`;
  parts.line.textContent = `On, and shaded, where ${sum} > ${decimals(line.distance)}.`;
  showPushes(line);
  const indices = line.units.map((unit) => unit.index).sort((a, b) => a - b);
  const named = indices.slice(0, 24).join(", ");
  const plural = count === 1 ? "Hidden unit" : "Hidden units";
  const more = count > 24 ? " \u2026" : "";
  parts.members.textContent = `${plural} ${named}${more} of the columns of W.`;
}

/** Bars: what the units add to every score, a tenth further into the side that is on. */
function showPushes(line) {
  const colors = theme();
  const most = Math.max(...line.push.map(Math.abs)) || 1;
  find(".pushes").replaceChildren(
    ...Array.from(line.push.slice(0, 8), (push, k) => {
      const bar = element("span", "bar");
      const half = (50 * Math.abs(push)) / most;
      const left = push < 0 ? 50 - half : 50;
      bar.style.cssText = `left: ${left}%; width: ${half}%; background: ${colors.classes[k]}`;
      const amount = `${push > 0 ? "+" : ""}${signed(push / 10)}`;
      return element(
        "li",
        "",
        element("span", "class", `class ${k}`),
        element("span", "track", bar),
        element("span", "amount", amount),
      );
    }),
  );
}

find(".previous-unit").addEventListener("click", () => moveLine(-1));
find(".next-unit").addEventListener("click", () => moveLine(1));
afterDrawing.push(showUnit);
