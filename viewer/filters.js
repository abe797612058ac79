// Filters over metadata, as in docs/filters.md: a condition becomes a function from a record to true or false.

const MOST_DEPTH = 32;
const isList = Array.isArray;
const isMap = (value) => value instanceof Map;
const missing = (value) => value === undefined || value === null;
const number = (value) => (value instanceof Number ? value.valueOf() : value);
const isNumber = (value) => typeof value === "number" || typeof value === "bigint" || value instanceof Number;
const folded = (value) => String(value).normalize("NFC").toLowerCase();

function same(a, b) {
  if (isNumber(a) && isNumber(b)) return number(a) == number(b);
  if (isList(a) && isList(b)) return a.length === b.length && a.every((each, i) => same(each, b[i]));
  if (isMap(a) && isMap(b)) return a.size === b.size && [...a].every(([key, value]) => b.has(key) && same(value, b.get(key)));
  return a === b;
}

const equal = (value, wanted) => {
  if (missing(wanted)) return missing(value) || (isList(value) && value.includes(null));
  return same(value, wanted) || (isList(value) && value.some((each) => same(each, wanted)));
};

function ordered(value, wanted, test) {
  if (isList(value)) return value.some((each) => !isList(each) && ordered(each, wanted, test));
  if (isNumber(value) && isNumber(wanted)) return test(number(value), number(wanted));
  if (typeof value !== typeof wanted || !["string", "boolean"].includes(typeof value)) return false;
  return typeof value === "string" ? test(points(value, wanted), 0) : test(value, wanted);
}

// Compares two texts by code points, as Python does.
function points(a, b) {
  const [left, right] = [Array.from(a), Array.from(b)];
  const at = left.findIndex((char, i) => char !== right[i]);
  if (at < 0) return left.length - right.length;
  return right[at] === undefined ? 1 : left[at].codePointAt(0) - right[at].codePointAt(0);
}

const listed = (value, name) => {
  if (!isList(value)) throw new SyntaxError(`${name} needs a list`);
  return value;
};

function pattern(wanted, fold) {
  if (typeof wanted !== "string") throw new SyntaxError("$like needs a text");
  const text = fold ? folded(wanted) : wanted;
  const source = text.replace(/\\[^]|%|_|[.*+?^${}()|[\]\\/]/gu, (part) => {
    if (part === "%") return "[^]*";
    if (part === "_") return "[^]";
    return part.length > 1 && part[0] === "\\" ? part.slice(1).replace(/[.*+?^${}()|[\]\\/]/u, "\\$&") : `\\${part}`;
  });
  const made = new RegExp(`^${source}$`, "u");
  const matches = (value) => typeof value === "string" && made.test(fold ? folded(value) : value);
  return (value) => matches(value) || (isList(value) && value.some(matches));
}

const TYPES = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  integer: (value) => isNumber(value) && !(value instanceof Number) && (typeof value === "bigint" || Number.isInteger(value)),
  float: (value) => isNumber(value) && !TYPES.integer(value),
  number: isNumber,
  string: (value) => typeof value === "string",
  list: isList,
  dict: isMap,
};

const holds = (value, wanted, fold) => {
  const like = (each) => typeof each === "string" && typeof wanted === "string" && folded(each) === folded(wanted);
  if (typeof value === "string") return typeof wanted === "string" && (fold ? folded(value).includes(folded(wanted)) : value.includes(wanted));
  if (isList(value)) return value.some((each) => (fold ? like(each) : same(each, wanted)));
  return isMap(value) && !fold && value.has(wanted);
};

const itemsOf = (value) => (isList(value) ? value : value === undefined ? [] : [value]);

const OPERATORS = {
  $eq: (wanted) => (value) => equal(value, wanted),
  $ne: (wanted) => (value) => !equal(value, wanted),
  $in: (wanted) => (value) => listed(wanted, "$in").some((each) => equal(value, each)),
  $nin: (wanted) => (value) => !listed(wanted, "$nin").some((each) => equal(value, each)),
  $gt: (wanted) => (value) => ordered(value, wanted, (a, b) => a > b),
  $gte: (wanted) => (value) => ordered(value, wanted, (a, b) => a >= b),
  $lt: (wanted) => (value) => ordered(value, wanted, (a, b) => a < b),
  $lte: (wanted) => (value) => ordered(value, wanted, (a, b) => a <= b),
  $between: (wanted) => {
    const [low, high] = listed(wanted, "$between");
    const inside = (value) => ordered(value, low, (a, b) => a >= b) && ordered(value, high, (a, b) => a <= b);
    return (value) => (isList(value) ? value.some(inside) : inside(value));
  },
  $exists: (wanted) => (value) => (value !== undefined) === wanted,
  $empty: (wanted) => (value) => (missing(value) || value === "" || value.length === 0 || value.size === 0) === wanted,
  $type: (wanted) => (value) => [wanted].flat().some((name) => value !== undefined && TYPES[name]?.(value)),
  $like: (wanted) => pattern(wanted, false),
  $ilike: (wanted) => pattern(wanted, true),
  $contains: (wanted) => (value) => holds(value, wanted, false),
  $icontains: (wanted) => (value) => holds(value, wanted, true),
  $all: (wanted) => (value) => [wanted].flat().length > 0 && [wanted].flat().every((each) => itemsOf(value).some((item) => same(item, each))),
  $any: (wanted) => (value) => [wanted].flat().some((each) => itemsOf(value).some((item) => same(item, each))),
};

function fieldOf(record, path) {
  if (path === "$id") return record.id;
  if (record.metadata.has(path)) return record.metadata.get(path);
  let value = record.metadata;
  for (const key of path.split(".")) {
    if (!isMap(value)) return undefined;
    value = value.get(key);
  }
  return value;
}

function field(path, condition, depth) {
  const keys = isMap(condition) ? [...condition.keys()] : [];
  if (!keys.some((key) => key.startsWith("$"))) return (record) => equal(fieldOf(record, path), condition);
  const tests = keys.map((key) => {
    const wanted = condition.get(key);
    if (key === "$not") {
      const test = field(path, wanted, depth + 1);
      return (record) => !test(record);
    }
    if (!Object.hasOwn(OPERATORS, key)) throw new SyntaxError(`unknown operator ${key}`);
    const test = OPERATORS[key](wanted);
    return (record) => test(fieldOf(record, path));
  });
  return (record) => tests.every((test) => test(record));
}

// Returns the function of a filter, given as Map; null matches all.
export function matcher(where, depth = 0) {
  if (missing(where)) return () => true;
  if (!isMap(where) || depth > MOST_DEPTH) throw new SyntaxError("a filter is an object");
  const tests = [...where].map(([key, value]) => {
    if (key === "$and" || key === "$or" || key === "$nor") {
      const parts = listed(value, key).map((each) => matcher(each, depth + 1));
      if (!parts.length) throw new SyntaxError(`${key} is empty`);
      if (key === "$and") return (record) => parts.every((test) => test(record));
      return (record) => parts.some((test) => test(record)) === (key === "$or");
    }
    if (key === "$not") {
      const test = matcher(value, depth + 1);
      return (record) => !test(record);
    }
    if (key.startsWith("$") && key !== "$id") throw new SyntaxError(`unknown operator ${key}`);
    return field(key, value, depth);
  });
  return (record) => tests.every((test) => test(record));
}
