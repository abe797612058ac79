// msgpack to JavaScript values: maps become Map, integers beyond 2^53 BigInt, and floats without a fraction Number
// objects, so that every value can be written as Python wrote it. Nothing that a file says becomes a property name.

import { view } from "./checksums.js";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const MOST_DEPTH = 512;

function text(bytes) {
  if (bytes.length < 24) {
    let out = "";
    for (let i = 0; ; i++) {
      if (i === bytes.length) return out;
      if (bytes[i] > 127) break;
      out += String.fromCharCode(bytes[i]);
    }
  }
  return utf8.decode(bytes);
}

// Returns the values in `bytes` one after the other; each call of `next` reads one.
export class Unpacker {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.data = view(bytes);
  }

  take(size) {
    const from = this.at;
    if (size > this.bytes.length - from) throw new RangeError("it ends too early");
    this.at += size;
    return from;
  }

  uint(size) {
    const at = this.take(size);
    if (size === 1) return this.bytes[at];
    if (size === 2) return this.data.getUint16(at);
    if (size === 4) return this.data.getUint32(at);
    return plain(this.data.getBigUint64(at));
  }

  int(size) {
    const at = this.take(size);
    if (size === 1) return this.data.getInt8(at);
    if (size === 2) return this.data.getInt16(at);
    if (size === 4) return this.data.getInt32(at);
    return plain(this.data.getBigInt64(at));
  }

  raw(size) {
    const at = this.take(size);
    return this.bytes.subarray(at, at + size);
  }

  list(size, depth) {
    if (size > this.bytes.length - this.at) throw new RangeError("it claims too many items");
    const out = [];
    for (let i = 0; i < size; i++) out.push(this.next(depth + 1));
    return out;
  }

  map(size, depth) {
    const out = new Map();
    for (let i = 0; i < size; i++) out.set(this.next(depth + 1), this.next(depth + 1));
    return out;
  }

  next(depth = 0) {
    if (depth > MOST_DEPTH) throw new RangeError("it is nested too deeply");
    const code = this.uint(1);
    if (code < 0x80) return code;
    if (code < 0x90) return this.map(code & 15, depth);
    if (code < 0xa0) return this.list(code & 15, depth);
    if (code < 0xc0) return text(this.raw(code & 31));
    if (code >= 0xe0) return code - 256;
    switch (code) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return this.raw(this.uint(1 << (code - 0xc4)));
      case 0xca: return float(this.data.getFloat32(this.take(4)));
      case 0xcb: return float(this.data.getFloat64(this.take(8)));
      case 0xcc: case 0xcd: case 0xce: case 0xcf: return this.uint(1 << (code - 0xcc));
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: return this.int(1 << (code - 0xd0));
      case 0xd9: case 0xda: case 0xdb: return text(this.raw(this.uint(1 << (code - 0xd9))));
      case 0xdc: return this.list(this.uint(2), depth);
      case 0xdd: return this.list(this.uint(4), depth);
      case 0xde: return this.map(this.uint(2), depth);
      case 0xdf: return this.map(this.uint(4), depth);
      default: throw new RangeError(`it has the unknown code ${code}`);
    }
  }
}

const plain = (big) => (big >= -9007199254740991n && big <= 9007199254740991n ? Number(big) : big);
const float = (number) => (Number.isInteger(number) ? new Number(number) : number);

// Returns a value as JSON text, in which integers and floats differ as in Python.
export function json(value) {
  if (value instanceof Map) return `{${Array.from(value, ([k, v]) => `${JSON.stringify(String(k))}: ${json(v)}`).join(", ")}}`;
  if (Array.isArray(value)) return `[${value.map(json).join(", ")}]`;
  if (typeof value === "bigint") return String(value);
  if (value instanceof Number) {
    const shown = Object.is(value.valueOf(), -0) ? "-0" : String(value);
    return shown.includes("e") ? shown : `${shown}.0`;
  }
  if (value instanceof Uint8Array) return JSON.stringify(`${value.length} bytes`);
  if (typeof value === "number" && !Number.isFinite(value)) return JSON.stringify(String(value));
  return JSON.stringify(value);
}

// Returns an unsigned integer in msgpack.
export function packed(number) {
  if (number < 128) return [number];
  const size = number < 256 ? 0 : number < 65536 ? 1 : number < 4294967296 ? 2 : 3;
  const out = [0xcc + size];
  for (let i = (1 << size) - 1; i >= 0; i--) out.push(Math.floor(number / 256 ** i) % 256);
  return out;
}
