/**
 * Owns: cutting a text into plain parts and http(s) links. Returns data, never markup: the views insert text as text.
 * Only addresses that start with http:// or https:// become links, so `javascript:` and friends have no way in.
 */

const ADDRESS = /https?:\/\/[^\s<>"']+/giu;
const TRAILING = /[.,;:!?…'"»”’]+$/u;

/** -> [{text}, {text, href}, ...] in order; the texts joined are the input. */
export function linkify(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const address = trim(found[0]);
    const href = safe(address);
    if (!href) continue;
    if (found.index > from) parts.push({ text: text.slice(from, found.index) });
    parts.push({ text: address, href });
    from = found.index + address.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
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
