/*
 * tabs.js: the panel beside the pictures shows one point, or the network.
 */
const tabs = findAll("[role=tab]");

function openTab(id) {
  for (const tab of tabs) {
    const open = tab.id === id;
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
    find(`#${tab.getAttribute("aria-controls")}`).hidden = !open;
  }
  if (id === "tab-point") state.unit = null;
  schedule();
}

tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => {
    openTab(tab.id);
    if (tab.id === "tab-unit" && state.unit === null) moveLine(0);
  });
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    const other = tabs[1 - i];
    other.focus();
    other.click();
  });
});
