/**
 * Owns: who is writing a comment on a post whose thread is open. Nobody says that they have stopped: a word that is
 * not repeated fades, and the comment itself ends it.
 * Never does: time of its own; `now` is handed in, in ms.
 */

import { withEntry, without } from '/static/state/model.js';

export const FADE_MS = 5_000; // writers repeat themselves every 3 s

export function typingHeard(state, postId, userId, now) {
  if (!state.threads.has(postId) || userId === state.session.userId) return state;
  const writers = state.typing.get(postId) ?? new Map();
  return { ...state, typing: withEntry(state.typing, postId, withEntry(writers, userId, now)) };
}

export function typingFaded(state, now) {
  return kept(state, (postId, userId, at) => now - at < FADE_MS);
}

/** They wrote, or are nobody to the viewer any more (`postId` null: on every post). */
export function typingEnded(state, postId, userId) {
  return kept(state, (post, user) => user !== userId || (postId !== null && post !== postId));
}

function kept(state, keep) {
  let { typing } = state;
  for (const [postId, writers] of state.typing) {
    const left = new Map([...writers].filter(([userId, at]) => keep(postId, userId, at)));
    if (left.size === writers.size) continue;
    typing = left.size ? withEntry(typing, postId, left) : without(typing, postId);
  }
  return typing === state.typing ? state : { ...state, typing };
}
