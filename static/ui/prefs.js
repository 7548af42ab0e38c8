/**
 * Owns: the reader's choices that concern this browser alone (theme, how new posts come in).
 * Never does: ask the server. Storage may be forbidden; then a choice lasts as long as the page.
 */

const KEY = 'social.prefs';
const DEFAULTS = { theme: 'system', arrivals: 'auto' };

/** theme: system | light | dark; arrivals: auto (walk in at the top) | ask (always behind the pill, WCAG 2.2.2). */
export function createPrefs(storage, root) {
  let prefs = { ...DEFAULTS, ...read(storage) };
  const listeners = new Set();

  function show() {
    if (prefs.theme === 'system') root.removeAttribute('data-theme');
    else root.setAttribute('data-theme', prefs.theme);
  }
  show();

  return {
    get: () => prefs,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    set(change) {
      prefs = { ...prefs, ...change };
      try {
        storage.setItem(KEY, JSON.stringify(prefs));
      } catch {
        // kept in memory only
      }
      show();
      for (const listener of [...listeners]) listener(prefs);
    },
  };
}

function read(storage) {
  try {
    return JSON.parse(storage.getItem(KEY) ?? '{}');
  } catch {
    return {};
  }
}
