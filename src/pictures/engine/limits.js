// Refuse parameters that are too large to train in a browser.

const MOST_POINTS = 50_000; // training or test points
const MOST_PRODUCTS = 20_000_000; // points times weights: an iteration takes some 50 ms
const MOST_WORK = 1e12; // points times weights times iterations: some 40 minutes
const MOST_RECORDED = 1_000_000; // points of a curve

// Return, in a sentence, why these parameters are too large to train in a browser; null if not.
function whyTooLarge(params) {
  const { classes, points_per_class: pointsPerClass } = params.generate;
  const points = classes * pointsPerClass;
  const testPoints = classes * params.evaluate.points_per_class;
  if (points > MOST_POINTS) return tooMany("training points", points, MOST_POINTS);
  if (testPoints > MOST_POINTS) return tooMany("test points", testPoints, MOST_POINTS);
  for (const name in MODELS) {
    const section = params[`train_${name}`];
    const weights = MODELS[name].weightCount(classes, section);
    const products = weights * Math.max(points, testPoints / 10);
    const work = products * section.iterations;
    const curve = section.iterations / section.record_every;
    if (products > MOST_PRODUCTS) return tooMany("points times weights", products, MOST_PRODUCTS);
    if (work > MOST_WORK) return tooMany("points times weights times iterations", work, MOST_WORK);
    if (curve > MOST_RECORDED) return tooMany("points of the curve", curve, MOST_RECORDED);
  }
  return null;
}

function tooMany(what, count, most) {
  const [asked, limit] = [count, most].map((value) => Math.round(value).toLocaleString("en"));
  return `This page can train with at most ${limit} ${what}, not ${asked}; dvc exp run can.`;
}
