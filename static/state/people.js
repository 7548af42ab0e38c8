/**
 * Owns: users, what they are to the viewer, friends, requests, blocks, presence.
 * Never does: I/O. `relation` is never in an event, so it is kept here and changed by what the events mean.
 */

import { buriedSince, bury, emptyList, union, wallOf, withEntry, without } from '/static/state/model.js';
import { typingEnded } from '/static/state/typing.js';

/** Takes in users from HTTP (they carry `relation`) or from events and embedded authors (they may not). */
export function mergeUsers(state, users, since = Infinity) {
  let map = null;
  for (const user of users) {
    if (!user || buriedSince(state, `user:${user.id}`, since)) continue;
    const old = (map ?? state.users).get(user.id);
    const merged = mergeUser(old, user, since);
    if (merged === old) continue;
    map ??= new Map(state.users);
    map.set(user.id, merged);
  }
  return map ? { ...state, users: map } : state;
}

function mergeUser(old, user, since) {
  if (!old) return { ...user };
  const newer = user.version > old.version;
  const relation = user.relation !== undefined && (old.relTouched ?? -1) <= since ? user.relation : old.relation;
  if (!newer && relation === old.relation) return old;
  return { ...(newer ? { ...old, ...user } : old), relation };
}

/** The viewer and somebody are now `relation`; lists follow. `user` when the event brought one. */
export function relate(state, userId, relation, at, user = null) {
  let next = user ? mergeUsers(state, [user]) : state;
  const known = next.users.get(userId);
  if (known) next = { ...next, users: withEntry(next.users, userId, { ...known, relation, relTouched: state.rev + 1 }) };
  next = { ...next, friends: listed(next.friends, userId, relation === 'friends'), requests: requested(next.requests, userId, relation, at) };
  if (relation !== 'friends') next = { ...next, presence: without(next.presence, userId) };
  return next;
}

function listed(list, userId, present) {
  if (list.ids.includes(userId) === present) return list;
  return { ...list, ids: present ? [userId, ...list.ids] : list.ids.filter((id) => id !== userId) };
}

function requested(requests, userId, relation, at) {
  const others = (list) => list.filter((one) => one.id !== userId);
  const entry = { id: userId, at };
  return {
    ...requests,
    in: relation === 'asked' ? [entry, ...others(requests.in)] : others(requests.in),
    out: relation === 'requested' ? [entry, ...others(requests.out)] : others(requests.out),
  };
}

/** Forgets a person altogether: blocked, or hidden from the viewer for a reason that is not ours to know. */
export function forgetUser(state, userId) {
  const next = typingEnded(relate(state, userId, 'none', ''), null, userId);
  return bury({ ...next, users: without(next.users, userId), lists: without(next.lists, wallOf(userId)) }, `user:${userId}`);
}

export function friendsLoaded(state, { items, next }, since, append = false) {
  const merged = mergeUsers(state, items, since);
  const ids = items.map((user) => user.id).filter((id) => merged.users.get(id)?.relation === 'friends');
  const presence = new Map(merged.presence);
  for (const user of items) {
    // A live word is finer (it knows "away") and never older than the list's yes or no: the list only fills what is blank.
    if (user.online !== undefined && !presence.has(user.id)) presence.set(user.id, user.online ? 'online' : 'offline');
  }
  const kept = append ? merged.friends.ids : [];
  return { ...merged, presence, friends: { ...emptyList(), status: 'ready', ids: union(kept, ids), next } };
}

export function requestsLoaded(state, items, since) {
  const merged = mergeUsers(state, items.map((one) => one.user), since);
  const pick = (direction, relation) => items
    .filter((one) => one.direction === direction && (merged.users.get(one.user.id)?.relation ?? relation) === relation)
    .map((one) => ({ id: one.user.id, at: one.at }));
  return { ...merged, requests: { status: 'ready', in: pick('in', 'asked'), out: pick('out', 'requested'), problem: null } };
}

export function presenceChanged(state, users) {
  const presence = new Map(state.presence);
  for (const [id, value] of Object.entries(users)) presence.set(id, value);
  return { ...state, presence };
}

/** A new connection is told who is here; until then nobody is known to be. */
export function presenceForgotten(state) {
  return state.presence.size ? { ...state, presence: new Map() } : state;
}

export function blocksLoaded(state, { items, next }) {
  // Blocked people stay out of `users`: nothing else on the page may show them.
  return { ...state, blocks: { ...emptyList(), status: 'ready', ids: items, next } };
}

export function unblocked(state, userId) {
  return { ...state, blocks: { ...state.blocks, ids: state.blocks.ids.filter((user) => user.id !== userId) } };
}

/** Friends who are here now, those fully online before those who are away. */
export function present(state) {
  const rank = { online: 0, away: 1 };
  return state.friends.ids
    .filter((id) => state.presence.get(id) in rank)
    .sort((a, b) => rank[state.presence.get(a)] - rank[state.presence.get(b)]);
}
