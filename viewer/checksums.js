// XXH3-64 (with a seed) and BLAKE2b-128 (RFC 7693). Numbers of 64 bits are pairs of 32 bits, low before high.

const M64 = (1n << 64n) - 1n;
const P32 = [0x9e3779b1n, 0x85ebca77n, 0xc2b2ae3dn];
const P64 = [0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn, 0x165667b19e3779f9n, 0x85ebca77c2b2ae63n, 0x27d4eb2f165667c5n];
const MX1 = 0x165667919e3779f9n;
const MX2 = 0x9fb21c651e98df25n;
const SECRET = Uint8Array.from(
  (
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e" +
    "e03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d" +
    "8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc" +
    "8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
  ).match(/../g),
  (pair) => parseInt(pair, 16),
);

export const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const SECRET_VIEW = view(SECRET);
const s64 = (at) => SECRET_VIEW.getBigUint64(at, true);
const s32 = (at) => BigInt(SECRET_VIEW.getUint32(at, true));
const fold = (a, b) => {
  const product = a * b;
  return (product & M64) ^ (product >> 64n);
};
const avalanche = (h) => {
  h = ((h ^ (h >> 37n)) * MX1) & M64;
  return h ^ (h >> 32n);
};
const avalanche64 = (h) => {
  h = ((h ^ (h >> 33n)) * P64[1]) & M64;
  h = ((h ^ (h >> 29n)) * P64[2]) & M64;
  return h ^ (h >> 32n);
};
const swap32 = (x) => ((x & 0xffn) << 24n) | ((x & 0xff00n) << 8n) | ((x >> 8n) & 0xff00n) | (x >> 24n);
const swap64 = (x) => (swap32(x & 0xffffffffn) << 32n) | swap32(x >> 32n);
const rotate = (x, by) => ((x << by) | (x >> (64n - by))) & M64;

function short(data, seed) {
  const size = data.length;
  const n = BigInt(size);
  const at = view(data);
  const u32 = (i) => BigInt(at.getUint32(i, true));
  const u64 = (i) => at.getBigUint64(i, true);
  if (!size) return avalanche64(seed ^ s64(56) ^ s64(64));
  if (size < 4) {
    const mixed = (BigInt(data[0]) << 16n) | (BigInt(data[size >> 1]) << 24n) | BigInt(data[size - 1]) | (n << 8n);
    return avalanche64(mixed ^ ((s32(0) ^ s32(4)) + seed) & M64);
  }
  if (size < 9) {
    const seeded = seed ^ (swap32(seed & 0xffffffffn) << 32n);
    const input = u32(size - 4) + (u32(0) << 32n);
    let h = input ^ ((s64(8) ^ s64(16)) - seeded) & M64;
    h ^= rotate(h, 49n) ^ rotate(h, 24n);
    h = (h * MX2) & M64;
    h ^= (h >> 35n) + n;
    h = (h * MX2) & M64;
    return h ^ (h >> 28n);
  }
  if (size < 17) {
    const low = u64(0) ^ ((s64(24) ^ s64(32)) + seed) & M64;
    const high = u64(size - 8) ^ ((s64(40) ^ s64(48)) - seed) & M64;
    return avalanche((n + swap64(low) + high + fold(low, high)) & M64);
  }
  const mix = (i, s) => fold(u64(i) ^ (s64(s) + seed) & M64, u64(i + 8) ^ (s64(s + 8) - seed) & M64);
  let sum = n * P64[0];
  if (size < 129) {
    for (let i = (size - 1) >> 5; i >= 0; i--) sum += mix(16 * i, 32 * i) + mix(size - 16 * (i + 1), 32 * i + 16);
    return avalanche(sum & M64);
  }
  const rounds = size >> 4;
  for (let i = 0; i < 8; i++) sum += mix(16 * i, 16 * i);
  sum = avalanche(sum & M64);
  for (let i = 8; i < rounds; i++) sum += mix(16 * i, 16 * (i - 8) + 3);
  return avalanche((sum + mix(size - 16, 136 - 17)) & M64);
}

const PRIME = 0x9e3779b1;

// Returns the upper half of the product of two numbers of 32 bits.
function high32(a, b) {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const second = a0 * b1 + (middle & 0xffff);
  return a1 * b1 + (middle >>> 16) + (second >>> 16);
}

const acc = new Uint32Array(16);
const START = new Uint32Array(new BigUint64Array([P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]]).buffer);

function accumulate(words, at, secret, from) {
  for (let i = 0; i < 16; i += 2) {
    const low = words[at + i];
    const high = words[at + i + 1];
    const a = (low ^ secret[from + i]) >>> 0;
    const b = (high ^ secret[from + i + 1]) >>> 0;
    const other = i ^ 2;
    const sum = acc[other] + low;
    acc[other + 1] += high + (sum > 0xffffffff ? 1 : 0);
    acc[other] = sum;
    const total = acc[i] + (Math.imul(a, b) >>> 0);
    acc[i + 1] += high32(a, b) + (total > 0xffffffff ? 1 : 0);
    acc[i] = total;
  }
}

