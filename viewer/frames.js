// One frame of a memory: from the picture to the payload, and what a body says. docs/format.md describes all of it.

import { view, xxh3 } from "./checksums.js";
import { Unpacker } from "./msgpack.js";
import { decompress } from "./vendor/fzstd.js";

export const HEADER = 1, RECORDS = 2, VECTORS = 3, TOMBSTONES = 4, COMMIT = 5, MODEL = 7, PICTURE = 8;
export const COMPRESSED = 1, ENCRYPTED = 2, MORE = 4, METRIC = 0x38, SKIPPABLE = 0x8000;
export const METRICS = ["cosine", "euclidean", "manhattan", "chebyshev"];
const STARTS = [[0x65, 0x88, 0x84, 0xa0, 0xd0], [0x65, 0x88, 0x82, 0x28, 0x34]];
const MARK = [6, 5, 56, ...new TextEncoder().encode("memvid picture 1")]; // of an SEI message before a picture to look at
const HEAD_MARK = new TextEncoder().encode("memvid payload 1"); // in one before a picture with little padding, after [6, 5, size]
const MACROBLOCK = 384;
const ENVELOPE = 12;
const HEADER_BYTES = 28;
const MOST_BODY = 2 ** 26; // bytes of a body or block that is decompressed

// What cannot be read: one part of the file, or all of it.
export class Damaged extends Error {}
export class Unsupported extends Error {}

const startsWith = (data, at, wanted) => wanted.every((byte, i) => data[at + i] === byte);

// Returns the bytes after `at` without emulation prevention (ITU-T H.264, 7.4.1), at most `size`.
function unescaped(nal, at, size) {
  const out = new Uint8Array(size);
  let to = 0;
  let from = at;
  for (let next = at + 2; to < size; next++) {
    next = nal.indexOf(3, next);
    if (next < 0) next = nal.length;
    else if (nal[next - 1] || nal[next - 2] || next - 2 < at) continue;
    const piece = nal.subarray(from, Math.min(next, from + size - to));
    out.set(piece, to);
    to += piece.length;
    from = next + 1;
    if (next >= nal.length) break;
  }
  return to === size ? out : out.subarray(0, to);
}

// Returns where `size` bytes without emulation prevention end that begin at `at`.
function endOf(nal, at, size) {
  for (let zeros = 0; size > 0 && at < nal.length; at++) {
    if (nal[at] === 3 && zeros > 1) {
      zeros = 0;
      continue;
    }
    zeros = nal[at] ? 0 : zeros + 1;
    size--;
  }
  return at;
}

// Returns the payload of a picture to look at: envelope and header are in the message before it, the slice is the rest.
function payloadShown(picture, number) {
  const head = unescaped(picture, 4 + MARK.length, ENVELOPE + HEADER_BYTES);
  const from = 8 + view(picture).getUint32(0);
  const size = head.length < ENVELOPE + HEADER_BYTES ? 0 : view(head).getUint32(0, true);
  if (size <= HEADER_BYTES || from + size - HEADER_BYTES !== picture.length) throw new Damaged("its picture is cut");
  const payload = new Uint8Array(size);
  payload.set(head.subarray(ENVELOPE));
  payload.set(picture.subarray(from), HEADER_BYTES);
  if (xxh3(payload, number) !== view(head).getBigUint64(4, true)) throw new Damaged("its checksum does not match its bytes");
  return payload;
}

// Returns the payload in the samples of a picture; its checksum is seeded with the number of the frame.
export function payloadOf(picture, number) {
  if (startsWith(picture, 4, MARK)) return payloadShown(picture, number);
  const headed = picture[4] === 6 && picture[5] === 5 && startsWith(picture, 7, [...HEAD_MARK]);
  const before = headed ? Math.max(picture[6] - HEAD_MARK.length, 0) : 0; // bytes of envelope and payload in the message
  // The lengths before the NAL units are not used: damage to them does not matter.
  const nal = picture.subarray(headed ? endOf(picture, 7 + HEAD_MARK.length, before) + 5 : 4);
  const start = STARTS.find((each) => startsWith(nal, 0, each)) ?? (headed ? [] : null);
  if (!start) throw new Damaged("it is not a picture of a memory");
  const head = headed ? unescaped(picture, 7 + HEAD_MARK.length, before) : unescaped(nal, start.length, ENVELOPE);
  if (head.length < ENVELOPE) throw new Damaged("it is too short for a payload");
  const size = view(head).getUint32(0, true);
  const inside = size + ENVELOPE - (headed ? head.length : 0); // bytes in the slice
  if (inside < 0) throw new Damaged("its length does not match its bytes");
  const used = Math.ceil(inside / MACROBLOCK);
  if (used * (MACROBLOCK + 2) > nal.length + 64) throw new Damaged("its length does not match its bytes");
  const samples = unescaped(nal, start.length, Math.max(used * (MACROBLOCK + 2) - 2, 0));
  for (let i = 1; i < used; i++) {
    const from = i * (MACROBLOCK + 2);
    samples.copyWithin(i * MACROBLOCK, from, from + MACROBLOCK);
  }
  let payload = samples.subarray(ENVELOPE, ENVELOPE + size);
  if (headed) {
    if (samples.length < inside) throw new Damaged("its picture is cut");
    payload = new Uint8Array(size);
    payload.set(head.subarray(ENVELOPE));
    payload.set(samples.subarray(0, inside), head.length - ENVELOPE);
  }
  if (payload.length < size || xxh3(payload, number) !== view(head).getBigUint64(4, true)) {
    throw new Damaged("its checksum does not match its bytes");
  }
  return payload;
}

