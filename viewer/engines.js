// The two engines of the page, with the same operations: a Worker that reads the file, or the server of `memvid view`.

// Returns parsed JSON in which integers beyond 2^53 stay exact and floats without a fraction stay floats.
export function parse(text) {
  return JSON.parse(text, (key, value, context) => {
    const source = context?.source;
    if (typeof value !== "number" || source === undefined) return value;
    if (/[.eE]/.test(source)) return Number.isInteger(value) ? new Number(value) : value;
    return Number.isSafeInteger(value) ? value : BigInt(source);
  });
}

export class LocalEngine {
  constructor(given, progress) {
    this.given = given;
    this.calls = new Map();
    this.last = 0;
    const source = document.getElementById("worker").textContent;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(url);
    URL.revokeObjectURL(url);
    this.worker.onmessage = ({ data }) => {
      if (data.call === undefined) return progress(data);
      const [resolve, reject] = this.calls.get(data.call);
      this.calls.delete(data.call);
      if (data.error === undefined) resolve(data.result);
      else reject(new Error(data.error));
    };
    this.worker.onerror = () => this.calls.forEach(([, reject]) => reject(new Error("the Worker cannot be started")));
    this.film = given.file ? URL.createObjectURL(given.file) : given.url;
  }

  ask(operation, options = {}) {
    return new Promise((resolve, reject) => {
      this.calls.set(++this.last, [resolve, reject]);
      this.worker.postMessage({ call: this.last, operation, options });
    });
  }

  filmOf() {
    return this.film;
  }

  open() {
    return this.ask("open", this.given);
  }

  close() {
    this.worker.terminate();
    if (this.given.file) URL.revokeObjectURL(this.film);
  }
}

export class ServedEngine {
  constructor(name) {
    this.name = name;
  }

  // Returns the address of the film of a memory, or of a shard of a library.
  filmOf(shard) {
    return `memory/${this.name}${shard ? `/${shard}` : ""}.mp4`;
  }

  static async get(path, headers = {}) {
    const answer = await fetch(path, { headers, credentials: "same-origin", cache: "no-store" });
    if (answer.status === 401) throw new Error("401");
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.error);
    return value;
  }

  async ask(operation, options = {}) {
    const query = new URLSearchParams({ name: this.name });
    for (const [key, value] of Object.entries(options)) {
      if (value !== null && value !== undefined) query.set(key, typeof value === "object" ? JSON.stringify(value) : value);
    }
    return ServedEngine.get(`api/${operation}?${query}`);
  }

  open() {
    return this.ask("info");
  }

  close() {}
}
