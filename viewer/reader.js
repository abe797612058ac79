// Reads a whole memory from a file or an address, by ranges, and verifies every checksum on the way.

import { blake2b, hex, view, xxh3 } from "./checksums.js";
import {
  COMMIT, COMPRESSED, Damaged, HEADER, MORE, PICTURE, RECORDS, SKIPPABLE, TOMBSTONES, Unsupported, VECTORS,
  decompressed, eachRow, parsed, payloadOf, tombstones,
} from "./frames.js";
import { Unpacker, packed } from "./msgpack.js";

const WINDOW = 4 << 20;
const MOST_BYTES = 512 << 20; // of a file: everything is kept in memory
const MOST_TABLE = 1 << 26;
const MOST_FRAME = 16 << 20;
const MOOF = 92;
const FOOTER = 24;
const PARITY = 28;
const BLOCK = 512;
const NO_CHAIN = "0".repeat(32);
const QR_BOX = "memvid-qrC1";

const ascii = (data, at, size) => String.fromCharCode(...data.subarray(at, at + size));

export class TooLarge extends Error {}

export class FileSource {
  constructor(file) {
    this.file = file;
    this.size = file.size;
  }

  async read(from, size) {
    return new Uint8Array(await this.file.slice(from, from + size).arrayBuffer());
  }
}

export class UrlSource {
  constructor(url) {
    this.url = url;
    this.size = Infinity;
  }

  async read(from, size) {
    if (from >= this.size) return new Uint8Array(0);
    let answer;
    try {
      answer = await fetch(this.url, { headers: { Range: `bytes=${from}-${from + size - 1}` }, credentials: "same-origin" });
    } catch {
      throw new Unsupported("cors");
    }
    if (answer.status === 416) return this.ends(from, new Uint8Array(0), 1);
    if (answer.status === 200) {
      await answer.body?.cancel();
      throw new Unsupported("ranges");
    }
    if (answer.status !== 206) throw new Unsupported(`status ${answer.status}`);
    const total = /\/(\d+)$/.exec(answer.headers.get("Content-Range") ?? "");
    if (total) this.size = Number(total[1]);
    if (total && this.size > MOST_BYTES) throw new TooLarge();
    const data = new Uint8Array(await answer.arrayBuffer());
    return this.ends(from, data, size);
  }

  ends(from, data, size) {
    if (data.length > size) throw new Unsupported("ranges");
    if (data.length < size) {
      if (Number.isFinite(this.size) && from + data.length < this.size) throw new Unsupported("short");
      this.size = from + data.length;
    }
    return data;
  }
}

// Reads from front to back through a window.
class Ahead {
  constructor(source) {
    this.source = source;
    this.from = 0;
    this.window = new Uint8Array(0);
  }

  async bytes(from, size) {
    if (from < this.from || from + size > this.from + this.window.length) {
      if (this.source.size !== Infinity && from >= this.source.size) return new Uint8Array(0);
      this.window = await this.source.read(from, Math.max(size, WINDOW));
      this.from = from;
    }
    return this.window.subarray(from - this.from, from - this.from + size);
  }
}

export class Reader {
  constructor(source, progress = () => {}) {
    this.source = source;
    this.file = new Ahead(source);
    this.progress = progress;
    this.records = [];
    this.byRow = new Map();
    this.byId = new Map();
    this.history = [];
    this.damage = [];
    this.waiting = [];
    this.header = null;
    this.frame = 0;
    this.rows = 0;
    this.chain = NO_CHAIN;
    this.timescale = 2;
    this.frames = 0;
    this.lost = 0;
    this.torn = { bytes: 0, records: 0 };
  }

