// The engine of the static page: a memory in a Worker, asked by messages.

import { matcher } from "./filters.js";
import { hex } from "./checksums.js";
import { json } from "./msgpack.js";
import { FileSource, Reader, TooLarge, UrlSource } from "./reader.js";
import { ranked } from "./words.js";

let memory = null;

// Returns a value of parsed JSON with maps instead of objects, as metadata has them.
function mapped(value) {
  if (Array.isArray(value)) return value.map(mapped);
  if (value && typeof value === "object" && !(value instanceof Number)) {
    return new Map(Object.entries(value).map(([key, each]) => [key, mapped(each)]));
  }
  return value;
}

const shown = (record, score) => ({
  id: record.id, text: record.text, metadata: json(record.metadata),
  row: record.row, frame: record.frame, shown: record.shown, commit: record.born, score,
});

function visible({ where, as_of }) {
  const test = matcher(where ? mapped(where) : null);
  const at = as_of ?? Number.MAX_SAFE_INTEGER;
  return memory.records.filter((record) => record.born <= at && record.died > at && test(record));
}

const OPERATIONS = {
  async open({ file, url }) {
    let said = 0;
    memory = await new Reader(file ? new FileSource(file) : new UrlSource(url), (at, size) => {
      if (performance.now() - said < 50) return;
      said = performance.now();
      postMessage({ progress: Number.isFinite(size) ? at / size : null, bytes: at });
    }).read();
    return OPERATIONS.info();
  },
  info() {
    const header = memory.header ?? new Map();
    const id = header.get("memory_id");
    const live = memory.records.filter((record) => record.died === Infinity);
    return {
      description: header.get("description") ?? "",
      embedder: header.get("embedder") ?? "",
      codec: header.get("codec") ?? "pcm",
      memory_id: id ? hex(id) : "",
      vectors: header.get("vectors") ?? "",
      metric: header.get("metric") ?? "cosine",
      dimension: header.get("dimension") ?? null,
      created: Number(header.get("created") ?? 0) / 1e6,
      first_commit: header.get("history_from") ?? 0,
      records: live.length,
      deleted: memory.records.length - live.length,
      commits: memory.history.length - 1,
      frames: memory.frames,
      bytes: memory.source.size,
      characters: live.reduce((sum, { text }) => sum + text.length, 0),
      rate: memory.timescale,
      damage: memory.damage.slice(0, 200),
      damages: memory.damage.length,
      lost: memory.lost,
      torn: memory.torn,
    };
  },
  history() {
    return memory.history.filter(({ number }) => number).map((commit) => ({ ...commit, time: commit.time / 1e6 }));
  },
  records({ offset = 0, limit = 50, ...asked }) {
    const found = visible(asked);
    return { total: found.length, records: found.slice(offset, offset + limit).map((record) => shown(record)) };
  },
  search({ q, k = 50, ...asked }) {
    const found = ranked(visible(asked), q, k);
    return { total: found.length, records: found.map(([record, score]) => shown(record, score)) };
  },
  record({ id, as_of }) {
    const at = as_of ?? Number.MAX_SAFE_INTEGER;
    const found = memory.records.filter((record) => record.id === id && record.born <= at && record.died > at).at(-1);
    return found ? shown(found) : null;
  },
};

onmessage = async ({ data: { call, operation, options } }) => {
  try {
    postMessage({ call, result: await OPERATIONS[operation](options) });
  } catch (error) {
    postMessage({ call, error: error instanceof TooLarge ? "large" : error.message, kind: error.constructor.name });
  }
};
