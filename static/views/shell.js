/**
 * Owns: the frame around every signed-in page: navigation, connection state, messages, moving focus between pages.
 */

import { html, useEffect, useLayoutEffect, useRef } from '/static/vendor/htm-preact-standalone.module.js';
import { explain } from '/static/ui/feedback.js';
import { useApp, useMe, useStore, useStoreOf } from '/static/ui/hooks.js';
import { Icon, Mark } from '/static/ui/icons.js';
import { FriendsPage } from '/static/views/friends.js';
import { HomePage } from '/static/views/home.js';
import { Avatar, Button, Link } from '/static/views/parts.js';
import { NotAvailable, ProfilePage } from '/static/views/profile.js';
import { SearchPage } from '/static/views/search.js';
import { SettingsPage } from '/static/views/settings.js';
import { Side } from '/static/views/side.js';
import { PostPage } from '/static/views/single-post.js';
import { TagPage } from '/static/views/tag.js';
import { t } from '/static/strings.js';

const PAGES = {
  home: HomePage, search: SearchPage, tag: TagPage, friends: FriendsPage, user: ProfilePage, post: PostPage, settings: SettingsPage, missing: NotAvailable,
};

export function Shell() {
  const { router } = useApp();
  const route = useStoreOf(router, (value) => value);
  const Page = PAGES[route.page];
  const signedIn = useStore((state) => state.session.status === 'in');
  usePlace(route);
  if (!signedIn) return null; // signing out may change the address a moment before the root changes the page
  return html`<div class="shell">
    <a class="skip" href="#main">${t('nav.skip')}</a>
    <${Navigation} route=${route} />
    <div class="middle">
      <${Banner} />
      <main id="main" class="page" tabindex="-1"><${Page} key=${route.id ?? route.page} id=${route.id} /></main>
    </div>
    <${Side} page=${route.page} />
    <${Toasts} />
  </div>`;
}

/** A new page starts at its top with focus on its heading; going back returns to where one was. */
function usePlace(route) {
  const { slots } = useApp();
  const first = useRef(true);
  useLayoutEffect(() => {
    if (route.scrollTo !== undefined) window.scrollTo(0, route.scrollTo);
    slots.settle();
    if (!first.current) document.querySelector('#main h1')?.focus({ preventScroll: true });
    first.current = false;
  }, [route]);
  const waiting = useStore((state) => state.feed.pending.length);
  const title = t(`title.${route.page}`, { tag: route.id });
  useEffect(() => {
    document.title = `${waiting ? `(${waiting}) ` : ''}${title} · ${t('brand')}`;
  }, [waiting, title]);
}

