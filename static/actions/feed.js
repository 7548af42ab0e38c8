/**
 * Owns: reading and writing posts, likes and comments: HTTP first, then the pure rule that takes the answer in.
 * Never does: DOM. Every read notes the state's `rev` before it starts, see state/model.js.
 */

import { Problem, withQuery } from '/static/api.js';
import { commentEdited, commentRemoved, setThread, threadClosed, threadLoaded } from '/static/state/comments.js';
import { deletionMarked } from '/static/state/deleting.js';
import {
  feedExtended, feedLoaded, likeSettled, likeShown, mergePosts, postRemoved, setFeed,
} from '/static/state/posts.js';
import { mergeUsers } from '/static/state/people.js';

const FIRST_PAGE = 20;
const REREAD_PAGE = 100;
const COMMENT_PAGE = 50;
const SPREAD_MS = 1_000; // all who see a share are told at once that what it shares has changed

export function feedActions({ api, store, live, clock, random }) {
  /** Reads the feed from its start, at least as far as it is on screen. -> the position of `me` before the read. */
  async function loadFeed() {
    const { feed, rev: since } = store.get();
    const wanted = feed.ids.length;
    if (!wanted) store.update((state) => setFeed(state, { status: 'loading', problem: null }));
    try {
      const limit = wanted > FIRST_PAGE ? REREAD_PAGE : FIRST_PAGE;
      const read = await api.pages(`/feed?limit=${limit}`, (items) => items.length >= wanted);
      store.update((state) => feedLoaded(state, read, since));
      return read.position;
    } catch (problem) {
      store.update((state) => setFeed(state, state.feed.ids.length ? {} : { status: 'failed', problem }));
      throw problem;
    }
  }

  async function moreFeed() {
    const { feed, rev: since } = store.get();
    if (feed.next === null || feed.more === 'loading') return;
    store.update((state) => setFeed(state, { more: 'loading' }));
    try {
      const page = await api.get(`/feed?limit=${FIRST_PAGE}&cursor=${encodeURIComponent(feed.next)}`);
      // A re-read that finished meanwhile moved the cursor; this page then belongs to a list that is gone.
      if (store.get().feed.next === feed.next) store.update((state) => feedExtended(state, page, since));
    } catch (problem) {
      store.update((state) => setFeed(state, { more: 'failed', problem }));
    }
  }

  // -- one post --

  async function loadPost(id) {
    const since = store.get().rev;
    try {
      const post = await api.get(`/posts/${id}`);
      store.update((state) => mergePosts(state, [post], since));
    } catch (problem) {
      if (problem.status === 404) store.update((state) => postRemoved(state, id));
      throw problem;
    }
  }

  const rereading = new Set();

  /** What a post shares was edited or taken away: its events go to those who hold it, an edit of the share to the others. */
  function rereadSoon(id) {
    if (rereading.has(id)) return;
    rereading.add(id);
    clock.setTimeout(() => {
      rereading.delete(id);
      loadPost(id).catch(() => {});
    }, random() * SPREAD_MS);
  }

  const loadHistory = (id, cursor) => api.get(withQuery(`/posts/${id}/history`, cursor ? { cursor } : {}));

  async function editPost(id, change) {
    const since = store.get().rev;
    const post = await api.patch(`/posts/${id}`, change);
    store.update((state) => mergePosts(state, [post], since));
  }

  // -- deleting: out of sight at once, sent when the reader can no longer take it back --

  const dropping = new Map(); // key -> request under way

  function markDeleted(key) {
    store.update((state) => deletionMarked(state, key, true));
  }

  function restoreDeleted(key) {
    store.update((state) => deletionMarked(state, key, false));
  }

  /** Sends it; `keepalive`, because the page may be on its way out. Comes back into sight when that fails. */
  function sendDeleted(key) {
    if (!store.get().deleting.has(key)) return undefined;
    if (!dropping.has(key)) dropping.set(key, drop(key).finally(() => dropping.delete(key)));
    return dropping.get(key);
  }

  async function drop(key) {
    const [kind, id] = key.split(':');
    try {
      await forgiveMissing(api.delete(`/${kind}s/${id}`, { keepalive: true }));
      store.update((state) => deletionMarked(kind === 'post' ? postRemoved(state, id) : commentRemoved(state, id), key, false));
    } catch (problem) {
      restoreDeleted(key);
      throw problem;
    }
  }

  /** The page or the session ends: there is nobody left to take anything back. */
  function sendAllDeleted() {
    return Promise.allSettled([...store.get().deleting].map(sendDeleted));
  }

  // -- likes: the button shows the wish at once; one request at a time carries the latest wish --

  const liking = new Set();

  async function setLike(id, liked) {
    store.update((state) => likeShown(state, id, liked));
    if (liking.has(id)) return;
    liking.add(id);
    try {
      await followWish(id);
    } finally {
      liking.delete(id);
    }
  }

  async function followWish(id) {
    for (;;) {
      const wish = store.get().posts.get(id)?.liked;
      if (wish === undefined) return;
      try {
        const answer = await (wish ? api.put(`/posts/${id}/like`) : api.delete(`/posts/${id}/like`));
        if ((store.get().posts.get(id)?.liked ?? wish) !== wish) continue; // pressed again meanwhile
        store.update((state) => likeSettled(state, id, answer));
        return;
      } catch (problem) {
        const post = store.get().posts.get(id);
        if (post) store.update((state) => likeSettled(state, id, { liked: !wish, likes: Math.max(0, post.counts.likes + (wish ? -1 : 1)) }));
        throw problem;
      }
    }
  }

  // -- comments: a thread is read after its stream was joined, so nothing falls between --

  const opened = new Map(); // post id -> how many views show its thread

  function openThread(postId) {
    const count = (opened.get(postId) ?? 0) + 1;
    opened.set(postId, count);
    if (count > 1) return;
    store.update((state) => setThread(state, postId, { status: 'loading' }));
    live.subscribe(`post:${postId}`);
    // Without a connection the join may be far away; reading now shows something, the join reads again.
    if (store.get().connection !== 'live') loadThread(postId).catch(() => {});
  }

  function closeThread(postId) {
    const count = (opened.get(postId) ?? 1) - 1;
    if (count > 0) return opened.set(postId, count);
    opened.delete(postId);
    live.unsubscribe(`post:${postId}`);
    return store.update((state) => threadClosed(state, postId));
  }

  async function loadThread(postId) {
    const { threads, rev: since } = store.get();
    const wanted = threads.get(postId)?.ids.length ?? 0;
    try {
      const read = await api.pages(`/posts/${postId}/comments?limit=${COMMENT_PAGE}`, (items) => items.length >= wanted);
      if (opened.has(postId)) store.update((state) => threadLoaded(state, postId, read, since, false));
    } catch (problem) {
      if (opened.has(postId) && !wanted) store.update((state) => setThread(state, postId, { status: 'failed', problem }));
      throw problem;
    }
  }

  async function moreThread(postId) {
    const { threads, rev: since } = store.get();
    const thread = threads.get(postId);
    if (!thread?.next || thread.more === 'loading') return;
    store.update((state) => setThread(state, postId, { more: 'loading' }));
    try {
      const page = await api.get(`/posts/${postId}/comments?limit=${COMMENT_PAGE}&cursor=${encodeURIComponent(thread.next)}`);
      if (store.get().threads.get(postId)?.next === thread.next) {
        store.update((state) => threadLoaded(state, postId, page, since, true));
      }
    } catch (problem) {
      store.update((state) => setThread(state, postId, { more: 'failed', problem }));
    }
  }

  async function editComment(id, text) {
    const comment = await api.patch(`/comments/${id}`, { text });
    store.update((state) => commentEdited(state, comment));
  }

  async function loadLikers(postId, cursor) {
    const since = store.get().rev;
    const page = await api.get(`/posts/${postId}/likes?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    store.update((state) => mergeUsers(state, page.items, since));
    return page;
  }

  return {
    loadFeed, moreFeed, loadPost, rereadSoon, loadHistory, editPost, markDeleted, restoreDeleted, sendDeleted, sendAllDeleted, setLike,
    openThread, closeThread, loadThread, moreThread, editComment, loadLikers, typing: (postId) => live.typing(postId),
  };
}

/** Deleting what is already gone has reached its goal. */
async function forgiveMissing(request) {
  try {
    await request;
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status !== 404) throw problem;
  }
}