function scramble(secret) {
  for (let i = 0; i < 16; i += 2) {
    const low = (acc[i] ^ (acc[i + 1] >>> 15) ^ secret[32 + i]) >>> 0;
    const high = (acc[i + 1] ^ secret[33 + i]) >>> 0;
    acc[i] = Math.imul(low, PRIME);
    acc[i + 1] = high32(low, PRIME) + Math.imul(high, PRIME);
  }
}

function long(data, seed) {
  const seeded = new Uint8Array(192);
  const out = view(seeded);
  for (let i = 0; i < 192; i += 16) {
    out.setBigUint64(i, (s64(i) + seed) & M64, true);
    out.setBigUint64(i + 8, (s64(i + 8) - seed) & M64, true);
  }
  const secret = new Uint32Array(seeded.buffer);
  const aligned = data.byteOffset % 4 ? data.slice() : data;
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2);
  const size = data.length;
  acc.set(START);
  const stripes = Math.floor((size - 1) / 64);
  for (let n = 0; n < stripes; n++) {
    accumulate(words, n * 16, secret, (n % 16) * 2);
    if (n % 16 === 15) scramble(secret);
  }
  accumulate(new Uint32Array(data.slice(size - 64).buffer), 0, new Uint32Array(seeded.slice(121, 185).buffer), 0);
  const sums = new BigUint64Array(acc.buffer);
  let result = (BigInt(size) * P64[0]) & M64;
  for (let i = 0; i < 4; i++) {
    const at = 11 + 16 * i;
    result += fold(sums[2 * i] ^ out.getBigUint64(at, true), sums[2 * i + 1] ^ out.getBigUint64(at + 8, true));
  }
  return avalanche(result & M64);
}

export function xxh3(data, seed = 0) {
  return data.length > 240 ? long(data, BigInt(seed)) : short(data, BigInt(seed));
}

const IV = [
  0xf3bcc908, 0x6a09e667, 0x84caa73b, 0xbb67ae85, 0xfe94f82b, 0x3c6ef372, 0x5f1d36f1, 0xa54ff53a,
  0xade682d1, 0x510e527f, 0x2b3e6c1f, 0x9b05688c, 0xfb41bd6b, 0x1f83d9ab, 0x137e2179, 0x5be0cd19,
];
const SIGMA = [
  "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
  "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
].map((row) => Array.from(row, (digit) => 2 * parseInt(digit, 16)));
SIGMA.push(SIGMA[0], SIGMA[1]);
const MIXED = [
  [0, 8, 16, 24], [2, 10, 18, 26], [4, 12, 20, 28], [6, 14, 22, 30],
  [0, 10, 20, 30], [2, 12, 22, 24], [4, 14, 16, 26], [6, 8, 18, 28],
];
const v = new Uint32Array(32);
const m = new Uint32Array(32);

function plus(a, low, high) {
  const sum = v[a] + low;
  v[a + 1] += high + (sum > 0xffffffff ? 1 : 0);
  v[a] = sum;
}

function turn(a, b, by) {
  const low = v[a] ^ v[b];
  const high = v[a + 1] ^ v[b + 1];
  if (by === 32) {
    v[a] = high;
    v[a + 1] = low;
  } else if (by === 63) {
    v[a] = (low << 1) | (high >>> 31);
    v[a + 1] = (high << 1) | (low >>> 31);
  } else {
    v[a] = (low >>> by) | (high << (32 - by));
    v[a + 1] = (high >>> by) | (low << (32 - by));
  }
}

function compress(h, count, last) {
  v.set(h);
  v.set(IV, 16);
  v[24] ^= count;
  if (last) {
    v[28] = ~v[28];
    v[29] = ~v[29];
  }
  for (const row of SIGMA) {
    MIXED.forEach(([a, b, c, d], i) => {
      plus(a, v[b], v[b + 1]);
      plus(a, m[row[2 * i]], m[row[2 * i] + 1]);
      turn(d, a, 32);
      plus(c, v[d], v[d + 1]);
      turn(b, c, 24);
      plus(a, v[b], v[b + 1]);
      plus(a, m[row[2 * i + 1]], m[row[2 * i + 1] + 1]);
      turn(d, a, 16);
      plus(c, v[d], v[d + 1]);
      turn(b, c, 63);
    });
  }
  for (let i = 0; i < 16; i++) h[i] ^= v[i] ^ v[i + 16];
}

// Returns the 16 bytes as a string of hexadecimal digits.
export function blake2b(data) {
  const h = Uint32Array.from(IV);
  h[0] ^= 0x01010010;
  const bytes = new Uint8Array(m.buffer);
  for (let at = 0; at === 0 || at < data.length; at += 128) {
    const piece = data.subarray(at, at + 128);
    bytes.fill(0);
    bytes.set(piece);
    compress(h, at + piece.length, at + 128 >= data.length);
  }
  return hex(new Uint8Array(h.buffer, 0, 16));
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