  // Reads everything. Throws Unsupported or TooLarge if the file cannot be shown at all.
  async read() {
    let at = await this.head();
    for (;;) {
      if (this.source.size !== Infinity && this.source.size > MOST_BYTES) throw new TooLarge();
      if (at > MOST_BYTES) throw new TooLarge();
      const fragment = await this.fragment(at);
      if (fragment && fragment.whole) {
        await this.take(fragment);
        at = fragment.end;
        this.progress(at, this.source.size);
        continue;
      }
      if (!(await this.file.bytes(at, 1)).length) break;
      const next = await this.next(at + 1);
      if (next !== null) {
        this.damage.push({ reason: `bytes ${at} to ${next} cannot be read: their boxes are damaged` });
        at = next;
        continue;
      }
      if (fragment) await this.take(fragment);
      this.torn.bytes = this.source.size - at;
      break;
    }
    this.end();
    if (!this.history.length && !this.header) throw new Unsupported("no memory");
    this.records.sort((a, b) => a.row - b.row);
    return this;
  }

  async head() {
    let at = 0;
    let moov = false;
    for (;;) {
      const head = await this.file.bytes(at, 16);
      const size = head.length < 8 ? 0 : view(head).getUint32(0);
      const kind = head.length < 8 ? "" : ascii(head, 4, 4);
      if (kind === "moof" || (kind !== "ftyp" && kind !== "moov" && !moov)) break;
      if (size < 8 || size > MOST_TABLE || kind === "free" || kind === "mdat") break;
      if (kind === "moov") this.moov(await this.file.bytes(at, size));
      moov = true;
      at += size;
    }
    if (moov) return at;
    const next = await this.next(0);
    if (next === null) throw new Unsupported("no memory");
    this.damage.push({ reason: "the head of the file is damaged" });
    return next;
  }

  moov(data) {
    if (new TextDecoder("latin1").decode(data).includes(QR_BOX)) throw new Unsupported("qr");
    const found = find(data, 8, ["trak", "mdia", "mdhd"]);
    if (found) this.timescale = view(data).getUint32(found + (data[found] ? 20 : 12)) || 2;
  }

  // Returns the fragment at `at`, whole or cut by the end of the file; null if its boxes are damaged.
  async fragment(at) {
    const head = await this.file.bytes(at, MOOF);
    const layout = fixed(head);
    if (!layout) return null;
    const table = await this.file.bytes(at + MOOF, 8 * layout.pictures);
    if (table.length < 8 * layout.pictures) return null;
    const entries = view(table);
    const sizes = [];
    let total = 0;
    for (let i = 0; i < layout.pictures; i++) {
      sizes.push(entries.getUint32(8 * i));
      total += sizes[i];
    }
    const data = at + layout.offset;
    const width = layout.offset - layout.size;
    const box = await this.file.bytes(data - width, width);
    const framed = box.length === width && ascii(box, 4, 4) === "mdat" &&
      (width === 8 ? view(box).getUint32(0) === 8 + total : Number(view(box).getBigUint64(8)) === 16 + total);
    const fragment = { at, data, sizes, firsts: [layout.first], end: data + total, footed: false, framed, whole: false };
    const after = framed || total < MOST_BYTES ? await this.file.bytes(data + total, FOOTER + PARITY) : [];
    if (after.length >= FOOTER && ascii(after, 4, 8) === "freemvid" && Number(view(after).getBigUint64(16)) === data + total + FOOTER - at) {
      fragment.firsts.push(view(after).getUint32(12));
      fragment.end += FOOTER;
      fragment.footed = fragment.whole = true;
      await this.parity(fragment, after);
    } else if (framed && after.length >= FOOTER) {
      fragment.whole = true;
      fragment.end += FOOTER;
      this.damage.push({ reason: `the end of the fragment at byte ${at} is damaged` });
    }
    if (!framed) this.damage.push({ reason: `the boxes of the fragment at byte ${at} are damaged` });
    return fragment;
  }

