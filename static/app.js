/**
 * The root: makes the one store, API, live client and helpers, ties them to the browser's events, and draws.
 * Every side effect of the page (network, clock, storage, randomness) enters here and is handed down.
 */

import { html, render } from '/static/vendor/htm-preact-standalone.module.js';
import { createApi } from '/static/api.js';
import { LiveClient } from '/static/live.js';
import { EventSocket } from '/static/live-events.js';
import { Transport } from '/static/live-transport.js';
import { createStore } from '/static/store.js';
import { feedActions } from '/static/actions/feed.js';
import { listActions } from '/static/actions/lists.js';
import { outboxActions } from '/static/actions/outbox.js';
import { peopleActions } from '/static/actions/people.js';
import { sessionActions } from '/static/actions/session.js';
import { apply } from '/static/state/events.js';
import { emptyState } from '/static/state/model.js';
import { presenceChanged, presenceForgotten } from '/static/state/people.js';
import { countsChanged, postRemoved } from '/static/state/posts.js';
import { FADE_MS, typingFaded, typingHeard } from '/static/state/typing.js';
import { createAnnouncer, createToasts } from '/static/ui/feedback.js';
import { AppContext, useApp, useStore } from '/static/ui/hooks.js';
import { Mark } from '/static/ui/icons.js';
import { createPrefs } from '/static/ui/prefs.js';
import { createRouter } from '/static/ui/router.js';
import { createSlots } from '/static/ui/slots.js';
import { createWatcher } from '/static/ui/watcher.js';
import { ProblemNote } from '/static/views/parts.js';
import { Shell } from '/static/views/shell.js';
import { SignPage } from '/static/views/sign.js';
import { direction, locale, t } from '/static/strings.js';

const clock = {
  now: () => Date.now(),
  setTimeout: (task, ms) => window.setTimeout(task, ms),
  clearTimeout: (timer) => window.clearTimeout(timer),
};
const CATCH_UP_MS = 1_000;
const PROBE_MS = 4_000; // HTTP that takes longer is not a reason to prefer it
const LIVE = '/api/v1/live';
const online = () => navigator.onLine;
/** A hidden page draws nothing, but its state, title and announcements must go on. */
const schedule = (task) => (document.hidden ? clock.setTimeout(task, 100) : requestAnimationFrame(task));

const store = createStore(emptyState(), schedule);
const ticker = createStore({ rev: 0 }, (task) => task());
const toasts = createToasts(clock);
const announce = createAnnouncer(document.getElementById('announcer'), clock);
const channel = 'BroadcastChannel' in window ? new BroadcastChannel('social.session') : null;

