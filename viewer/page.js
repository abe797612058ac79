// The page: it asks an engine, and shows what a memory says as text and nothing else.

import { LocalEngine, ServedEngine, parse } from "./engines.js";
import { changeLanguage, languageName, say } from "./strings.js";
import { lower, places, stems } from "./words.js";

const PAGE = 50;
const CUT = 700;
const BARS = 80;
const $ = (id) => document.getElementById(id);

const state = { engine: null, info: null, history: [], asOf: null, query: "", where: null, names: [], offset: 0, turn: 0 };
globalThis.memvid = state;

// Returns an element with attributes, listeners and children, which are elements or texts.
function make(name, given = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const bytesShown = (bytes) => {
  const [size, unit] = bytes < 1e4 ? [bytes, "B"] : bytes < 1e7 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${size.toLocaleString(languageName(), { maximumFractionDigits: size < 100 ? 1 : 0 })} ${unit}`;
};
const timeShown = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString(languageName(), { dateStyle: "medium", timeStyle: "short" }) : "");

// --- one record ---

// Returns the text with marks, shortened around the first one unless `whole`.
function marked(text, wanted, whole) {
  const folded = lower(text);
  const spots = folded.length === text.length ? wanted.flatMap((stem) => places(folded, stem, 200).map((at) => [at, at + stem.length])) : [];
  spots.sort((a, b) => a[0] - b[0]);
  const from = whole || !spots.length || spots[0][0] < CUT / 2 ? 0 : spots[0][0] - 100;
  const to = whole ? text.length : Math.min(text.length, from + CUT);
  const parts = [from ? "… " : ""];
  let at = from;
  for (const [begin, end] of spots) {
    if (begin < at || end > to) continue;
    parts.push(text.slice(at, begin), make("mark", {}, text.slice(begin, end)));
    at = end;
  }
  parts.push(text.slice(at, to), to < text.length ? " …" : "");
  return parts;
}

// Returns metadata as a tree; only https: addresses become links.
function tree(value, key) {
  const label = key === undefined ? null : make("b", {}, `${key}: `);
  if (value && typeof value === "object" && !(value instanceof Number)) {
    const entries = Object.entries(value);
    const list = make("ul", {}, ...entries.map(([name, each]) => make("li", {}, tree(each, Array.isArray(value) ? undefined : name))));
    if (!entries.length) return make("span", {}, label, Array.isArray(value) ? "[]" : "{}");
    return key === undefined ? list : make("details", { open: entries.length < 20 }, make("summary", {}, label, `${entries.length}`), list);
  }
  if (typeof value === "string" && /^https:\/\/[^\s]+$/.test(value) && value.length < 2000) {
    return make("span", {}, label, make("a", { href: value, rel: "noopener noreferrer nofollow", target: "_blank" }, value));
  }
  const shown = value instanceof Number ? (String(value).includes("e") ? String(value) : `${value}.0`) : String(value);
  return make("span", { class: value === null ? "null" : typeof value.valueOf() }, label, shown);
}

function copy(button, text) {
  navigator.clipboard?.writeText(text).then(() => {
    const before = button.textContent;
    button.textContent = say("copied");
    setTimeout(() => (button.textContent = before), 1200);
  }, () => {});
}

function linkTo(record) {
  const parts = new URLSearchParams({ id: record.id });
  if (state.asOf !== null) parts.set("as_of", state.asOf);
  return `#${parts}`;
}

function card(record, wanted = [], whole = false) {
  const text = make("p", { class: "text", dir: "auto" }, ...marked(record.text, wanted, whole));
  const metadata = parse(record.metadata);
  const json = () => `{"id": ${JSON.stringify(record.id)}, "text": ${JSON.stringify(record.text)}, "metadata": ${record.metadata}}`;
  const python = () => `${state.info.shards ? "library" : "memory"}.get(${JSON.stringify(record.id)})`;
  const more = !whole && record.text.length > CUT ? make("button", { class: "quiet", onclick: ({ target }) => {
    text.replaceChildren(...marked(record.text, wanted, true));
    target.remove();
  } }, say("all", record.text.length)) : null;
  const out = make("article", { tabindex: 0, "data-id": record.id, "aria-label": record.id.slice(0, 200) },
    make("header", {},
      make("a", { class: "id", href: linkTo(record), title: say("link"), dir: "auto" }, record.id),
      record.score === undefined ? null : make("span", { class: "score", title: record.explain ? JSON.stringify(record.explain) : null }, record.score.toFixed(3)),
      record.shard ? make("button", { class: "frame", title: `shards/${record.shard}.mp4`, onclick: () => show(record) }, `▶ ${say("shard", record.number)}`)
        : !(record.frame >= 0) ? null : make("button", { class: "frame", onclick: () => show(record) }, `▶ ${say("frame", record.frame)}`)),
    text, more,
    Object.keys(metadata).length ? make("div", { class: "metadata" }, tree(metadata)) : null,
    make("footer", {},
      make("button", { class: "quiet", onclick: ({ target }) => copy(target, json()) }, say("copyJson")),
      make("button", { class: "quiet", onclick: ({ target }) => copy(target, python()) }, say("copyPython"))));
  out.record = record;
  return out;
}

// Opens the film of the memory, or of a shard of a library, unless it is open. A library has none itself.
function load(shard) {
  const address = state.info.shards && !shard ? "" : state.engine.filmOf(shard);
  if ($("film").getAttribute("src") === address) return;
  if (address) $("film").src = address;
  else $("film").removeAttribute("src");
  $("film").load();
}

// Shows the picture of a record, or the frame that holds it. After its middle, Chromium would show the next one.
async function show(record) {
  const film = $("film");
  const { engine } = state;
  let place = record;
  if (record.shard && record.frame === undefined) {
    try {
      place = await engine.ask("record", { id: record.id, as_of: state.asOf });
    } catch (error) {
      $("error").textContent = error.message;
      return;
    }
    if (engine !== state.engine || !place) return;
  }
  if (place.shard) load(place.shard);
  if (!(place.frame >= 0)) return;
  film.pause();
  film.currentTime = ((place.shown ?? place.frame) + 0.25) / (place.rate || state.info.rate || 2);
  film.parentElement.className = "used";
  $("caption").textContent = [place.shard && say("shard", place.number), say("frame", place.frame), record.id].filter(Boolean).join(" · ");
  if (film.getBoundingClientRect().top < 0) film.scrollIntoView({ block: "nearest" });
  for (const each of document.querySelectorAll("article[aria-current]")) each.removeAttribute("aria-current");
  for (const each of document.querySelectorAll("article")) if (each.record.id === record.id) each.setAttribute("aria-current", "true");
}

// --- the list ---

// Returns a filter from JSON, or from conditions such as: lang=en, page>3.
export function filterOf(text) {
  const given = text.trim();
  if (!given) return null;
  if (given.startsWith("{")) return JSON.parse(given);
  const names = { "=": "$eq", "!=": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte", "~": "$icontains" };
  const parts = given.split(/,\s*/).map((each) => {
    const found = /^(.+?)\s*(!=|>=|<=|=|>|<|~)\s*(.*)$/u.exec(each);
    if (!found) throw new SyntaxError(say("filterHelp"));
    let value = found[3];
    try {
      value = JSON.parse(value);
    } catch {
      // a plain word
    }
    return Object.fromEntries([[found[1], Object.fromEntries([[names[found[2]], value]])]]);
  });
  return parts.length === 1 ? parts[0] : { $and: parts };
}

async function list(offset = 0) {
  const turn = ++state.turn;
  const asked = { where: state.where, as_of: state.asOf };
  const searching = state.query.trim() !== "";
  const wanted = searching ? stems(state.query) : [];
  $("error").textContent = "";
  try {
    const found = searching
      ? await state.engine.ask("search", { ...asked, q: state.query, k: PAGE })
      : await state.engine.ask("records", { ...asked, offset, limit: PAGE });
    if (turn !== state.turn) return;
    const cards = found.records.map((record) => card(record, wanted));
    if (offset) $("results").append(...cards);
    else $("results").replaceChildren(...cards);
    const shown = offset + cards.length;
    $("error").textContent = found.warning ?? "";
    $("count").textContent = found.total ? say("found", shown, found.total) : say("none");
    $("more").hidden = searching || shown >= found.total;
    state.offset = shown;
  } catch (error) {
    if (turn === state.turn) $("error").textContent = say(error.message);
  }
}

function ask() {
  state.query = $("query").value;
  try {
    state.where = filterOf($("filter").value);
  } catch (error) {
    $("error").textContent = `${say("filter")}: ${error.message}`;
    return undefined;
  }
  return list();
}

// --- the time line ---

function timeline() {
  const { history } = state;
  const slider = $("commits");
  slider.max = history.length;
  slider.min = Math.min(1, history.length);
  slider.value = state.asOf === null ? history.length : history.findIndex(({ number }) => number >= state.asOf) + 1;
  const step = Math.max(1, Math.ceil(history.length / BARS));
  const sums = [];
  for (let i = 0; i < history.length; i += step) sums.push(history.slice(i, i + step).reduce((sum, { added, deleted }) => sum + added + deleted, 0));
  const most = Math.max(1, ...sums);
  $("bars").replaceChildren(...sums.map((sum, i) => {
    const bar = make("i", { class: i * step < slider.value ? "past" : null });
    bar.style.height = `${Math.max(4, (100 * Math.log1p(sum)) / Math.log1p(most))}%`;
    return bar;
  }));
  const commit = history[slider.value - 1];
  $("moment").textContent = commit ? say(commit.change ? "version" : "commit", commit.number, history.at(-1).number, timeShown(commit.time), commit.added, commit.deleted, say(commit.change)) : "";
  $("timeline").hidden = !history.length;
  $("latest").hidden = state.asOf === null;
}

function moved() {
  const at = Number($("commits").value);
  state.asOf = at >= state.history.length ? null : state.history[at - 1].number;
  timeline();
  return ask();
}

// --- the memory ---

function facts() {
  const { info } = state;
  const rows = [
    ["description", info.description],
    ["commits", info.commits],
    ["versions", info.versions],
    ["partitions", info.partitions],
    ["deleted", info.deleted ? info.deleted.toLocaleString(languageName()) : ""],
    ["embedder", info.embedder],
    ["vectors", info.dimension ? `${info.vectors} × ${info.dimension}, ${info.metric}` : info.vectors],
    ["size", bytesShown(info.bytes)],
    ["ratio", info.characters ? (info.bytes / info.characters).toFixed(2) : ""],
    ["created", timeShown(info.created)],
    ["identity", info.memory_id],
  ];
  $("facts").replaceChildren(...rows.filter(([, value]) => value).flatMap(([key, value]) =>
    [make("dt", {}, say(key)), make("dd", { dir: "auto" }, typeof value === "number" ? value.toLocaleString(languageName()) : value)]));
  $("caption").textContent = say(info.shards ? "shardHelp" : "filmHelp");
  shards(info.shards ?? []);
  $("heading").textContent = `${state.name} · ${say("records", info.records)}`;
  const troubles = [];
  if (info.damages) troubles.push(say("damaged", info.damages, info.lost));
  if (info.torn.bytes) troubles.push(say("torn", info.torn.bytes, info.torn.records));
  const details = info.damage.map(({ frame, commit, reason }) =>
    make("li", {}, [commit === undefined || commit === null ? "" : say("commits") + ` ${commit}`, frame === undefined || frame === null ? "" : say("frame", frame), reason].filter(Boolean).join(" · ")));
  $("health").className = troubles.length ? "bad" : "good";
  $("health").replaceChildren(troubles.length ? troubles.join(" ") : info.verified === false ? "" : say("sound"), details.length ? make("ul", {}, ...details) : "");
}

// Lists the shards of a library; each plays.
function shards(all) {
  $("shards").hidden = !all.length;
  $("shards").replaceChildren(make("summary", {}, say("shards", all.length)), make("ol", {}, ...all.map(({ shard, records, deleted, bytes }) =>
    make("li", { title: `shards/${shard}.mp4` }, `${say("records", records)}${deleted ? ` (−${deleted})` : ""}, ${bytesShown(bytes)} `,
      make("button", { class: "quiet", onclick: () => {
        load(shard);
        $("film").parentElement.className = "used";
      } }, "▶")))));
}

async function open(engine, name) {
  state.engine?.close();
  Object.assign(state, { engine, name, asOf: null, history: [] });
  document.body.dataset.state = "reading";
  $("progress").hidden = false;
  $("reading").textContent = say("reading", name);
  try {
    state.info = await engine.open();
    state.history = await engine.ask("history");
  } catch (error) {
    if (state.engine !== engine) return;
    state.engine = null;
    engine.close();
    document.body.dataset.state = "closed";
    $("refused").textContent = say(error.message);
    return;
  } finally {
    $("progress").hidden = true;
  }
  $("refused").textContent = "";
  document.title = `${name} · ${say("title")}`;
  document.body.dataset.state = "open";
  $("film").parentElement.className = "";
  load();
  facts();
  timeline();
  await followLink() || await list();
}

// Opens the record that the address names.
async function followLink() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (!state.engine || !wanted.has("id")) return false;
  const asOf = Number(wanted.get("as_of"));
  state.asOf = wanted.has("as_of") && state.history.some(({ number }) => number === asOf) ? asOf : null;
  timeline();
  const id = wanted.get("id");
  const record = await state.engine.ask("record", { id, as_of: state.asOf });
  state.turn++;
  $("count").textContent = record ? "" : say("gone", id);
  $("more").hidden = false;
  state.offset = 0;
  $("results").replaceChildren(...(record ? [card(record, [], true)] : []));
  if (record) show(record);
  return true;
}

const openFile = (file) => open(new LocalEngine({ file }, progress), file.name);

function progress({ progress: part, bytes }) {
  const bar = $("bar");
  if (part === null) bar.removeAttribute("value");
  else bar.value = part;
  $("reading").textContent = `${say("reading", state.name)} · ${bytesShown(bytes)}`;
}

function openUrl(address) {
  let url;
  try {
    url = new URL(address, location.href);
  } catch {
    url = null;
  }
  if (!url || (url.protocol !== "https:" && url.origin !== location.origin) || url.protocol === "file:") {
    $("refused").textContent = say("scheme");
    return undefined;
  }
  return open(new LocalEngine({ url: url.href }, progress), decodeURIComponent(url.pathname.split("/").pop()) || url.host);
}

async function openServed() {
  const hash = new URLSearchParams(location.hash.slice(1));
  try {
    if (hash.has("token")) {
      const token = hash.get("token");
      hash.delete("token");
      history.replaceState(null, "", `${location.pathname}#${hash}`);
      await ServedEngine.get("api/enter", { Authorization: `Bearer ${token}` });
    }
    state.names = await ServedEngine.get("api/memories");
  } catch (error) {
    $("refused").textContent = say(error.message);
    return;
  }
  $("names").replaceChildren(...state.names.map((name) => make("option", { value: name }, name)));
  $("names").hidden = state.names.length < 2;
  await open(new ServedEngine(state.names[0]), state.names[0]);
}

// --- the frame of the page ---

function label() {
  document.documentElement.lang = languageName();
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-hint]")) {
    element.placeholder = say(element.dataset.hint);
    element.setAttribute("aria-label", say(element.dataset.hint));
  }
  $("theme").title = say("lightDark");
  $("commits").setAttribute("aria-label", say("asOf"));
}

