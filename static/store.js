/**
 * Owns: the one current state value and the list of those who want to hear that it changed.
 * Never does: know what is inside. All rules are pure functions in state/; this file only swaps values.
 */

/** `schedule(task)` decides when listeners run, so that a burst of events costs one rendering. */
export function createStore(initial, schedule) {
  let state = initial;
  let planned = false;
  const listeners = new Set();

  function announce() {
    planned = false;
    for (const listener of [...listeners]) listener(state);
  }

  return {
    get: () => state,

    /** Replaces the state by `change(state)`; a rule that changed nothing returns its argument and nobody is woken. */
    update(change) {
      const next = change(state);
      if (next === state) return;
      state = { ...next, rev: state.rev + 1 };
      if (!planned) {
        planned = true;
        schedule(announce);
      }
    },

    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
