/**
 * Owns: posts, their counts and likes, and the lists they stand in (the feed, lists by address, what is trending).
 * Never does: I/O. Newer `version` wins; what an event cannot know (`liked`, `mentions`) is kept from before.
 * A shared post is kept once, under its own id: `shared` is {id} or {id, gone}, so that its edits show wherever it is.
 */

import { buriedSince, bury, emptyList, minus, newestFirst, union, wallOf, withEntry, without } from '/static/state/model.js';
import { mergeUsers } from '/static/state/people.js';

export const TOP = '/feed?order=top';
const NO_COUNTS = { likes: 0, comments: 0, shares: 0 };

/** Takes posts in; `since` is the rev at which an HTTP read began, absent for events. */
export function mergePosts(state, posts, since) {
  const admitted = posts.flatMap(unfolded).filter((post) => since === undefined || !buriedSince(state, `post:${post.id}`, since));
  const map = new Map(state.posts);
  for (const post of admitted) map.set(post.id, mergePost(map.get(post.id), post, since));
  const lost = admitted.filter(({ shared }) => shared?.gone && !(map.get(shared.id)?.touched > since)).map(({ shared }) => shared.id);
  const merged = mergeUsers({ ...state, posts: map }, admitted.map((post) => post.author), since);
  return lost.some((id) => map.has(id)) ? removePosts(merged, new Set(lost)) : merged;
}

/** The post that it shares, where that came whole, and the post. What the former shares itself is not told in there. */
function unfolded(post) {
  if (!post.shared?.author) return [post];
  const { shared: deeper, ...inner } = post.shared;
  return [deeper ? { ...inner, shared: deeper } : inner, post];
}

function mergePost(old, post, since) {
  const shared = post.shared && { id: post.shared.id, gone: Boolean(post.shared.gone) };
  if (!old) return { touched: -1, countsVersion: 0, likePending: false, ...post, shared, liked: post.liked ?? false, counts: post.counts ?? NO_COUNTS };
  if (post.version < old.version) return old;
  const fromEvent = since === undefined;
  const keepCounts = fromEvent || old.touched > since;
  return {
    ...old,
    ...post,
    shared: shared === undefined || (fromEvent && shared?.id === old.shared?.id) ? old.shared : shared,
    liked: keepCounts ? old.liked : post.liked ?? old.liked,
    counts: keepCounts ? old.counts : post.counts ?? old.counts,
  };
}

/** The ids of `posts` that the state really holds, after tombstones. */
function held(state, posts) {
  return posts.map((post) => post.id).filter((id) => state.posts.has(id));
}

// -- lists --

/**
 * The feed was read from its start. A reader at the top gets it as it is; one who is further down keeps what stands
 * there, and what is newer waits behind the pill. Posts that arrived live after the read began stay.
 */
export function feedLoaded(state, { items, next }, since) {
  const merged = mergePosts(state, items, since);
  const order = newestFirst(merged.posts);
  const read = held(merged, items);
  const feed = merged.feed;
  const late = [...feed.ids, ...feed.pending].filter((id) => merged.posts.get(id)?.touched > since);
  const all = union(read, late).sort(order);
  const top = feed.ids.find((id) => merged.posts.has(id));
  const known = new Set(feed.ids);
  const waiting = feed.held && top ? all.filter((id) => !known.has(id) && order(id, top) < 0) : [];
  return {
    ...merged,
    feed: { ...feed, status: 'ready', more: 'idle', problem: null, next, ids: minus(all, new Set(waiting)), pending: waiting },
  };
}

/** The next page, appended. */
export function feedExtended(state, { items, next }, since) {
  const merged = mergePosts(state, items, since);
  const ids = union(merged.feed.ids, minus(held(merged, items), new Set(merged.feed.pending)));
  return { ...merged, feed: { ...merged.feed, ids, next, more: 'idle', problem: null } };
}

export function listLoaded(state, address, { items, next }, since, append) {
  const merged = mergePosts(state, items, since);
  const kept = append ? merged.lists.get(address)?.ids ?? [] : [];
  return setList(merged, address, { ...emptyList(), status: 'ready', ids: union(kept, held(merged, items)), next });
}

export function setList(state, address, change) {
  return { ...state, lists: withEntry(state.lists, address, { ...(state.lists.get(address) ?? emptyList()), ...change }) };
}

export function trendingLoaded(state, { items, tags, refreshed_at: refreshedAt }, since) {
  const posts = items.map(({ trend: _trend, ...post }) => post);
  const merged = mergePosts(state, posts, since);
  const kept = new Set(held(merged, posts));
  const shown = items.filter(({ id }) => kept.has(id)).map(({ id, trend }) => ({ id, trend }));
  return { ...merged, trending: { status: 'ready', items: shown, tags: tags ?? [], refreshedAt: refreshedAt ?? null, problem: null } };
}

export function setFeed(state, change) {
  return { ...state, feed: { ...state.feed, ...change } };
}

/** The reader scrolled away from the top (or back): from now on new posts wait (or walk in). */
export function holdFeed(state, held) {
  return state.feed.held === held ? state : setFeed(state, { held });
}

