/**
 * Owns: comments and the threads they stand in. Threads read oldest first; while later pages are still unread, comments
 * that arrive live stand in `tail`, behind the "more" button, so that no hole is papered over.
 * Never does: I/O.
 */

import { buriedSince, bury, emptyList, minus, oldestFirst, union, withEntry, without } from '/static/state/model.js';
import { mergeUsers } from '/static/state/people.js';

function emptyThread() {
  return { ...emptyList(), tail: [] };
}

function mergeComments(state, comments, since) {
  const map = new Map(state.comments);
  for (const comment of comments) {
    if (since !== undefined && buriedSince(state, `comment:${comment.id}`, since)) continue;
    const old = map.get(comment.id);
    if (old && comment.version < old.version) continue;
    map.set(comment.id, { touched: since === undefined ? state.rev + 1 : -1, ...old, ...comment });
  }
  return mergeUsers({ ...state, comments: map }, comments.map((comment) => comment.author), since);
}

export function setThread(state, postId, change) {
  const thread = state.threads.get(postId) ?? emptyThread();
  return { ...state, threads: withEntry(state.threads, postId, { ...thread, ...change }) };
}

export function threadClosed(state, postId) {
  const thread = state.threads.get(postId);
  if (!thread) return state;
  const comments = new Map(state.comments);
  for (const id of [...thread.ids, ...thread.tail]) comments.delete(id);
  return { ...state, comments, threads: without(state.threads, postId), typing: without(state.typing, postId) };
}

export function threadLoaded(state, postId, { items, next }, since, append) {
  const merged = mergeComments(state, items, since);
  const thread = merged.threads.get(postId) ?? emptyThread();
  const read = items.map((comment) => comment.id).filter((id) => merged.comments.has(id));
  const late = [...thread.ids, ...thread.tail].filter((id) => merged.comments.get(id)?.touched > since);
  const base = union(append ? thread.ids : [], read);
  const rest = (append ? union(thread.tail, late) : late).filter((id) => !base.includes(id) && merged.comments.has(id));
  const order = oldestFirst(merged.comments);
  return setThread(merged, postId, {
    status: 'ready', more: 'idle', problem: null, next,
    ids: next === null ? union(base, rest).sort(order) : base,
    tail: next === null ? [] : rest.sort(order),
  });
}

export function commentArrived(state, comment) {
  const thread = state.threads.get(comment.post_id);
  if (!thread) return state;
  const merged = mergeComments(state, [comment]);
  if (thread.ids.includes(comment.id) || thread.tail.includes(comment.id)) return merged;
  const place = thread.next === null && thread.status === 'ready' ? 'ids' : 'tail';
  return setThread(merged, comment.post_id, { [place]: [...thread[place], comment.id].sort(oldestFirst(merged.comments)) });
}

export function commentEdited(state, comment) {
  return state.comments.has(comment.id) ? mergeComments(state, [comment]) : state;
}

export function commentRemoved(state, id) {
  return bury(removeComments(state, new Set([id])), `comment:${id}`);
}

export function commenterRemoved(state, userId) {
  const theirs = [...state.comments.values()].filter((comment) => comment.author.id === userId).map((comment) => comment.id);
  return theirs.length ? removeComments(state, new Set(theirs)) : state;
}

function removeComments(state, ids) {
  const comments = new Map(state.comments);
  for (const id of ids) comments.delete(id);
  const threads = new Map([...state.threads].map(([post, thread]) => (
    [post, { ...thread, ids: minus(thread.ids, ids), tail: minus(thread.tail, ids) }])));
  return { ...state, comments, threads };
}