// Returns the header of a payload and its body.
export function parsed(payload, number) {
  if (payload.length < HEADER_BYTES || !startsWith(payload, 0, [77, 86, 73, 68])) {
    throw new Damaged("its payload has no MVID header");
  }
  const at = view(payload);
  const [version, kind, flags] = [payload[4], payload[5], at.getUint16(6, true)];
  if (version < 1 || version > 3) throw new Unsupported(`frame ${number} has format version ${version}; a newer viewer is needed`);
  const metric = kind === HEADER || kind === COMMIT ? METRICS[(flags & METRIC) / 8] : null;
  let unknown = flags & ~(COMPRESSED | MORE | SKIPPABLE);
  if (metric) unknown &= ~METRIC;
  if (flags & ENCRYPTED && !(flags & SKIPPABLE)) throw new Unsupported("encrypted");
  if (!(flags & SKIPPABLE) && (unknown || ![1, 2, 3, 4, 5, 7, 8].includes(kind))) {
    throw new Unsupported(`frame ${number} has kind ${kind} and flags ${flags}; a newer viewer is needed`);
  }
  return {
    number, kind, flags, metric,
    items: at.getUint32(8, true),
    row: Number(at.getBigUint64(12, true)),
    commit: Number(at.getBigUint64(20, true)),
    body: payload.subarray(HEADER_BYTES),
  };
}

// Returns the bytes in a zstd frame. What it claims is checked before memory is taken.
export function decompressed(data) {
  if (data.length < 6 || view(data).getUint32(0, true) !== 0xfd2fb528) throw new Damaged("its body is not compressed");
  const code = data[4] >> 6;
  const single = data[4] & 32;
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][data[4] & 3];
  const width = code ? 1 << code : single ? 1 : 0;
  if (!width || at + width > data.length) throw new Damaged("its body does not say its size");
  let size = code === 1 ? 256 : 0;
  for (let i = 0; i < width; i++) size += data[at + i] * 256 ** i;
  if (size > MOST_BODY && (size > 2 ** 30 || size > 1024 * data.length)) throw new Damaged(`its body claims ${size} bytes`);
  try {
    return size ? decompress(data, new Uint8Array(size)) : data.subarray(0, 0);
  } catch {
    throw new Damaged("its body does not decompress");
  }
}

// Calls `take` with id, text and metadata of each row of a RECORDS body, and the place of the row in the body.
export function eachRow(body, take) {
  const at = view(body);
  const count = body.length < 4 ? 0 : at.getUint32(0, true);
  let start = 4 + 8 * count;
  if (!count || start > body.length) throw new Damaged("it has no block table");
  let row = 0;
  let failed = null;
  for (let i = 0; i < count; i++) {
    const rows = at.getUint32(4 + 8 * i, true);
    const size = at.getUint32(8 + 8 * i, true);
    if (size > body.length - start) throw new Damaged("its blocks do not fill it");
    try {
      blockRows(body.subarray(start, start + size), rows, row, take);
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      failed = error;
    }
    row += rows;
    start += size;
  }
  if (failed) throw failed;
}

function blockRows(block, rows, row, take) {
  let values;
  try {
    values = new Unpacker(decompressed(block)).next();
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) throw new Damaged(`its rows are not msgpack (${error.message})`);
    throw error;
  }
  if (!Array.isArray(values) || values.length !== rows) throw new Damaged("a block has another number of rows");
  values.forEach((value, i) => {
    const [id, text, metadata] = Array.isArray(value) ? value : [];
    if (typeof id !== "string" || typeof text !== "string" || !(metadata instanceof Map)) throw new Damaged("a row is no record");
    take(row + i, id, text, metadata);
  });
}

// Returns the deleted rows.
export function tombstones(header, body, rows) {
  const data = decompressed(body);
  if (data.length !== 8 * header.items) throw new Damaged("it has another number of deletions");
  const out = [];
  let row = 0;
  for (let i = 0; i < header.items; i++) {
    row += Number(view(data).getBigInt64(8 * i, true));
    if (row < 0 || row >= rows || (i && row <= out[i - 1])) throw new Damaged("its deletions are not in order");
    out.push(row);
  }
  return out;
}