function Navigation({ route }) {
  const me = useMe();
  const asking = useStore((state) => state.requests.in.length);
  const mine = `/users/${me.id}`;
  const here = route.page === 'user' ? `/users/${route.id}` : { home: '/', search: '/search', friends: '/friends', settings: '/settings' }[route.page];
  const entries = [
    { to: '/', icon: 'home', label: t('nav.home') },
    { to: '/search', icon: 'search', label: t('nav.search') },
    { to: '/friends', icon: 'friends', label: t('nav.friends'), badge: asking },
    { to: mine, icon: 'user', label: t('nav.profile') },
    { to: '/settings', icon: 'settings', label: t('nav.settings') },
  ];
  return html`<header class="top">
    <div class="top-row">
      <${Link} to="/" class="brand" aria-label=${t('brand')}><${Mark} /><span>${t('brand')}</span><//>
      <${Connection} />
    </div>
    <nav class="nav" aria-label=${t('nav.label')}>
      ${entries.map(({ to, icon, label, badge }) => html`<${Link} key=${icon} to=${to} class="nav-link" aria-current=${to === here ? 'page' : undefined}>
        <span class="nav-icon"><${Icon} name=${icon} />${badge > 0 && html`<span class="badge nav-badge">${badge}<span class="visually-hidden"> ${t('nav.requests', { n: badge })}</span></span>`}</span>
        <span class="nav-label">${label}</span>
      <//>`)}
    </nav>
    <div class="top-foot">
      <${Link} to=${mine} class="me"><${Avatar} user=${me} size="small" /><span class="person-text"><bdi class="person-name">${me.name}</bdi><span class="person-handle">@${me.username}</span></span><//>
      <${ThemeButton} />
    </div>
  </header>`;
}

/** Light or dark at one press; "as the system has it" is in the settings. */
function ThemeButton() {
  const { prefs } = useApp();
  const theme = useStoreOf(prefs, (value) => value.theme);
  const dark = theme === 'dark' || (theme === 'system' && window.matchMedia('(prefers-color-scheme: dark)').matches);
  return html`<button type="button" class="icon-button theme-button" aria-label=${t(dark ? 'nav.toLight' : 'nav.toDark')} title=${t(dark ? 'nav.toLight' : 'nav.toDark')}
    onClick=${() => prefs.set({ theme: dark ? 'light' : 'dark' })} data-testid="theme"><${Icon} name=${dark ? 'sun' : 'moon'} /></button>`;
}

/** One honest word. `stopped` means that it will not mend itself. */
function Connection() {
  const connection = useStore((state) => state.connection);
  return html`<span class=${`connection is-${connection}`} data-testid="connection" data-state=${connection} title=${t(`connection.${connection}Long`)}>
    <span class="connection-dot" aria-hidden="true"></span>${t(`connection.${connection}`)}
  </span>`;
}

/** The element is always there, so that its text is announced when it comes. */
function Banner() {
  const { actions } = useApp();
  const connection = useStore((state) => state.connection);
  const shown = connection === 'offline' || connection === 'stopped';
  return html`<div role="status" class="banner-place">${shown && html`<div class="banner" data-testid="offline-banner">
    <${Icon} name="offline" />
    <p>${t(`connection.${connection}Long`)}</p>
    <${Button} kind="soft" onClick=${connection === 'stopped' ? () => location.reload() : actions.reconnect}>${t(connection === 'stopped' ? 'connection.reload' : 'connection.try')}<//>
  </div>`}</div>`;
}

function Toasts() {
  const { toasts } = useApp();
  const list = useStoreOf(toasts, (value) => value);
  useUndoKeys(toasts);
  return html`<div class="toasts" data-testid="toasts">
    <div role="status">${list.filter((toast) => toast.text).map((toast) => html`<${Toast} key=${toast.id} toast=${toast} />`)}</div>
    <div role="alert">${list.filter((toast) => toast.problem).map((toast) => html`<${Toast} key=${toast.id} toast=${toast} />`)}</div>
  </div>`;
}

/** Ctrl+Z: the button is the last thing on the page, too far by Tab for as long as it stands there. */
function useUndoKeys(toasts) {
  useEffect(() => {
    const onKeyDown = (event) => {
      const offer = toasts.get().findLast((toast) => toast.action);
      if (!offer || event.key !== 'z' || !(event.ctrlKey || event.metaKey) || event.target.closest('input, textarea')) return;
      event.preventDefault();
      toasts.undo(offer.id);
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
}

function Toast({ toast }) {
  const { toasts } = useApp();
  const { id, problem, action } = toast;
  const hold = () => toasts.hold(id);
  const release = () => toasts.release(id);
  return html`<div class=${problem ? 'toast toast-problem' : 'toast'} onPointerEnter=${hold} onPointerLeave=${release} onfocusin=${hold} onfocusout=${release}>
    <${Icon} name=${problem ? 'alert' : 'check'} />
    <div class="problem-body">
      <p>${problem ? explain(problem) : toast.text}</p>
      ${problem?.requestId && html`<p class="request-id">${t('problem.request')} <code>${problem.requestId}</code></p>`}
    </div>
    ${action && html`<${Button} kind="tint" icon="undo" title=${t('undo.keys')} onClick=${() => toasts.undo(id)}>${action}<//>`}
    <button type="button" class="icon-button" aria-label=${t('close')} onClick=${() => toasts.close(id)}><${Icon} name="close" /></button>
  </div>`;
}
