/**
 * Owns: submissions (posts, comments) between the press of the button and the server's answer, as values.
 * Never does: send them (actions/outbox.js).
 *
 *   entry: {key, lane, path, body, at, tries, status, problem, adopted}
 *   status: waiting (its turn will come) -> sending -> gone | failed (the reader decides: retry, edit, discard)
 *
 * `key` is the Idempotency-Key and also what the reader's item is known by until it has an id.
 */

export function queued(state, entry) {
  return { ...state, outbox: [...state.outbox, { status: 'waiting', problem: null, adopted: false, ...entry }] };
}

export function setEntry(state, key, change) {
  return { ...state, outbox: state.outbox.map((entry) => (entry.key === key ? { ...entry, ...change } : entry)) };
}

export function removed(state, key) {
  return { ...state, outbox: state.outbox.filter((entry) => entry.key !== key) };
}

/**
 * The live side may bring our own item before the POST is answered (or instead: the answer was lost). The entry then
 * hides, so that nobody sees the item twice; it stays queued, because only the answer proves which item was ours.
 */
export function adopt(state, item) {
  const entry = awaited(state, item);
  return entry ? setEntry(state, entry.key, { adopted: true }) : state;
}

/** The entry that has been sent, has no answer yet, and looks like this item. */
export function awaited(state, item) {
  if (item.author.id !== state.session.userId) return undefined;
  const lane = item.post_id ? `post:${item.post_id}` : 'posts';
  const shares = item.shared?.id ?? null;
  return state.outbox.find((one) => (
    one.lane === lane && !one.adopted && one.tries > 0 && sharedIn(one) === shares && same(one.body.text, item.text)));
}

/** The id of the post that a submission shares, or null. */
export function sharedIn(entry) {
  return /^\/posts\/(\d+)\/shares$/.exec(entry.path)?.[1] ?? null;
}

function same(a = '', b = '') {
  return a.normalize('NFC').trim() === b.normalize('NFC').trim();
}

/** What the reader sees of one lane. */
export function visible(outbox, lane) {
  return outbox.filter((entry) => entry.lane === lane && !entry.adopted);
}
