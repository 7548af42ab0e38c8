/**
 * Owns: reading the lists of posts that are not the feed: a person's, a tag's, what a search found, the ranking, what is
 * trending. Each is known by its address, and read again while a view shows it and events may have been missed.
 * Never does: DOM.
 */

import { withQuery } from '/static/api.js';
import { emptyList, without } from '/static/state/model.js';
import { listLoaded, setList, TOP, trendingLoaded } from '/static/state/posts.js';

const FIRST_PAGE = 20;
const REREAD_PAGE = 100;
const TRENDING_SPREAD_MS = 5_000; // everybody who is here is told at once that there is a new list

export function listActions({ api, store, live, clock, random }) {
  const shown = new Map(); // address -> how many views show the list

  /** A view shows the list from now on. -> a function that ends it. */
  function openList(address) {
    shown.set(address, (shown.get(address) ?? 0) + 1);
    // Every first page of the ranking is another ranking: who comes back to it finds the one that they were reading.
    if (address !== TOP || !store.get().lists.has(TOP)) loadList(address);
    return () => {
      const left = shown.get(address) - 1;
      if (left) shown.set(address, left);
      else shown.delete(address);
    };
  }

  /** Events may have been missed: what is on screen is read again. */
  async function rereadLists() {
    await Promise.all([...shown.keys()].map(loadList));
  }

  /** The ranking of now in place of the one that was read. */
  function loadTop() {
    store.update((state) => ({ ...state, lists: without(state.lists, TOP) }));
    loadList(TOP);
  }

  async function loadList(address) {
    const { lists, rev: since } = store.get();
    const wanted = lists.get(address)?.ids.length ?? 0;
    store.update((state) => setList(state, address, { status: wanted ? 'ready' : 'loading', problem: null }));
    try {
      const limit = wanted > FIRST_PAGE ? REREAD_PAGE : FIRST_PAGE;
      const read = await api.pages(withQuery(address, { limit }), (items) => items.length >= wanted);
      store.update((state) => listLoaded(state, address, read, since, false));
    } catch (problem) {
      if (problem.kind !== 'aborted') store.update((state) => setList(state, address, { status: 'failed', problem }));
    }
  }

  async function moreList(address) {
    const { lists, rev: since } = store.get();
    const { next, more } = lists.get(address) ?? emptyList();
    if (next === null || more === 'loading') return;
    store.update((state) => setList(state, address, { more: 'loading' }));
    try {
      const page = await api.get(withQuery(address, { limit: FIRST_PAGE, cursor: next })).catch((problem) => {
        if (!problem.field('/cursor')) throw problem;
        return api.get(withQuery(address, { limit: REREAD_PAGE })); // a ranking ends after a while; the next one goes on
      });
      if (store.get().lists.get(address)?.next === next) store.update((state) => listLoaded(state, address, page, since, true));
    } catch (problem) {
      store.update((state) => setList(state, address, { more: 'failed', problem }));
    }
  }

  // -- what is trending: read when its stream was joined, and whenever that says that there is a new list --

  let trendingViews = 0;

  function openTrending() {
    trendingViews += 1;
    if (trendingViews > 1) return;
    live.subscribe('trending');
    if (store.get().connection !== 'live') loadTrending().catch(() => {});
  }

  function closeTrending() {
    trendingViews -= 1;
    if (!trendingViews) live.unsubscribe('trending');
  }

  async function loadTrending() {
    const since = store.get().rev;
    const set = (change) => store.update((state) => ({ ...state, trending: { ...state.trending, ...change } }));
    if (store.get().trending.status !== 'ready') set({ status: 'loading', problem: null });
    try {
      const read = await api.get('/trending');
      store.update((state) => trendingLoaded(state, read, since));
    } catch (problem) {
      if (store.get().trending.status !== 'ready') set({ status: 'failed', problem });
      throw problem;
    }
  }

  function loadTrendingSoon() {
    clock.setTimeout(() => loadTrending().catch(() => {}), random() * TRENDING_SPREAD_MS);
  }

  return { openList, loadTop, loadList, moreList, rereadLists, openTrending, closeTrending, loadTrending, loadTrendingSoon };
}
