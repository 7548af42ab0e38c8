/**
 * Owns: the home page: composer, the pill, the feed in either order; and the rule that what is being read never moves.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { useApp, useMedia, useStore, useStoreOf } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { holdFeed, releasePending, setFeed, TOP } from '/static/state/posts.js';
import { Composer } from '/static/views/composer.js';
import { FeedList, PostList } from '/static/views/feed-list.js';
import { Empty, Link, ProblemNote, SkeletonPosts } from '/static/views/parts.js';
import { WIDE } from '/static/views/side.js';
import { Trending } from '/static/views/trending.js';
import { t } from '/static/strings.js';

const AT_TOP_PX = 60; // the composer is still in view: what is inserted below it pushes nothing that is being read
const FRESH_MS = 4_000;
const BACK_MS = 20_000;

export function HomePage() {
  const home = useStore((state) => state.home);
  const waiting = useStore((state) => state.feed.pending.length);
  const wide = useMedia(WIDE);
  useHolding(home);
  return html`
    <h1 class="visually-hidden" tabindex="-1">${t('nav.home')}</h1>
    <${Composer} />
    <${Tabs} home=${home} wide=${wide} />
    <div class="stream">
      <${Pill} waiting=${waiting} />
      ${home === 'recent' && html`<${Newest} />`}
      ${home === 'top' && html`<${PostList} address=${TOP} label=${t('feed.topLabel')} empty=${html`<${NoPosts} />`} />`}
      ${home === 'trending' && html`<div class="card trending-page"><${Trending} page /></div>`}
    </div>`;
}

/** What the page shows. What is trending has its own column on wide screens. */
function Tabs({ home, wide }) {
  const { store, actions } = useApp();
  const tabs = ['recent', 'top', ...(wide && home !== 'trending' ? [] : ['trending'])];
  const choose = (tab) => {
    if (tab === 'top') actions.loadTop();
    store.update((state) => ({ ...state, home: tab }));
  };
  return html`<div class="tabs" role="group" aria-label=${t('tabs.label')} data-testid="home-tabs">
    ${tabs.map((tab) => html`<button key=${tab} type="button" class="tab" aria-pressed=${String(tab === home)} onClick=${() => choose(tab)}>${t(`tabs.${tab}`)}</button>`)}
  </div>`;
}

function Newest() {
  const { actions } = useApp();
  const feed = useStore((state) => state.feed);
  useFreshness(feed.fresh);
  const retry = () => actions.loadFeed().catch(() => {});
  return html`
    ${feed.status === 'loading' && html`<${SkeletonPosts} />`}
    ${feed.status === 'failed' && html`<${ProblemNote} problem=${feed.problem} onRetry=${retry} />`}
    ${feed.status === 'ready' && !feed.ids.length && html`<${NoPosts} />`}
    ${feed.ids.length > 0 && html`<${FeedList} label=${t('feed.label')} ids=${feed.ids} next=${feed.next} more=${feed.more}
      problem=${feed.problem} fresh=${feed.fresh} onMore=${actions.moreFeed} />`}`;
}

function NoPosts() {
  return html`<${Empty} icon="friends" title=${t('feed.emptyTitle')}>
    <p>${t('feed.emptyText')}</p>
    <${Link} to="/friends" class="button button-primary"><${Icon} name="search" /><span>${t('feed.findFriends')}</span><//>
  <//>`;
}

/** Tells the state whether new posts may walk in: only at the top of the newest, with nobody at work in a post, if the reader likes it. */
function useHolding(home) {
  const { store, prefs } = useApp();
  const { arrivals } = useStoreOf(prefs, (value) => value);
  useEffect(() => {
    const judge = () => {
      const at = document.activeElement; // a control in a post, not the post itself, where reading leaves the focus
      const working = Boolean(at?.closest('.feed') && !at.matches('.feed > article'));
      const held = home !== 'recent' || arrivals === 'ask' || window.scrollY > AT_TOP_PX || working;
      store.update((state) => holdFeed(state, held));
    };
    judge();
    window.addEventListener('scroll', judge, { passive: true });
    document.addEventListener('focusin', judge);
    document.addEventListener('focusout', judge);
    return () => {
      window.removeEventListener('scroll', judge);
      document.removeEventListener('focusin', judge);
      document.removeEventListener('focusout', judge);
    };
  }, [arrivals, home]);
}

/** The gentle mark of a new post ends by itself and does not come back when the page is drawn again. */
function useFreshness(fresh) {
  const { store, clock } = useApp();
  useEffect(() => {
    if (!fresh.size) return undefined;
    const timer = clock.setTimeout(() => store.update((state) => setFeed(state, { fresh: new Set() })), FRESH_MS);
    return () => clock.clearTimeout(timer);
  }, [fresh]);
}

/**
 * "N new posts": takes the reader up to them, and offers the way back to the line that they were at. It tucks itself
 * away while they read on downwards and returns when they turn up again; it stays reachable by keyboard all the time.
 */
function Pill({ waiting }) {
  const { store, clock } = useApp();
  const [back, setBack] = useState(null); // {id, top} of the article that was at the top of the screen
  const tucked = useTucked(waiting > 0);
  useEffect(() => {
    if (!back) return undefined;
    const timer = clock.setTimeout(() => setBack(null), BACK_MS);
    return () => clock.clearTimeout(timer);
  }, [back]);

  const up = () => {
    setBack(store.get().home === 'recent' && window.scrollY > AT_TOP_PX ? readingPoint() : null);
    store.update((state) => releasePending({ ...state, home: 'recent' }));
    requestAnimationFrame(() => {
      document.querySelector('.feed > article')?.focus({ preventScroll: true });
      scrollPage(0);
    });
  };
  const down = () => {
    const article = document.querySelector(`.feed > [data-post-id="${back.id}"]`);
    setBack(null);
    if (!article) return;
    article.focus({ preventScroll: true });
    scrollPage(window.scrollY + article.getBoundingClientRect().top - back.top);
  };
  if (waiting > 0) {
    return html`<div class=${tucked ? 'pill-place is-tucked' : 'pill-place'}><button type="button" class="pill" onClick=${up} data-testid="new-posts">
      <${Icon} name="up" />${t('feed.waiting', { n: waiting })}</button></div>`;
  }
  if (back) {
    return html`<div class="pill-place is-below"><button type="button" class="pill pill-quiet" onClick=${down} data-testid="back-to-reading">
      <${Icon} name="down" />${t('feed.back')}</button></div>`;
  }
  return null;
}

/** Away on the way down, back on the way up; the first arrival always shows itself once. */
function useTucked(needed) {
  const [tucked, setTucked] = useState(false);
  const last = useRef(0);
  useEffect(() => {
    if (!needed) return undefined;
    setTucked(false);
    last.current = window.scrollY;
    const onScroll = () => {
      const moved = window.scrollY - last.current;
      if (Math.abs(moved) < 24) return;
      last.current = window.scrollY;
      setTucked(moved > 0);
    };
    window.addEventListener('scroll', onScroll, { passive: true });
    return () => window.removeEventListener('scroll', onScroll);
  }, [needed]);
  return tucked;
}

function readingPoint() {
  for (const article of document.querySelectorAll('.feed > article')) {
    const { top, bottom } = article.getBoundingClientRect();
    if (bottom > 80) return { id: article.dataset.postId, top };
  }
  return null;
}

function scrollPage(top) {
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  // A long way would be a long film: beyond three screens it is a cut.
  const near = Math.abs(window.scrollY - top) < 3 * window.innerHeight;
  window.scrollTo({ top, behavior: calm || !near ? 'auto' : 'smooth' });
}
