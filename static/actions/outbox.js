/**
 * Owns: sending what the reader wrote, in order per lane, until the server has answered; surviving a closed tab.
 * Never does: decide what a post looks like. An entry keeps its Idempotency-Key for life, so sending it again (after a
 * lost answer, from a second tab, after a restart of the browser) cannot make a second post.
 */

import { newKey } from '/static/api.js';
import { jitter } from '/static/live-streams.js';
import { commentArrived } from '/static/state/comments.js';
import { queued, removed, setEntry } from '/static/state/outbox.js';
import { postArrived } from '/static/state/posts.js';

const TRIES_BEFORE_ASKING = 4; // then the reader gets a Retry button; coming back online still retries by itself

/** `storage` is the Storage interface; `online()` tells whether sending makes sense at all. */
export function outboxActions({ api, store, storage, clock, random, online }) {
  const busy = new Set(); // lanes with a request or a pause under way

  const slot = () => `social.outbox.${store.get().session.userId}`;

  function submitPost(body) {
    enqueue({ lane: 'posts', path: '/posts', body });
  }

  function submitShare(postId, body) {
    enqueue({ lane: 'posts', path: `/posts/${postId}/shares`, body });
  }

  function submitComment(postId, text) {
    enqueue({ lane: `post:${postId}`, path: `/posts/${postId}/comments`, body: { text } });
  }

  function enqueue(entry) {
    store.update((state) => queued(state, { key: newKey(), at: new Date(clock.now()).toISOString(), tries: 0, ...entry }));
    save();
    run(entry.lane);
  }

  function retry(key) {
    store.update((state) => setEntry(state, key, { status: 'waiting', tries: 0, problem: null }));
    run(store.get().outbox.find((entry) => entry.key === key)?.lane);
  }

  function discard(key) {
    const entry = store.get().outbox.find((one) => one.key === key);
    store.update((state) => removed(state, key));
    save();
    if (entry) run(entry.lane);
    return entry;
  }

  /** After sign-in: what an earlier tab could not send comes back, in its order. */
  function restore() {
    let kept = [];
    try {
      kept = JSON.parse(storage.getItem(slot()) ?? '[]');
    } catch {
      storage.removeItem(slot());
    }
    for (const entry of kept) {
      if (!store.get().outbox.some((one) => one.key === entry.key)) {
        store.update((state) => queued(state, { ...entry, tries: entry.tries > 0 ? 1 : 0, status: 'waiting', problem: null, adopted: false }));
      }
    }
    flush();
  }

  /** The connection is back: everything that failed for want of one goes out again. */
  function flush() {
    for (const entry of store.get().outbox) {
      if (entry.status === 'failed' && entry.problem?.temporary) {
        store.update((state) => setEntry(state, entry.key, { status: 'waiting', tries: 1, problem: null }));
      }
    }
    for (const lane of new Set(store.get().outbox.map((entry) => entry.lane))) run(lane);
  }

  function forget() {
    storage.removeItem(slot());
  }

  async function run(lane) {
    if (!lane || busy.has(lane)) return;
    busy.add(lane);
    try {
      for (let entry = head(lane); entry && online(); entry = head(lane)) await attempt(entry);
    } finally {
      busy.delete(lane);
    }
  }

  /** The first entry of a lane; a failed one keeps those behind it back, because order is a promise to the writer. */
  function head(lane) {
    const first = store.get().outbox.find((entry) => entry.lane === lane);
    return first?.status === 'failed' ? undefined : first;
  }

  async function attempt(entry) {
    store.update((state) => setEntry(state, entry.key, { status: 'sending', tries: entry.tries + 1 }));
    try {
      const item = await api.post(entry.path, entry.body, { key: entry.key });
      if (!store.get().outbox.some((one) => one.key === entry.key)) return; // signed out, or discarded, meanwhile
      store.update((state) => removed(arrived(state, entry, item), entry.key));
      save();
    } catch (problem) {
      if (problem.temporary && entry.tries + 1 < TRIES_BEFORE_ASKING) {
        store.update((state) => setEntry(state, entry.key, { status: 'waiting' }));
        await pause(problem, entry.tries);
      } else {
        store.update((state) => setEntry(state, entry.key, { status: 'failed', problem, adopted: false }));
      }
    }
  }

  function pause(problem, tries) {
    const seconds = problem.retryAfter ?? 0.3 + jitter(random, tries);
    return new Promise((resolve) => { clock.setTimeout(resolve, seconds * 1000); });
  }

  function save() {
    try {
      const kept = store.get().outbox.map(({ key, lane, path, body, at, tries }) => ({ key, lane, path, body, at, tries }));
      if (kept.length) storage.setItem(slot(), JSON.stringify(kept));
      else storage.removeItem(slot());
    } catch {
      // Storage full or forbidden: the queue still lives as long as the tab.
    }
  }

  return { submitPost, submitShare, submitComment, retry, discard, restore, flush, forget };
}

function arrived(state, entry, item) {
  return entry.lane === 'posts' ? postArrived(state, item, true) : commentArrived(state, item);
}
