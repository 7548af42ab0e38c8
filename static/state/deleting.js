/**
 * Owns: what the reader has deleted while they may still take it back: it stays in the state, and no view shows it.
 * Never does: tell the server (actions/feed.js).
 */

/** `key`: "post:1" or "comment:1". */
export function deletionMarked(state, key, marked) {
  if (state.deleting.has(key) === marked) return state;
  const deleting = new Set(state.deleting);
  if (marked) deleting.add(key);
  else deleting.delete(key);
  return { ...state, deleting };
}

/** `ids` without those that are being deleted; the same array when there are none. */
export function undeleted(deleting, kind, ids) {
  return deleting.size ? ids.filter((id) => !deleting.has(`${kind}:${id}`)) : ids;
}
