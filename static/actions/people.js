/**
 * Owns: people by HTTP: search, profiles, friends, requests, blocks.
 * Never does: DOM.
 */

import { withQuery } from '/static/api.js';
import { commenterRemoved } from '/static/state/comments.js';
import { blocksLoaded, forgetUser, friendsLoaded, mergeUsers, relate, requestsLoaded, unblocked } from '/static/state/people.js';
import { authorRemoved } from '/static/state/posts.js';

export function peopleActions({ api, store, now }) {
  async function loadFriends() {
    const { friends, rev: since } = store.get();
    setList('friends', { status: friends.ids.length ? friends.status : 'loading', problem: null });
    try {
      const read = await api.pages('/friends?limit=100', (items) => items.length >= friends.ids.length);
      store.update((state) => friendsLoaded(state, read, since));
    } catch (problem) {
      if (!friends.ids.length) setList('friends', { status: 'failed', problem });
      throw problem;
    }
  }

  async function moreFriends() {
    const { friends, rev: since } = store.get();
    if (friends.next === null || friends.more === 'loading') return;
    setList('friends', { more: 'loading' });
    try {
      const page = await api.get(withQuery('/friends?limit=100', { cursor: friends.next }));
      store.update((state) => friendsLoaded(state, page, since, true));
    } catch (problem) {
      setList('friends', { more: 'failed', problem });
    }
  }

  async function loadRequests() {
    const since = store.get().rev;
    try {
      const read = await api.pages('/friend-requests?limit=100', () => false);
      store.update((state) => requestsLoaded(state, read.items, since));
    } catch (problem) {
      store.update((state) => ({ ...state, requests: { ...state.requests, status: 'failed', problem } }));
      throw problem;
    }
  }

  async function searchPeople(text, cursor, signal) {
    const since = store.get().rev;
    const page = await api.get(withQuery('/users', { q: text, limit: 20, ...(cursor ? { cursor } : {}) }), { signal });
    store.update((state) => mergeUsers(state, page.items, since));
    return page;
  }

  async function loadUser(id) {
    const since = store.get().rev;
    const user = await api.get(`/users/${id}`);
    store.update((state) => mergeUsers(state, [user], since));
    return user;
  }

  /** Ask, or accept when they asked first: the server tells which it was. */
  async function befriend(id) {
    const { state: relation } = await api.put(`/friends/${id}`);
    store.update((state) => relate(state, id, relation, now()));
  }

  /** Unfriend, withdraw and decline are one act: no tie any more. */
  async function unfriend(id) {
    await api.delete(`/friends/${id}`);
    store.update((state) => authorRemoved(relate(state, id, 'none', now()), id, false));
  }

  async function block(id) {
    await api.put(`/blocks/${id}`);
    store.update((state) => forgetUser(commenterRemoved(authorRemoved(state, id, true), id), id));
  }

  async function loadBlocks() {
    setList('blocks', { status: 'loading', problem: null });
    try {
      const read = await api.pages('/blocks?limit=100', () => false);
      store.update((state) => blocksLoaded(state, read));
    } catch (problem) {
      setList('blocks', { status: 'failed', problem });
    }
  }

  async function unblock(id) {
    await api.delete(`/blocks/${id}`);
    store.update((state) => unblocked(state, id));
  }

  function setList(name, change) {
    store.update((state) => ({ ...state, [name]: { ...state[name], ...change } }));
  }

  return {
    loadFriends, moreFriends, loadRequests, searchPeople, loadUser, befriend, unfriend, block, loadBlocks, unblock,
  };
}
