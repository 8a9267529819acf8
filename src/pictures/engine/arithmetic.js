// The arithmetic of src/portable/arithmetic.py: sums in the same order, exp and log of the same
// operations. JavaScript's `+ - * /` are those of IEEE 754, and an engine may neither reorder them
// nor contract a product and a sum to one operation. `Math.exp`, `Math.log` and `Math.sin` are not
// the same everywhere, and are not used.

const SHORT_SUM = 8; // terms; a sum of at most so many is taken one term after another
const PAIRWISE_BLOCK = 128; // terms; a longer sum is the sum of its two halves

// Return the order of a pairwise sum of so many terms. Three numbers for each block of at most 128
// terms: its first term, the one after its last, and how many pairs of sums are added after it.
function pairwiseBlocks(terms) {
  function split(begin, end) {
    if (end - begin <= PAIRWISE_BLOCK) return [[begin, end, 0]];
    const middle = begin + firstHalf(end - begin);
    const blocks = [...split(begin, middle), ...split(middle, end)];
    blocks[blocks.length - 1][2] += 1;
    return blocks;
  }
  return Int32Array.from(split(0, terms).flat());
}

function firstHalf(terms) {
  const half = Math.floor(terms / 2);
  return half - (half % 8);
}

// Return the sum of an array: NumPy's pairwise sum, halves down to 128 terms, and these in eight
// interleaved parts.
function pairwiseSum(a, begin = 0, end = a.length) {
  const terms = end - begin;
  if (terms > PAIRWISE_BLOCK) {
    const middle = begin + firstHalf(terms);
    return pairwiseSum(a, begin, middle) + pairwiseSum(a, middle, end);
  }
  const whole = begin + terms - (terms % 8);
  let total = -0; // -0 + x is x, also for a zero with a sign
  if (terms >= 8) {
    const part = a.slice(begin, begin + 8);
    for (let m = begin + 8; m < whole; m++) part[(m - begin) % 8] += a[m];
    total = part[0] + part[1] + (part[2] + part[3]);
    total += part[4] + part[5] + (part[6] + part[7]);
  }
  for (let m = whole; m < end; m++) total += a[m];
  return total;
}

// Sums over m of values[m] * columns[m, k], three columns at once, in the order of `matmul`: over
// at most 8 terms one after another, else pairwise. An object of this class knows the number of
// terms, and keeps the sums of blocks that wait for their other half.
class TripleSums {
  constructor(terms) {
    this.isShort = terms <= SHORT_SUM;
    this.blocks = pairwiseBlocks(terms);
    this.waiting = new Float64Array(3 * 64);
  }

  // Set total[offset], total[offset + 1], total[offset + 2].
  //
  // values: the first term is values[first], the next values[first + 1].
  // triples: three columns side by side, the first row at triples[start].
  set(total, offset, values, first, triples, start) {
    const waiting = this.waiting;
    const blocks = this.blocks;
    let level = 0;
    for (let i = 0; i < blocks.length; i += 3) {
      const begin = blocks[i];
      const terms = blocks[i + 1] - begin;
      const whole = this.isShort ? 0 : terms - (terms % 8);
      sumBlock(waiting, level, values, first + begin, triples, start + 3 * begin, terms, whole);
      for (let pairs = blocks[i + 2]; pairs > 0; pairs--) {
        level -= 3;
        waiting[level] += waiting[level + 3];
        waiting[level + 1] += waiting[level + 4];
        waiting[level + 2] += waiting[level + 5];
      }
      level += 3;
    }
    total[offset] = waiting[0];
    total[offset + 1] = waiting[1];
    total[offset + 2] = waiting[2];
  }
}

const parts = new Float64Array(24); // eight parts of three sums

// Set three sums of at most 128 terms: the first `whole` terms in eight interleaved parts.
function sumBlock(sums, offset, values, first, triples, start, terms, whole) {
  let total0 = -0;
  let total1 = -0;
  let total2 = -0;
  if (whole > 0) {
    const end = first + whole;
    for (let j = 0; j < 8; j += 2) {
      let even0 = -0;
      let even1 = -0;
      let even2 = -0;
      let odd0 = -0;
      let odd1 = -0;
      let odd2 = -0;
      for (let m = first + j, t = start + 3 * j; m < end; m += 8, t += 24) {
        const even = values[m];
        even0 += even * triples[t];
        even1 += even * triples[t + 1];
        even2 += even * triples[t + 2];
        const odd = values[m + 1];
        odd0 += odd * triples[t + 3];
        odd1 += odd * triples[t + 4];
        odd2 += odd * triples[t + 5];
      }
      parts[j] = even0;
      parts[j + 1] = odd0;
      parts[8 + j] = even1;
      parts[9 + j] = odd1;
      parts[16 + j] = even2;
      parts[17 + j] = odd2;
    }
    total0 = sumParts(0);
    total1 = sumParts(8);
    total2 = sumParts(16);
  }
  for (let m = whole; m < terms; m++) {
    const value = values[first + m];
    const t = start + 3 * m;
    total0 += value * triples[t];
    total1 += value * triples[t + 1];
    total2 += value * triples[t + 2];
  }
  sums[offset] = total0;
  sums[offset + 1] = total1;
  sums[offset + 2] = total2;
}

