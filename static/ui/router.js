/**
 * Owns: the address bar: which page it names, moving without a reload, and where each history entry was scrolled to.
 * Never does: draw pages.
 */

const ROUTES = [
  [/^\/$/, () => ({ page: 'home' })],
  [/^\/(?:people|friends)$/, () => ({ page: 'friends' })], // people: where one looked for them before
  [/^\/search$/, () => ({ page: 'search' })],
  [/^\/tags\/([^/]{1,300})$/, (tag) => ({ page: 'tag', id: decoded(tag) })],
  [/^\/users\/(\d{1,16})$/, (id) => ({ page: 'user', id })],
  [/^\/posts\/(\d{1,16})$/, (id) => ({ page: 'post', id })],
  [/^\/settings$/, () => ({ page: 'settings' })],
];

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function match(path) {
  for (const [pattern, make] of ROUTES) {
    const found = pattern.exec(path);
    if (found) return make(...found.slice(1));
  }
  return { page: 'missing' };
}

/** A store (get/subscribe) whose value is the current route. `scrollTo` is undefined for a page seen for the first time. */
export function createRouter(win) {
  const listeners = new Set();
  const scrolls = new Map(); // history entry -> scroll offset
  let entry = win.history.state?.entry ?? 0;
  let last = entry;
  let route = { ...match(win.location.pathname), entry };
  win.history.scrollRestoration = 'manual';
  win.history.replaceState({ entry }, '');

  function show(scrollTo) {
    route = { ...match(win.location.pathname), entry, scrollTo };
    for (const listener of [...listeners]) listener(route);
  }

  function leave() {
    scrolls.set(entry, win.scrollY);
  }

  win.addEventListener('popstate', (event) => {
    leave();
    entry = event.state?.entry ?? 0;
    show(scrolls.get(entry) ?? 0);
  });

  return {
    get: () => route,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    go(path) {
      if (path === win.location.pathname) {
        win.scrollTo({ top: 0, behavior: 'smooth' });
        return;
      }
      leave();
      last += 1;
      entry = last;
      win.history.pushState({ entry }, '', path);
      show(0);
    },
    /** The address follows what is on the page already: nothing is drawn again, and focus stays. */
    rename(path) {
      win.history.replaceState({ entry }, '', path);
    },
  };
}
