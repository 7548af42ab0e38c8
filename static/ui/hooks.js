/**
 * Owns: how views meet the state: reading a part of it, running an action, redrawing times.
 * Never does: know any particular view.
 */

import {
  Component, createContext, h, useContext, useEffect, useLayoutEffect, useRef, useState,
} from '/static/vendor/htm-preact-standalone.module.js';

/** {store, actions, router, prefs, toasts, announce, watcher, slots, ticker}: made once in app.js. */
export const AppContext = createContext(null);

export const useApp = () => useContext(AppContext);

/** The part of the state that `select` picks; the view redraws when that part is another value. */
export function useStore(select) {
  return useStoreOf(useApp().store, select);
}

/** The viewer. During the last drawing of a sign-out the state is empty already; the one before is still good for that. */
export function useMe() {
  const last = useRef(null);
  const me = useStore((state) => state.users.get(state.session.userId));
  last.current = me ?? last.current;
  return last.current;
}

export function useStoreOf(store, select) {
  const [, redraw] = useState(0);
  const latest = useRef({});
  const value = select(store.get());
  latest.current = { select, value };
  useLayoutEffect(() => {
    const check = () => {
      if (!Object.is(latest.current.select(store.get()), latest.current.value)) redraw((n) => n + 1);
    };
    check(); // something may have changed between drawing and listening
    return store.subscribe(check);
  }, [store]);
  return value;
}

/** A view that redraws only when one of its properties is another value. */
export function memo(View) {
  return class extends Component {
    shouldComponentUpdate(next) {
      const keys = new Set([...Object.keys(next), ...Object.keys(this.props)]);
      return [...keys].some((key) => !Object.is(next[key], this.props[key]));
    }

    render(props) {
      return h(View, props);
    }
  };
}

/**
 * Runs an async action from a button: -> [run, busy, problem, clear]. A second press while busy does nothing. With
 * `toast` the problem goes to the corner of the page, for controls that have no room to show it.
 */
export function useAction(action, { toast = false } = {}) {
  const { toasts } = useApp();
  const [state, setState] = useState({ busy: false, problem: null });
  const running = useRef(false);
  const mounted = useRef(true);
  useEffect(() => () => { mounted.current = false; }, []);

  async function run(...values) {
    if (running.current) return undefined;
    running.current = true;
    setState({ busy: true, problem: null });
    let problem = null;
    try {
      return await action(...values);
    } catch (error) {
      problem = error;
      if (toast) toasts.problem(error);
      return undefined;
    } finally {
      running.current = false;
      if (mounted.current) setState({ busy: false, problem: toast ? null : problem });
    }
  }

  return [run, state.busy, state.problem, () => setState({ busy: false, problem: null })];
}

/** Redraws every minute, for relative times. One timer for the whole page. */
export function useMinute() {
  return useStoreOf(useApp().ticker, (minute) => minute.rev);
}

/** Whether a media query holds, also when that changes. */
export function useMedia(query) {
  const [matches, setMatches] = useState(() => window.matchMedia(query).matches);
  useEffect(() => {
    const media = window.matchMedia(query);
    const follow = () => setMatches(media.matches);
    follow();
    media.addEventListener('change', follow);
    return () => media.removeEventListener('change', follow);
  }, [query]);
  return matches;
}

/** Calls `onReach` when the element comes within a screen of being visible. */
export function useReach(onReach, enabled) {
  const element = useRef(null);
  const call = useRef(onReach);
  call.current = onReach;
  useEffect(() => {
    if (!enabled || !element.current) return undefined;
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) call.current();
    }, { rootMargin: '900px 0px' });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [enabled]);
  return element;
}