function sumParts(offset) {
  const left = parts[offset] + parts[offset + 1] + (parts[offset + 2] + parts[offset + 3]);
  const right = parts[offset + 4] + parts[offset + 5] + (parts[offset + 6] + parts[offset + 7]);
  return left + right;
}

// ln 2 in two parts: the first has 32 bits, so that its product with an exponent is exact.
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;
const PER_LN2 = 1 / (LN2_HIGH + LN2_LOW);

// 1/n! from n = 16 down to 2.
const EXP_SERIES = Float64Array.from({ length: 15 }, (_, i) => 1 / factorial(16 - i));

function factorial(n) {
  return n < 2 ? 1 : n * factorial(n - 1);
}

// Adding and subtracting this rounds to a whole number, halves to the even one, below 2**51.
const ROUNDING = 6755399441055744;

const SMALLEST_POWER = -1022;
const POWERS = powersOfTwo(); // 2**-1022 to 2**1023

function powersOfTwo() {
  const powers = new Float64Array(2046);
  powers[1022] = 1;
  for (let i = 1; i <= 1022; i++) powers[1022 - i] = powers[1023 - i] / 2;
  for (let i = 1; i <= 1023; i++) powers[1022 + i] = powers[1021 + i] * 2;
  return powers;
}

// Return x 2**k; of the two products only the second can round.
function ldexp(x, k) {
  const half = k >> 1;
  return x * POWERS[half - SMALLEST_POWER] * POWERS[k - half - SMALLEST_POWER];
}

// Return e to the power x.
function exp(x) {
  if (x < -746) x = -746;
  if (x > 710) x = 710;
  const k = x * PER_LN2 + ROUNDING - ROUNDING;
  const r = x - k * LN2_HIGH - k * LN2_LOW;
  const c = EXP_SERIES;
  let series = c[0];
  for (let i = 1; i < 15; i++) series = series * r + c[i];
  series = series * r * r + r + 1;
  return ldexp(series, k | 0);
}

// 2/(2n+1) from n = 11 down to 1.
const LOG_SERIES = Float64Array.from({ length: 11 }, (_, i) => 2 / (2 * (11 - i) + 1));

// Return the natural logarithm of x.
function log(x) {
  if (x === 0) return -Infinity;
  if (!(x > 0)) return NaN;
  if (x === Infinity) return Infinity;
  let [f, e] = frexp(x);
  if (f < Math.SQRT1_2) {
    f += f;
    e -= 1;
  }
  f -= 1;
  const s = f / (2 + f);
  const z = s * s;
  let series = LOG_SERIES[0];
  for (let i = 1; i < 11; i++) series = series * z + LOG_SERIES[i];
  const half = 0.5 * f * f;
  return e * LN2_HIGH - (half - (s * (half + z * series) + e * LN2_LOW) - f);
}

const bytes = new DataView(new ArrayBuffer(8));

// Return m and e with x = m 2**e and 0.5 <= m < 1, of a positive x.
function frexp(x) {
  const scale = x < 2.2250738585072014e-308 ? 54 : 0; // a small one has no exponent of its own
  bytes.setFloat64(0, ldexp(x, scale));
  const high = bytes.getUint32(0);
  bytes.setUint32(0, (high & 0x800fffff) | 0x3fe00000);
  return [bytes.getFloat64(0), (high >>> 20) - 1022 - scale];
}

// Correctly rounded logarithm, sine and cosine, for making data. Whole numbers of 1/2**BITS; that
// is 40 digits more than a double has, and then `Number` rounds to the nearest double.
const BITS = 192n;
const UNIT = 1n << BITS;