  async parity(fragment, after) {
    if (after.length < FOOTER + PARITY || ascii(after, FOOTER + 4, 8) !== "freemvpa") return;
    const size = view(after).getUint32(FOOTER);
    if (size <= PARITY || size > PARITY + 65536) return;
    const covered = view(after).getBigUint64(FOOTER + 12);
    const box = await this.file.bytes(fragment.end, size);
    if (box.length < size) return; // cut by the end of the file
    fragment.end += size;
    if (xxh3(box.subarray(PARITY), covered) !== view(after).getBigUint64(FOOTER + 20)) {
      this.damage.push({ reason: `the parity of the fragment at byte ${fragment.at} is damaged` });
    } else fragment.parity = true;
  }

  // Returns the offset of the next fragment from `at` on, or null.
  async next(at) {
    for (;;) {
      const piece = await this.file.bytes(at, WINDOW);
      if (piece.length < MOOF) return null;
      for (let i = piece.indexOf(0x6d, 4); i >= 0 && i + MOOF <= piece.length + 4; i = piece.indexOf(0x6d, i + 1)) {
        if (piece[i + 1] === 0x6f && piece[i + 2] === 0x6f && piece[i + 3] === 0x66 && fixed(piece.subarray(i - 4, i - 4 + MOOF))) {
          return at + i - 4;
        }
      }
      at += Math.max(1, piece.length - MOOF);
    }
  }

  async number(fragment) {
    const firsts = [...new Set([this.frame, ...fragment.firsts])];
    if (firsts.length === 1) return this.frame;
    let at = fragment.data;
    for (const [i, size] of fragment.sizes.slice(0, 8).entries()) {
      const picture = await this.file.bytes(at, Math.min(size, MOST_FRAME));
      at += size;
      for (const first of firsts) {
        try {
          payloadOf(picture, first + i);
        } catch {
          continue;
        }
        return first;
      }
    }
    return this.frame;
  }

  async take(fragment) {
    const first = await this.number(fragment);
    const commit = new Staged(fragment, first);
    let at = fragment.data;
    for (const [i, size] of fragment.sizes.entries()) {
      const picture = size > MOST_FRAME ? new Uint8Array(0) : await this.file.bytes(at, size);
      at += size;
      if (picture.length < size && !fragment.whole) {
        commit.cut = true;
        break;
      }
      commit.add(first + i, picture);
      if (i % 64 === 63) this.progress(at, this.source.size);
    }
    this.frame = first + fragment.sizes.length;
    this.frames += fragment.sizes.length;
    commit.finish();
    if (commit.header && !this.header) this.header = commit.header;
    if (commit.bad.length && fragment.whole) commit.unwritten = await this.unwritten(fragment);
    if (!fragment.whole) {
      this.torn.records = commit.claimed();
      return;
    }
    this.waiting.push(commit);
    if (!commit.bad.length && commit.values) this.settle(this.waiting.length);
  }

  // Takes in the first waiting commits: a later one shows that they were durable.
  settle(count) {
    for (const commit of this.waiting.splice(0, count)) this.apply(commit);
  }

  end() {
    let counting = this.waiting.length;
    while (counting && !this.waiting[counting - 1].counts()) counting--;
    const rest = this.waiting.splice(counting);
    this.settle(counting);
    for (const commit of rest) {
      const records = Math.max(0, commit.claimed());
      this.lost += records;
      this.damage.push({ commit: commit.number, records, reason: "it was not written completely, and does not count" });
    }
  }

