/**
 * Owns: short messages to the reader: toasts (something failed or was done) and the polite live region.
 * Never does: announce each post. Arrivals are summed up and read out at most every few seconds.
 */

import { t } from '/static/strings.js';

const TOAST_MS = 8_000;
const BATCH_MS = 2_500;
const TOASTS_AT_ONCE = 3;

/** A store of toasts: [{id, text, problem, action}]. */
export function createToasts(clock) {
  let toasts = [];
  let lastId = 0;
  const listeners = new Set();
  const timers = new Map(); // id -> timer

  function set(next) {
    toasts = next;
    for (const listener of [...listeners]) listener(toasts);
  }

  function add(toast) {
    lastId += 1;
    const id = lastId;
    for (const { id: old } of toasts.slice(0, toasts.length + 1 - TOASTS_AT_ONCE)) close(old);
    set([...toasts, { id, ms: TOAST_MS, ...toast }]);
    release(id);
    return id;
  }

  /** Its time starts anew. Errors stay until closed: they carry a request id that somebody may want to copy. */
  function release(id) {
    hold(id);
    const toast = toasts.find((one) => one.id === id);
    if (toast && !toast.problem) timers.set(id, clock.setTimeout(() => close(id), toast.ms));
  }

  /** The reader is at it, with the pointer or the keyboard: it does not vanish under their hands. */
  function hold(id) {
    clock.clearTimeout(timers.get(id));
    timers.delete(id);
  }

  function close(id) {
    take(id)?.after?.();
  }

  function take(id) {
    const toast = toasts.find((one) => one.id === id);
    hold(id);
    set(toasts.filter((one) => one.id !== id));
    return toast;
  }

  return {
    get: () => toasts,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    say: (text) => add({ text }),
    /** Says what was done and offers to `undo` it, for `ms`; `after` is called when it can no longer be undone. */
    offer: ({ text, action, ms, undo, after }) => add({ text, action, ms, undo, after }),
    undo: (id) => take(id)?.undo(),
    hold,
    release,
    problem: (problem) => (problem.kind === 'aborted' ? 0 : add({ problem })),
    close,
  };
}

/** `region` is an aria-live element that was in the page from the start; one that is added with its text stays silent. */
export function createAnnouncer(region, clock) {
  let arrivals = 0;
  let timer = null;

  function say(text) {
    region.textContent = '';
    clock.setTimeout(() => { region.textContent = text; }, 50); // the same words twice must still be a change
  }

  return {
    say,
    arrived(count) {
      arrivals += count;
      timer ??= clock.setTimeout(() => {
        say(t('feed.announced', { n: arrivals }));
        arrivals = 0;
        timer = null;
      }, BATCH_MS);
    },
  };
}

/** What to tell the reader: what happened and what to do next. */
export function explain(problem) {
  if (problem.kind === 'network') return t('problem.network');
  if (problem.kind === 'timeout') return t('problem.timeout');
  if (problem.status === 429) return t('problem.tooMany', { n: Math.max(1, Math.ceil(problem.retryAfter ?? 30)) });
  if (problem.detail) return problem.detail;
  if (problem.status >= 500) return t('problem.server');
  if (problem.status === 404) return t('problem.missing');
  if (problem.kind === 'http') return problem.title || t('problem.other');
  return t('problem.other');
}
