/*
 * lesson.js: the path of five questions. Each sets the case study's parameters, and what differs.
 */
const questions = findAll(".question");
const numbers = findAll(".questions button");

function openQuestion(index) {
  questions.forEach((question, i) => (question.hidden = i !== index));
  numbers.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
}

/** Sets the page to what a question is about. */
function setUp({ params = {}, iteration, play_to: until, units = false, network = false, point }) {
  pause();
  state.unit = null;
  setUnits(units);
  openTab(network ? "tab-unit" : "tab-point");
  if (!setParameters(params, given.caseStudy)) return;
  if (state.show !== "both") showModels("both");
  if (point !== undefined) choosePoint(point);
  goTo(iteration);
  if (until) play(until);
}

numbers.forEach((button, i) => button.addEventListener("click", () => openQuestion(i)));
questions.forEach((question, i) => {
  question.querySelector(".set").addEventListener("click", () => setUp(given.questions[i]));
});