  apply(commit) {
    const last = this.history.at(-1);
    const number = commit.number;
    if (number === null) {
      this.damage.push({ reason: `the fragment at byte ${commit.fragment.at} has no readable frame` });
      return;
    }
    if (last && number <= last.number) {
      this.damage.push({ commit: number, reason: "it does not continue the previous commit" });
      return;
    }
    const wanted = last ? last.number + 1 : 0;
    const missing = wanted === number - 1 ? `commit ${wanted}` : `commits ${wanted} to ${number - 1}`;
    if (number > wanted) this.damage.push({ commit: number, reason: `${missing} cannot be read` });
    else if (commit.values && !commit.bad.length && !commit.fits(this.chain)) {
      this.damage.push({ commit: number, reason: "its chained checksum does not match its contents" });
    }
    const remedy = commit.fragment.parity ? "; parity may restore it: see memvid verify" : "";
    for (const { frame, reason } of commit.bad) this.damage.push({ frame, commit: number, reason: reason + remedy });
    if (!commit.values) this.damage.push({ commit: number, reason: "its COMMIT frame is damaged, and was reconstructed" });
    const begin = this.rows;
    const stop = Math.max(begin, commit.values?.rows ?? commit.stop());
    let there = 0;
    for (const record of commit.records) {
      if (record.row < begin || record.row >= stop || this.byRow.has(record.row)) continue;
      Object.assign(record, { born: number, died: Infinity });
      this.byRow.set(record.row, record);
      this.records.push(record);
      there++;
    }
    for (const row of commit.tombstones(stop)) {
      const record = this.byRow.get(row);
      if (record) record.died = Math.min(record.died, number);
    }
    for (const record of commit.records) {
      if (this.byRow.get(record.row) !== record) continue;
      const replaced = this.byId.get(record.id); // its deletion may be unreadable
      if (replaced) replaced.died = Math.min(replaced.died, number);
      this.byId.set(record.id, record);
    }
    if (stop - begin > there) {
      this.lost += stop - begin - there;
      this.damage.push({ commit: number, records: stop - begin - there, reason: `${stop - begin - there} records are lost` });
    }
    this.rows = stop;
    this.chain = commit.values?.chain ?? this.chain;
    this.history.push({
      number,
      time: commit.values?.time ?? last?.time ?? 0,
      added: commit.values?.added ?? there,
      deleted: commit.values?.deleted ?? 0,
      frame: commit.first,
      frames: commit.fragment.sizes.length,
    });
    if (!this.header && commit.values?.copy.length) {
      this.header = new Unpacker(commit.values.copy).next();
      this.damage.push({ commit: 0, reason: "the header is damaged; a copy of it is used" });
    }
  }

  // Whether a disk block of a fragment is all zeros, as a block that was never written is.
  async unwritten({ at, end }) {
    for (let from = at - (at % BLOCK); from < end; from += BLOCK) {
      const begin = Math.max(from, at);
      const block = await this.file.bytes(begin, Math.min(from + BLOCK, end) - begin);
      if (block.length > 3 && block.every((byte) => !byte)) return true;
    }
    return false;
  }
}

// The frames of one fragment, before it is known whether the commit counts.
class Staged {
  constructor(fragment, first) {
    this.fragment = fragment;
    this.first = first;
    this.records = [];
    this.deleted = [];
    this.digests = [];
    this.bad = [];
    this.number = null;
    this.values = null;
    this.header = null;
    this.pending = null;
    this.shown = null;
    this.spans = [];
    this.cut = false;
    this.unwritten = false;
  }

  add(frame, picture) {
    try {
      const payload = payloadOf(picture, frame);
      const piece = parsed(payload, frame);
      this.number ??= piece.commit;
      if (piece.kind !== COMMIT) this.digests.push(xxh3(payload));
      if (piece.kind === RECORDS || piece.kind === VECTORS) this.spans.push(piece);
      if (piece.kind !== VECTORS) this.body(piece);
      piece.body = piece.kind === RECORDS ? null : piece.body;
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      this.pending = null;
      this.bad.push({ frame, reason: error.message });
    }
  }

  // Joins a body that continues in the next frame.
  body(piece) {
    if (this.pending && this.pending.kind === piece.kind) this.pending.parts.push(piece.body);
    else this.pending = { ...piece, parts: [piece.body] };
    if (piece.flags & MORE) return;
    const whole = this.pending;
    this.pending = null;
    whole.body = whole.parts.length === 1 ? whole.parts[0] : joined(whole.parts);
    if (whole.flags & COMPRESSED && whole.kind !== RECORDS) whole.body = decompressed(whole.body);
    this.use(whole);
  }

