/*
 * words.js: formats numbers for people, and for params.yaml.
 */
const MINUS = "\u2212";
const whole = (value) => Math.round(value).toLocaleString("en-US");
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const isPlain = (value) => value === 0 || (value >= 0.001 && value < 10000);
const rounded = (loss) => (isPlain(loss) ? loss.toPrecision(4) : loss.toExponential(2));
const decimals = (value, places = 2) => value.toFixed(places).replace("-", MINUS);

/** A probability, never shown as 0% or 100% unless it is. */
function likely(p) {
  if (p > 0 && p < 0.0005) return "<0.1%";
  if (p < 1 && p >= 0.9995) return ">99.9%";
  return percent(p);
}

/** A number of a gradient in few letters, with its sign. */
function signed(value, digits = 2) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 0.0001 && size < 10000 ? plainDigits(size, digits) : size.toExponential(1);
  return `${value < 0 ? MINUS : ""}${text.replace("e-", `e${MINUS}`)}`;
}

/** A number between 0.0001 and 10000 with so many significant digits, without a power of ten. */
function plainDigits(size, digits) {
  const before = Math.max(0, Math.floor(Math.log10(size)) + 1);
  const leading = size < 1 ? Math.floor(-Math.log10(size)) : 0;
  return size.toFixed(Math.max(0, digits + leading - before + (size < 1 ? 0 : 1)));
}

/** A value of a parameter as it is written in params.yaml and on a command line. */
function plainNumber(value) {
  if (value !== 0 && Math.abs(value) < 1e-6) return value.toExponential();
  return String(value);
}
