// Write data/MODEL/weights.json as text, as Python does, and compute the MD5 of a text.

// Return a number as Python's `repr` writes it: the same digits, in another form.
function pythonRepr(x) {
  if (Number.isNaN(x)) return "nan";
  if (x === Infinity) return "inf";
  if (x === -Infinity) return "-inf";
  const sign = x < 0 || Object.is(x, -0) ? "-" : "";
  const [mantissa, power] = Math.abs(x).toExponential().split("e");
  const digits = mantissa.replace(".", "");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) return sign + scientific(digits, exponent);
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const padded = digits.padEnd(exponent + 2, "0");
  return `${sign}${padded.slice(0, exponent + 1)}.${padded.slice(exponent + 1)}`;
}

function scientific(digits, exponent) {
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
  const power = String(Math.abs(exponent)).padStart(2, "0");
  return `${digits[0]}${fraction}e${exponent < 0 ? "-" : "+"}${power}`;
}

// Return data/MODEL/weights.json of these weights.
function weightsJson(weights) {
  const parts = [];
  for (const name in weights) {
    const columns = weights[name.replace("W", "b")].length; // of W2 as many as b2 has
    const rows = [];
    for (let i = 0; i < weights[name].length; i += columns) {
      const row = Array.from(weights[name].subarray(i, i + columns), pythonRepr);
      rows.push(`[${row.join(", ")}]`);
    }
    parts.push(`"${name}": ${name.startsWith("W") ? `[${rows.join(", ")}]` : rows[0]}`);
  }
  return `{${parts.join(", ")}}\n`;
}

const MD5_SHIFTS = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
const MD5_SINES = Array.from({ length: 64 }, (_, i) => {
  const [sine] = sinCosRounded(i + 1);
  return Math.floor(Math.abs(sine) * 4294967296) | 0;
});

// Return the MD5 of a text, in hexadecimal (RFC 1321). Browsers have none of their own.
function md5(text) {
  const message = new TextEncoder().encode(text);
  const padded = new Uint8Array(Math.ceil((message.length + 9) / 64) * 64);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(message.length) * 8n, true);
  const state = [0x67452301, 0xefcdab89 | 0, 0x98badcfe | 0, 0x10325476];
  for (let start = 0; start < padded.length; start += 64) md5Block(state, view, start);
  const digest = new DataView(new ArrayBuffer(16));
  state.forEach((word, i) => digest.setInt32(4 * i, word, true));
  const bytes = Array.from(new Uint8Array(digest.buffer));
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function md5Block(state, view, start) {
  let [a, b, c, d] = state;
  for (let i = 0; i < 64; i++) {
    const [mixed, word] = md5Mix(i, b, c, d);
    const sum = (a + mixed + MD5_SINES[i] + view.getInt32(start + 4 * word, true)) | 0;
    const shift = MD5_SHIFTS[i >> 4][i & 3];
    [a, d, c] = [d, c, b];
    b = (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0;
  }
  [a, b, c, d].forEach((word, i) => {
    state[i] = (state[i] + word) | 0;
  });
}

// Return the mixing function of step i, and the word of the block that it adds.
function md5Mix(i, b, c, d) {
  if (i < 16) return [(b & c) | (~b & d), i];
  if (i < 32) return [(d & b) | (~d & c), (5 * i + 1) % 16];
  if (i < 48) return [b ^ c ^ d, (3 * i + 5) % 16];
  return [c ^ (b | ~d), (7 * i) % 16];
}
