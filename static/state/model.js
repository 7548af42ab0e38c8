/**
 * Owns: the shape of the state and the small rules that every part shares (order, tombstones, immutable edits).
 * Never does: I/O, time, DOM. Keys that users choose live in Maps, never in plain objects (`__proto__` is a fine name).
 *
 * `rev` counts changes. A read by HTTP notes it when it starts (`since`); whatever was touched or removed live after
 * that is newer than the answer, so the answer may not undo it.
 */

export function emptyState() {
  return {
    rev: 0,
    session: { status: 'unknown', userId: null, problem: null },
    connection: 'connecting',
    users: new Map(), // id -> User (+ relTouched)
    posts: new Map(), // id -> Post (+ touched, countsVersion, likePending)
    comments: new Map(), // id -> Comment (+ touched)
    gone: new Map(), // "post:1" | "comment:1" | "user:1" -> rev of its removal
    feed: { ...emptyList(), pending: [], held: false, fresh: new Set() },
    home: 'recent', // what the home page shows: recent | top | trending
    lists: new Map(), // address below /api/v1 -> list of post ids: '/users/1/posts', '/posts?tag=tea', '/feed?order=top'
    trending: { status: 'idle', items: [], tags: [], refreshedAt: null, problem: null }, // items: [{id, trend}]
    threads: new Map(), // post id -> list of comment ids, with `tail` and `wanted`
    friends: emptyList(),
    requests: { status: 'idle', in: [], out: [], problem: null },
    blocks: emptyList(),
    presence: new Map(), // user id -> "online" | "away" | "offline"
    typing: new Map(), // post id -> Map(user id -> ms when they were last heard), of open threads
    outbox: [], // submissions that have no answer yet
    deleting: new Set(), // "post:1" | "comment:1": deleted by the reader, who may still take it back
  };
}

/** `status`: idle, loading, ready, failed; `more`: the same for the next page. */
export function emptyList() {
  return { status: 'idle', ids: [], next: null, more: 'idle', problem: null };
}

export function withEntry(map, key, value) {
  const copy = new Map(map);
  copy.set(key, value);
  return copy;
}

export function without(map, key) {
  if (!map.has(key)) return map;
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}

/** The same array when nothing has to go, so that nobody renders for nothing. */
export function minus(ids, unwanted) {
  const kept = ids.filter((id) => !unwanted.has(id));
  return kept.length === ids.length ? ids : kept;
}

export function bury(state, key) {
  return { ...state, gone: withEntry(state.gone, key, state.rev + 1) };
}

/** Was this removed live after the read that now brings it back had begun? */
export function buriedSince(state, key, since) {
  return (state.gone.get(key) ?? -1) > since;
}

/** The address of a person's posts in `lists`. */
export function wallOf(userId) {
  return `/users/${userId}/posts`;
}

/** Order of feeds: newest first; ids break ties. Times of the protocol sort as text. */
export function newestFirst(posts) {
  return (a, b) => {
    const one = posts.get(a);
    const two = posts.get(b);
    if (one.created_at !== two.created_at) return one.created_at < two.created_at ? 1 : -1;
    return Number(b) - Number(a);
  };
}

export function oldestFirst(comments) {
  const order = newestFirst(comments);
  return (a, b) => order(b, a);
}

export function union(...lists) {
  return [...new Set(lists.flat())];
}