/** The pill was pressed. */
export function releasePending(state) {
  if (!state.feed.pending.length) return state;
  const ids = union(state.feed.pending, state.feed.ids).sort(newestFirst(state.posts));
  return setFeed(state, { ids, pending: [], fresh: new Set(state.feed.pending) });
}

/** A post that is new to the viewer. `own`: just written on this page, so it is never held back. */
export function postArrived(state, post, own = false) {
  const merged = mergePosts(state, [post], post.liked === undefined ? undefined : state.rev);
  const posts = withEntry(merged.posts, post.id, { ...merged.posts.get(post.id), touched: state.rev + 1 });
  const next = { ...merged, posts, gone: without(merged.gone, `post:${post.id}`) };
  return onTop(onWall(inFeed(next, post.id, own), post), post.id, own);
}

function inFeed(state, id, own) {
  const { feed, posts } = state;
  if (feed.ids.includes(id) || (feed.pending.includes(id) && !own)) return state;
  const order = newestFirst(posts);
  const last = feed.ids.at(-1);
  if (last && feed.next !== null && order(last, id) < 0) return state; // further down than we have read: paging brings it
  const above = !feed.ids.length || order(id, feed.ids[0]) < 0;
  if (feed.held && above && !own) return setFeed(state, { pending: [id, ...feed.pending].sort(order) });
  const pending = minus(feed.pending, new Set([id]));
  return setFeed(state, { ids: [id, ...feed.ids].sort(order), pending, fresh: new Set([...feed.fresh, id]) });
}

function onWall(state, post) {
  const address = wallOf(post.author.id);
  const wall = state.lists.get(address);
  if (wall?.status !== 'ready' || wall.ids.includes(post.id)) return state;
  const ids = [post.id, ...wall.ids].sort(newestFirst(state.posts));
  if (wall.next !== null && ids.at(-1) === post.id) return state;
  return setList(state, address, { ids });
}

/** The ranking is the server's and stands still while it is read; only what one wrote just now is put before it. */
function onTop(state, id, own) {
  const top = state.lists.get(TOP);
  return own && top?.status === 'ready' ? setList(state, TOP, { ids: union([id], top.ids) }) : state;
}

// -- one post --

export function postRemoved(state, id) {
  return bury(removePosts(state, new Set([id])), `post:${id}`);
}

/** Posts of one person leave the feed (no friend any more) or everything (hidden). */
export function authorRemoved(state, userId, everywhere) {
  const theirs = new Set([...state.posts.values()].filter((post) => post.author.id === userId).map((post) => post.id));
  if (everywhere) return [...theirs].reduce((next, id) => bury(next, `post:${id}`), removePosts(state, theirs));
  const feed = setFeed(state, { ids: minus(state.feed.ids, theirs), pending: minus(state.feed.pending, theirs) });
  return feed.lists.has(TOP) ? setList(feed, TOP, { ids: minus(feed.lists.get(TOP).ids, theirs) }) : feed;
}

function removePosts(state, ids) {
  const posts = new Map(state.posts);
  const threads = new Map(state.threads);
  for (const id of ids) {
    posts.delete(id);
    threads.delete(id);
  }
  const lists = new Map([...state.lists].map(([address, list]) => [address, { ...list, ids: minus(list.ids, ids) }]));
  const feed = { ...state.feed, ids: minus(state.feed.ids, ids), pending: minus(state.feed.pending, ids) };
  const trending = { ...state.trending, items: state.trending.items.filter((item) => !ids.has(item.id)) };
  return { ...state, posts, threads, lists, feed, trending };
}

/** Latest counts from the live side; a count that is older than what we have is dropped. */
export function countsChanged(state, counts) {
  const posts = new Map(state.posts);
  let changed = false;
  for (const [id, { version, ...values }] of Object.entries(counts)) {
    const post = posts.get(id);
    if (!post || (version ?? 0) < post.countsVersion) continue;
    // While our own like is on its way the number on the button is ours; its answer brings the true one.
    const likes = post.likePending ? post.counts.likes : values.likes;
    posts.set(id, { ...post, counts: { ...post.counts, ...values, likes }, countsVersion: version ?? 0, touched: state.rev + 1 });
    changed = true;
  }
  return changed ? { ...state, posts } : state;
}

export function likeShown(state, id, liked) {
  const post = state.posts.get(id);
  if (!post || post.liked === liked) return state;
  const likes = Math.max(0, post.counts.likes + (liked ? 1 : -1));
  return patchPost(state, id, { liked, likePending: true, counts: { ...post.counts, likes } });
}

export function likeSettled(state, id, { likes, liked }) {
  const post = state.posts.get(id);
  return post ? patchPost(state, id, { liked, likePending: false, counts: { ...post.counts, likes } }) : state;
}

function patchPost(state, id, change) {
  const post = { ...state.posts.get(id), ...change, touched: state.rev + 1 };
  return { ...state, posts: withEntry(state.posts, id, post) };
}
