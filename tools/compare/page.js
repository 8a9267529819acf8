// The setting under the pointer, in a chart, a picture, the keys or the table, is highlighted
// everywhere. A chosen one stays highlighted, and is shown at the bottom with the command that
// restores it.
const marked = [...document.querySelectorAll("[data-settings]")];
const panel = document.getElementById("chosen");
let chosen = null; // key of a setting

function keysOf(element) {
  return element.dataset.settings.split(" ");
}

function bringOut(key) {
  for (const section of document.querySelectorAll("section")) {
    const own = [...section.querySelectorAll("[data-settings]")];
    section.classList.toggle("pointed", own.some((element) => keysOf(element).includes(key)));
  }
  for (const element of marked) {
    element.classList.toggle("on", keysOf(element).includes(key));
  }
}

function choose(key) {
  chosen = key;
  bringOut(key);
  for (const button of document.querySelectorAll("[aria-pressed]")) {
    button.setAttribute("aria-pressed", String(button.dataset.settings === key));
  }
  panel.hidden = key === null;
  const details = document.getElementById("details");
  details.replaceChildren();
  if (key !== null) {
    const template = document.querySelector(`[data-details="${key}"]`);
    details.append(template.content.cloneNode(true));
  }
}

async function copy(button) {
  const code = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  } catch {
    getSelection().selectAllChildren(code); // no clipboard here: it is ready to be copied
  }
}

// A line in a chart is thin: a broad, invisible one around it catches the pointer.
function widen(group) {
  for (const path of group.querySelectorAll(":scope > path")) {
    const reach = path.cloneNode();
    reach.setAttribute("class", "reach");
    reach.style.setProperty("stroke-width", "12", "important");
    group.append(reach);
  }
  for (const use of group.querySelectorAll("use")) {
    const reach = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    reach.setAttribute("class", "reach");
    reach.setAttribute("cx", use.getAttribute("x"));
    reach.setAttribute("cy", use.getAttribute("y"));
    reach.setAttribute("r", "9");
    group.append(reach);
  }
}

document.querySelectorAll(".chart [data-settings]").forEach(widen);

for (const event of ["pointerover", "focusin"]) {
  document.addEventListener(event, ({ target }) => {
    const element = target.closest("[data-settings]");
    bringOut(element ? keysOf(element)[0] : chosen);
  });
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button.copy");
  if (button) {
    copy(button);
    return;
  }
  const element = target.closest("[data-settings]");
  if (element && !target.closest(".get")) {
    const [key] = keysOf(element);
    choose(key === chosen ? null : key);
  }
});

document.getElementById("close").addEventListener("click", () => choose(null));
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") choose(null);
});
