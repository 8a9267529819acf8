// Uniform random numbers: the stream of NumPy's `RandomState(seed)`.

const STATE_WORDS = 624;
const SHIFT_WORDS = 397;

// MT19937 (Matsumoto and Nishimura, 1998), seeded with one whole number, 0 to 2**32 - 1.
class RandomState {
  constructor(seed) {
    this.words = new Uint32Array(STATE_WORDS);
    this.next = STATE_WORDS;
    this.words[0] = seed;
    for (let i = 1; i < STATE_WORDS; i++) {
      const previous = this.words[i - 1];
      this.words[i] = Math.imul(1812433253, previous ^ (previous >>> 30)) + i;
    }
  }

  // Return a double from 0 to 1, without 1, of 53 random bits: `random_sample()`.
  randomSample() {
    const high = this.word() >>> 5;
    const low = this.word() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  // Return 32 random bits.
  word() {
    if (this.next === STATE_WORDS) {
      this.renew();
      this.next = 0;
    }
    let bits = this.words[this.next];
    this.next += 1;
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    bits ^= bits >>> 18;
    return bits >>> 0;
  }

  renew() {
    const words = this.words;
    for (let i = 0; i < STATE_WORDS; i++) {
      const following = words[(i + 1) % STATE_WORDS];
      const mixed = (words[i] & 0x80000000) | (following & 0x7fffffff);
      const twist = mixed & 1 ? 0x9908b0df : 0;
      words[i] = words[(i + SHIFT_WORDS) % STATE_WORDS] ^ (mixed >>> 1) ^ twist;
    }
  }
}