function keys(event) {
  const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape") $("query").focus();
  if (writing || event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = [...document.querySelectorAll("article")];
  const at = cards.indexOf(document.activeElement?.closest("article"));
  const focused = cards[at];
  if (event.key === "/") $("query").focus();
  else if (event.key === "j") cards[Math.min(at + 1, cards.length - 1)]?.focus();
  else if (event.key === "k") cards[Math.max(at - 1, 0)]?.focus();
  else if (event.key === "Enter" && focused === event.target) show(focused.record);
  else if (event.key === "c" && focused) copy(focused.querySelector("footer button"), focused.record.text);
  else return;
  event.preventDefault();
}

function start() {
  label();
  $("about").open = !matchMedia("(max-width: 52rem)").matches;
  const served = document.documentElement.dataset.engine === "served";
  let timer;
  const later = (wait) => () => {
    clearTimeout(timer);
    timer = setTimeout(ask, wait);
  };
  $("query").addEventListener("input", later(served ? 250 : 120));
  $("filter").addEventListener("change", ask);
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    ask();
  });
  $("commits").addEventListener("input", moved);
  $("latest").addEventListener("click", () => {
    $("commits").value = state.history.length;
    moved();
  });
  $("more").addEventListener("click", () => list(state.offset));
  $("names").addEventListener("change", ({ target }) => open(new ServedEngine(target.value), target.value));
  $("file").addEventListener("change", ({ target }) => target.files[0] && openFile(target.files[0]));
  $("language").addEventListener("click", () => {
    changeLanguage();
    label();
    if (document.body.dataset.state !== "open") return;
    facts();
    timeline();
    ask();
  });
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = (root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    root.style.colorScheme = dark ? "light" : "dark";
  });
  addEventListener("keydown", keys);
  addEventListener("hashchange", followLink);
  if (served) {
    document.body.dataset.state = "served";
    openServed();
    return;
  }
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (file) openFile(file);
  });
  const source = new URLSearchParams(location.search).get("src");
  if (source) openUrl(source);
}

start();
