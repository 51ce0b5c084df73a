/**
 * SHA-256 of a file, in hex: the name under which its work is kept. The same as the server's content id.
 *
 * Browsers offer `crypto.subtle` to https and localhost only. A page of a plain http server on another host computes it
 * here.
 */

/** @param {Blob} file @returns {Promise<string>} */
export async function digestOf(file) {
  const bytes = await file.arrayBuffer();
  const digest = globalThis.crypto?.subtle ? await crypto.subtle.digest("SHA-256", bytes) : sha256(new Uint8Array(bytes)).buffer;
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const PRIMES = firstPrimes(64);
const ROUND = Uint32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const START = Uint32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

/** @param {Uint8Array} content @returns {Uint8Array} 32 bytes */
export function sha256(content) {
  const whole = content.length - (content.length % 64);
  const rest = content.length - whole;
  const tail = new Uint8Array(rest < 56 ? 64 : 128);
  tail.set(content.subarray(whole));
  tail[rest] = 0x80;
  const view = new DataView(tail.buffer);
  view.setUint32(tail.length - 8, Math.floor(content.length / 2 ** 29));
  view.setUint32(tail.length - 4, (content.length * 8) >>> 0);
  const hash = START.slice();
  const schedule = new Uint32Array(64);
  blocks(hash, schedule, new DataView(content.buffer, content.byteOffset, whole));
  blocks(hash, schedule, view);
  const result = new DataView(new ArrayBuffer(32));
  hash.forEach((word, index) => result.setUint32(index * 4, word));
  return new Uint8Array(result.buffer);
}

function blocks(hash, w, view) {
  const turn = (word, by) => (word >>> by) | (word << (32 - by));
  for (let start = 0; start < view.byteLength; start += 64) {
    for (let t = 0; t < 16; t++) w[t] = view.getUint32(start + t * 4);
    for (let t = 16; t < 64; t++) {
      const s0 = turn(w[t - 15], 7) ^ turn(w[t - 15], 18) ^ (w[t - 15] >>> 3);
      const s1 = turn(w[t - 2], 17) ^ turn(w[t - 2], 19) ^ (w[t - 2] >>> 10);
      w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let t = 0; t < 64; t++) {
      const s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
      const one = (h + s1 + ((e & f) ^ (~e & g)) + ROUND[t] + w[t]) | 0;
      const s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
      const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, index) => (hash[index] += word));
  }
}

function fraction(root) {
  return Math.floor((root - Math.floor(root)) * 2 ** 32);
}

function firstPrimes(count) {
  const primes = [];
  for (let number = 2; primes.length < count; number++) {
    if (primes.every((prime) => number % prime)) primes.push(number);
  }
  return primes;
}
