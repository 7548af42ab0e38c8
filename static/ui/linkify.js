/**
 * Owns: cutting a text into plain parts, http(s) links, #tags and @names. Returns data, never markup: the views insert
 * text as text. Only addresses that start with http:// or https:// become links, so `javascript:` and friends have no way in.
 */

// What begins and ends a tag and a name is the server's rule (feed/text.py); it also tells which of them it took.
const ADDRESS = /(?<address>https?:\/\/[^\s<>"']+)/u;
const TAG = /(?<![\p{L}\p{M}\p{N}_#＃&/])[#＃](?<tag>[\p{L}\p{M}\p{N}_]+)/u;
const NAME = /(?<![\p{L}\p{N}_@/+=&%~#$-])@(?<name>[a-z0-9_.]{2,29}[a-z0-9_])(?!\.*[\p{L}\p{N}_@])/u;
const FINDS = new RegExp([ADDRESS, TAG, NAME].map((one) => one.source).join('|'), 'giu');
const ACCENTS = /[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670]/g;
const TRAILING = /[.,;:!?…'"»”’]+$/u;

/**
 * `tags`: those that the server found in the text, folded; without them every #word with a letter in it is one.
 * `person(username)` -> the id of somebody who may be named so, or undefined.
 * -> [{text}, {text, href}, {text, tag}, {text, user}, ...] in order; the texts joined are the input.
 */
export function linkify(text, { tags, person = () => undefined } = {}) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(FINDS)) {
    const part = link(found, tags, person);
    if (!part) continue;
    if (found.index > from) parts.push({ text: text.slice(from, found.index) });
    parts.push(part);
    from = found.index + part.text.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

function link({ 0: text, groups: { address, tag, name } }, tags, person) {
  if (address) {
    const trimmed = trim(address);
    const href = safe(trimmed);
    return href && { text: trimmed, href };
  }
  if (name) {
    const user = person(name.toLowerCase());
    return user && { text, user };
  }
  const known = tags ? folds(tag).find((one) => tags.includes(one)) : /\p{L}/u.test(tag) && tag.toLowerCase();
  return known && { text, tag: known };
}

/** Lower case without accents, as the server folds: by way of capitals too, which turn ß into ss. */
function folds(tag) {
  const plain = tag.normalize('NFKD').replace(ACCENTS, '');
  return [plain, plain.toUpperCase()].map((one) => one.toLowerCase().replaceAll('ς', 'σ').normalize('NFC'));
}

/** A sentence's full stop or an enclosing bracket is not part of the address. */
function trim(address) {
  let kept = address.replace(TRAILING, '');
  while (/[)\]}]$/.test(kept) && unbalanced(kept)) kept = kept.slice(0, -1).replace(TRAILING, '');
  return kept;
}

function unbalanced(text) {
  const close = text.at(-1);
  const open = { ')': '(', ']': '[', '}': '{' }[close];
  return text.split(close).length > text.split(open).length;
}

function safe(address) {
  try {
    const url = new URL(address);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : null;
  } catch {
    return null;
  }
}