  use(piece) {
    const { kind, body, number } = piece;
    if (kind === PICTURE) {
      if (piece.items) this.shown = piece;
    } else if (kind === RECORDS) {
      eachRow(body, (at, id, text, metadata) => {
        const row = piece.row + at;
        this.records.push({ row, id, text, metadata, frame: number, shown: this.shown?.row === row ? this.shown.number : null });
      });
    } else if (kind === TOMBSTONES) {
      this.deleted.push(piece);
    } else if (kind === HEADER) {
      this.header = new Unpacker(body).next();
    } else if (kind === COMMIT) {
      const [n, time, rows, added, deleted, frames, previous, chain, copy = new Uint8Array(0)] = new Unpacker(body).next();
      const cut = frames !== this.fragment.sizes.length;
      if (cut || ![n, time, rows, added, deleted].every(Number.isSafeInteger)) throw new Damaged("its numbers do not match the fragment");
      this.number = n;
      this.values = { number: n, time, rows, added, deleted, frames, previous: hex(previous), chain: hex(chain), copy };
    }
  }

  finish() {
    if (this.pending) this.bad.push({ frame: this.pending.number, reason: "the frame that continues it cannot be read" });
  }

  tombstones(rows) {
    const out = [];
    for (const piece of this.deleted) {
      try {
        out.push(...tombstones(piece, piece.body, rows));
      } catch (error) {
        if (!(error instanceof Damaged)) throw error;
        this.bad.push({ frame: piece.number, reason: error.message });
      }
    }
    return out;
  }

  // Returns whether all frames are there and their chained checksum continues `previous`.
  fits(previous) {
    const commit = this.values;
    if (!commit || this.bad.length || commit.previous !== previous) return false;
    const numbers = [0x95, ...[commit.number, commit.time, commit.rows, commit.added, commit.deleted].flatMap(packed)];
    const data = new Uint8Array(16 + numbers.length + 8 * this.digests.length);
    for (let i = 0; i < 16; i++) data[i] = parseInt(previous.slice(2 * i, 2 * i + 2), 16);
    data.set(numbers, 16);
    this.digests.forEach((digest, i) => view(data).setBigUint64(16 + numbers.length + 8 * i, digest));
    return blake2b(data) === commit.chain;
  }

  // Returns whether a partly unreadable commit at the end of the file counts.
  counts() {
    if (this.number === null) return false;
    const last = this.first + this.fragment.sizes.length - 1;
    if (this.fragment.footed && this.bad.every(({ frame }) => frame === last)) return true;
    return (this.fragment.footed || this.values !== null) && !this.unwritten;
  }

  stop() {
    return Math.max(0, ...this.spans.map(({ row, items }) => row + items));
  }

  claimed() {
    return this.spans.length ? this.stop() - Math.min(...this.spans.map(({ row }) => row)) : 0;
  }
}

function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

// Returns the values in the fixed part of a moof box as memvid writes it, or null.
function fixed(data) {
  if (data.length < MOOF) return null;
  const at = view(data);
  const size = at.getUint32(0);
  const pictures = at.getUint32(MOOF - 8);
  const offset = at.getInt32(MOOF - 4);
  const kinds = [[4, "moof"], [12, "mfhd"], [28, "traf"], [36, "tfhd"], [56, "tfdt"], [76, "trun"]];
  const known = kinds.every(([from, kind]) => ascii(data, from, 4) === kind);
  if (!known || !pictures || size !== MOOF + 8 * pictures || size > MOST_TABLE) return null;
  if (offset - size !== 8 && offset - size !== 16) return null;
  return { size, pictures, offset, first: Number(at.getBigUint64(64)) };
}

// Returns the offset of the content of a box inside others, or null.
function find(data, at, path) {
  const end = data.length;
  while (end - at >= 8) {
    const size = view(data).getUint32(at);
    if (size < 8) return null;
    if (ascii(data, at + 4, 4) === path[0]) return path.length === 1 ? at + 8 : find(data, at + 8, path.slice(1));
    at += size;
  }
  return null;
}