// Return a finite x, not below zero, as a whole number of 1/2**bits.
function toFixed(x, bits) {
  if (x === 0) return 0n;
  const [mantissa, exponent] = frexp(x);
  const whole = BigInt(ldexp(mantissa, 53));
  const shift = bits + BigInt(exponent - 53);
  return shift >= 0n ? whole << shift : whole >> -shift;
}

function fromFixed(x) {
  return ldexp(Number(x), -Number(BITS));
}

const LN2_FIXED = 2n * inverseSeries(3n, UNIT, 1n); // ln 2 = 2 artanh 1/3

// Return the sum of sign**i / ((2i+1) n**(2i+1)) as a whole number of 1/unit: arctan 1/n with the
// sign -1, artanh 1/n with the sign 1.
function inverseSeries(n, unit, sign) {
  let total = 0n;
  let power = unit / n;
  for (let k = 1n; power !== 0n; k += 2n) {
    total += power / k;
    power = (sign * power) / (n * n);
  }
  return total;
}

// 1/(2n+1) from n = 27 down to 0: with |s| <= 0.1716 the next term is below 2**-140.
const ARTANH_SERIES = Array.from({ length: 28 }, (_, i) => UNIT / BigInt(55 - 2 * i));

// Return the natural logarithm of x, correctly rounded: log m = 2 artanh s, s = (m - 1)/(m + 1).
function logRounded(x) {
  if (x === 0) return -Infinity;
  if (!(x > 0)) return NaN;
  if (x === Infinity) return Infinity;
  let [mantissa, exponent] = frexp(x);
  if (mantissa < Math.SQRT1_2) {
    mantissa *= 2;
    exponent -= 1;
  }
  const m = toFixed(mantissa, BITS);
  const s = ((m - UNIT) << BITS) / (m + UNIT);
  const square = (s * s) >> BITS;
  let sum = 0n;
  for (const coefficient of ARTANH_SERIES) sum = ((sum * square) >> BITS) + coefficient;
  const artanh = (sum * s) >> BITS;
  return fromFixed(BigInt(exponent) * LN2_FIXED + 2n * artanh);
}

const TINY_ANGLE = 1 / 134217728; // 2**-27

// Alternating 1/n!, from the 37th down, for sine (odd n) and cosine (even n).
const SIN_SERIES = Array.from({ length: 19 }, (_, i) => inverseFactorial(37 - 2 * i));
const COS_SERIES = Array.from({ length: 19 }, (_, i) => inverseFactorial(36 - 2 * i));

function inverseFactorial(n) {
  let product = 1n;
  for (let i = 2n; i <= n; i++) product *= i;
  return (n % 4 < 2 ? UNIT : -UNIT) / product;
}

// Return sine and cosine of x radians, correctly rounded: x = q pi/2 + r with |r| <= pi/4, and
// Taylor series.
function sinCosRounded(x) {
  if (!Number.isFinite(x)) return [NaN, NaN];
  if (Math.abs(x) < TINY_ANGLE) return [x, 1]; // other terms are below half of the last bit
  const [, exponent] = frexp(Math.abs(x));
  const bits = BITS + BigInt(Math.max(0, exponent));
  const quarter = halfPi(bits);
  const fixed = toFixed(Math.abs(x), bits);
  const turns = (2n * fixed + quarter) / (2n * quarter);
  const r = (fixed - turns * quarter) >> (bits - BITS);
  const square = (r * r) >> BITS;
  let sineSum = 0n;
  let cosineSum = 0n;
  for (let i = 0; i < 19; i++) {
    sineSum = ((sineSum * square) >> BITS) + SIN_SERIES[i];
    cosineSum = ((cosineSum * square) >> BITS) + COS_SERIES[i];
  }
  const sine = fromFixed((sineSum * r) >> BITS);
  const cosine = fromFixed(cosineSum);
  const quadrants = [[sine, cosine], [cosine, -sine], [-sine, -cosine], [-cosine, sine]];
  const [positive, even] = quadrants[Number(turns % 4n)];
  return [x < 0 ? -positive : positive, even];
}

const halfPis = new Map();

// Return pi/2 as a whole number of 1/2**bits (Machin, 1706): pi/4 = 4 arctan 1/5 - arctan 1/239.
function halfPi(bits) {
  if (!halfPis.has(bits)) {
    const unit = 1n << (bits + 32n);
    const quarter = 4n * inverseSeries(5n, unit, -1n) - inverseSeries(239n, unit, -1n);
    halfPis.set(bits, (2n * quarter) >> 32n);
  }
  return halfPis.get(bits);
}