const fetch = (...request) => window.fetch(...request);
const api = createApi({
  fetch,
  sleep: (ms) => new Promise((resolve) => { clock.setTimeout(resolve, ms); }),
  onSignedOut: () => session.check(),
});
const transport = new Transport({
  ways: {
    websocket: () => new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${LIVE}`, 'social.live.v1'),
    events: () => new EventSocket({ fetch, clock, type: (postId) => api.post('/live/typing', { post_id: postId }).catch(() => {}) }),
  },
  probe,
  clock,
  storage: sessionStorage,
});
const live = new LiveClient({
  transport,
  clock,
  random: Math.random,
  reload: (stream) => session.reload(stream),
  on: {
    event: (stream, event) => takeIn(stream, event),
    refused: (stream, code) => refused(stream, code),
    counts: (counts) => store.update((state) => countsChanged(state, counts)),
    presence: (users) => store.update((state) => presenceChanged(state, users)),
    typing: (postId, userId) => typing(postId, userId),
    welcomed: () => store.update(presenceForgotten),
    status: (connection) => connectionChanged(connection),
    stopped: (code) => stopped(code),
    user: (id) => id !== undefined && String(id) !== store.get().session.userId && session.check(),
  },
});
const outbox = outboxActions({ api, store, storage: localStorage, clock, random: Math.random, online });
const feed = feedActions({ api, store, live, clock, random: Math.random });
const lists = listActions({ api, store, live, clock, random: Math.random });
const people = peopleActions({ api, store, now: () => new Date(clock.now()).toISOString() });
const session = sessionActions({ api, store, live, outbox, feed, lists, people, announceUser: (id) => channel?.postMessage(id) });

const app = {
  store, ticker, toasts, announce, clock, online,
  router: createRouter(window),
  prefs: createPrefs(localStorage, document.documentElement),
  watcher: createWatcher((posts) => live.watch(posts)),
  slots: createSlots(),
  actions: { ...session, ...outbox, ...feed, ...lists, ...people, reconnect: () => live.wake() },
};

/** The live address asked for without an upgrade: any answer but a server's trouble means that HTTP gets through. */
async function probe() {
  try {
    return (await fetch(LIVE, { cache: 'no-store', signal: AbortSignal.timeout(PROBE_MS) })).status < 500;
  } catch {
    return false;
  }
}

function takeIn(stream, event) {
  const before = store.get();
  store.update((state) => apply(state, stream, event));
  const post = event.data;
  if (event.event === 'post.created' && post.author.id !== before.session.userId && !before.posts.has(post.id)) announce.arrived(1);
  if (event.event === 'post.edited' && post.shared && store.get().posts.has(post.id)) feed.rereadSoon(post.shared.id);
  if (event.event === 'friend.accepted') catchUp();
  if (event.event === 'trending.refreshed') lists.loadTrendingSoon();
  if (event.event === 'friend.requested') announce.say(t('friends.announced', { name: event.data.name }));
}

/**
 * A new friend's older posts, and whether they are here, come with no event: read them, a moment later, because several
 * acceptances may come together.
 */
function catchUp() {
  clock.clearTimeout(catchUp.timer);
  catchUp.timer = clock.setTimeout(() => {
    feed.loadFeed().catch(() => {});
    people.loadFriends().catch(() => {});
  }, CATCH_UP_MS);
}

/** A thread's stream is refused when its post is gone, or not ours to see any more. A list can be read without its stream. */
function refused(stream, code) {
  if (stream === 'trending') lists.loadTrending().catch(() => {});
  if (code === 'forbidden_or_missing' && stream.startsWith('post:')) store.update((state) => postRemoved(state, stream.slice(5)));
}

function connectionChanged(connection) {
  store.update((state) => ({ ...(connection === 'offline' ? presenceForgotten(state) : state), connection }));
  if (connection === 'live') outbox.flush();
}

function typing(postId, userId) {
  store.update((state) => typingHeard(state, postId, userId, clock.now()));
  clock.setTimeout(() => store.update((state) => typingFaded(state, clock.now())), FADE_MS);
}

/** The server does not want this connection back. Most often the session ended; then /me says so too. */
async function stopped() {
  await session.check();
}

function wake() {
  live.wake();
  outbox.flush();
}

window.addEventListener('online', wake);
window.addEventListener('offline', () => live.lost());
window.addEventListener('pagehide', () => feed.sendAllDeleted());
window.addEventListener('pageshow', (event) => event.persisted && session.check().then(wake));
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  ticker.update((state) => ({ ...state }));
  wake();
});
// Another tab signed in as somebody else, or out: the cookie is shared, so this page must follow.
channel?.addEventListener('message', (event) => event.data !== store.get().session.userId && store.get().session.status === 'in' && session.check());
window.setInterval(() => ticker.update((state) => ({ ...state })), 60_000);

function Root() {
  const { actions } = useApp();
  const { status, userId, problem } = useStore((state) => state.session);
  if (status === 'in') return html`<${Shell} key=${userId} />`; // nothing of somebody else's page stays
  if (status === 'out') return html`<${SignPage} />`;
  return html`<main class="opening" id="main" aria-busy=${String(status === 'unknown')}>
    <${Mark} />
    ${status === 'failed' && html`<${ProblemNote} problem=${problem} onRetry=${actions.boot} />`}
  </main>`;
}

document.documentElement.lang = locale;
document.documentElement.dir = direction;
render(html`<${AppContext.Provider} value=${app}><${Root} /><//>`, document.getElementById('root'));
session.boot();
