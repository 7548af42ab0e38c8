/**
 * Owns: reading and writing posts, likes and comments: HTTP first, then the pure rule that takes the answer in.
 * Never does: DOM. Every read notes the state's `rev` before it starts, see state/model.js.
 */

import { Problem } from '/static/api.js';
import { commentEdited, commentRemoved, setThread, threadClosed, threadLoaded } from '/static/state/comments.js';
import { emptyList, withEntry } from '/static/state/model.js';
import {
  feedExtended, feedLoaded, likeSettled, likeShown, mergePosts, postRemoved, setFeed, wallLoaded,
} from '/static/state/posts.js';
import { mergeUsers } from '/static/state/people.js';

const FIRST_PAGE = 20;
const REREAD_PAGE = 100;
const COMMENT_PAGE = 50;

export function feedActions({ api, store, live }) {
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

  async function loadWall(userId, append = false) {
    const { walls, rev: since } = store.get();
    const wall = walls.get(userId) ?? emptyList();
    if (append && (wall.next === null || wall.more === 'loading')) return;
    const set = (change) => store.update((state) => (
      { ...state, walls: withEntry(state.walls, userId, { ...(state.walls.get(userId) ?? emptyList()), ...change }) }));
    set(append ? { more: 'loading' } : { status: wall.ids.length ? wall.status : 'loading', problem: null });
    try {
      const cursor = append ? `&cursor=${encodeURIComponent(wall.next)}` : '';
      const page = await api.get(`/users/${userId}/posts?limit=${FIRST_PAGE}${cursor}`);
      store.update((state) => wallLoaded(state, userId, page, since, append));
    } catch (problem) {
      set(append ? { more: 'failed', problem } : { status: 'failed', problem });
    }
  }

  async function loadPost(id) {
    const since = store.get().rev;
    const post = await api.get(`/posts/${id}`);
    store.update((state) => mergePosts(state, [post], since));
  }

  async function editPost(id, change) {
    const since = store.get().rev;
    const post = await api.patch(`/posts/${id}`, change);
    store.update((state) => mergePosts(state, [post], since));
  }

  async function deletePost(id) {
    await forgiveMissing(api.delete(`/posts/${id}`));
    store.update((state) => postRemoved(state, id));
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

  async function deleteComment(id) {
    await forgiveMissing(api.delete(`/comments/${id}`));
    store.update((state) => commentRemoved(state, id));
  }

  async function loadLikers(postId, cursor) {
    const since = store.get().rev;
    const page = await api.get(`/posts/${postId}/likes?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    store.update((state) => mergeUsers(state, page.items, since));
    return page;
  }

  return {
    loadFeed, moreFeed, loadWall, loadPost, editPost, deletePost, setLike, openThread, closeThread, loadThread, moreThread,
    editComment, deleteComment, loadLikers, typing: (postId) => live.typing(postId),
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
