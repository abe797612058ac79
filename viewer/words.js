// The words of a question, and a ranking of texts by them (BM25 over occurrences, without an index).

const WORD = /[\p{L}\p{N}\p{M}_]+/gu;
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}]/u;
const JOINED = /[\p{L}\p{N}\p{M}_]/u;
const ENDING = /(?:ings?|ed|es|s|e)$/u;
const PARTICLE = /(?:에서|으로|에게|까지|부터|[은는이가을를의에로와과도만])$/u;

const ASCII = /^[\x00-\x7f]*$/;

export const lower = (text) => (ASCII.test(text) ? text : text.normalize("NFC")).toLowerCase();

// Whether there is a letter or digit at a place of a text in lower case.
function lettered(text, at) {
  const code = text.charCodeAt(at);
  if (code < 128) return (code > 96 && code < 123) || (code > 47 && code < 58) || code === 95;
  return at >= 0 && at < text.length && JOINED.test(text[at]);
}

// Returns the beginnings of words to look for, without endings.
export function stems(query) {
  const found = lower(query).match(WORD) ?? [];
  return [...new Set(found.map((word) => {
    const stem = word.replace(UNSPACED.test(word) ? PARTICLE : ENDING, "");
    return stem.length > (UNSPACED.test(word) ? 1 : 2) ? stem : word;
  }))].slice(0, 32);
}

// Returns where a stem begins words of a text in lower case, or is a word if it has only one or two letters.
export function places(text, stem, most = Infinity) {
  const free = stem.charCodeAt(0) > 127 && UNSPACED.test(stem);
  const out = [];
  for (let at = text.indexOf(stem); at >= 0 && out.length < most; at = text.indexOf(stem, at + stem.length)) {
    if (free || (!lettered(text, at - 1) && (stem.length > 2 || !lettered(text, at + stem.length)))) out.push(at);
  }
  return out;
}

// Returns [record, score] for the best records.
export function ranked(records, query, k) {
  const wanted = stems(query);
  if (!wanted.length) return [];
  const counts = wanted.map(() => 0);
  const found = [];
  let length = 0;
  for (const record of records) {
    record.lower ??= lower(record.text);
    length += record.lower.length;
    const times = wanted.map((stem) => places(record.lower, stem, 64).length);
    if (!times.some(Boolean)) continue;
    times.forEach((time, i) => (counts[i] += time ? 1 : 0));
    found.push([record, times]);
  }
  const average = length / Math.max(1, records.length);
  const weights = counts.map((count) => Math.log(1 + (records.length - count + 0.5) / (count + 0.5)));
  const most = 2.2 * weights.reduce((sum, weight) => sum + weight, 0);
  const scored = found.map(([record, times]) => {
    const norm = 1.2 * (0.25 + (0.75 * record.lower.length) / average);
    return [record, times.reduce((sum, time, i) => sum + (weights[i] * time * 2.2) / (time + norm), 0) / most];
  });
  return scored.sort((a, b) => b[1] - a[1] || a[0].row - b[0].row).slice(0, k);
}
