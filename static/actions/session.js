/**
 * Owns: who is signed in on this page, from the first question to the server until sign-out.
 * Never does: keep a token. The cookie is the server's; this page only asks `GET /me` whether it is good.
 */

import { emptyState } from '/static/state/model.js';
import { mergeUsers } from '/static/state/people.js';

export function sessionActions({ api, store, live, outbox, feed, lists, people, announceUser }) {
  /** First thing on the page. A 401 is an answer, not an error. */
  async function boot() {
    try {
      enter((await api.get('/me', { quiet: true })).user);
    } catch (problem) {
      if (problem.status === 401) leave();
      else store.update((state) => ({ ...state, session: { status: 'failed', userId: null, problem } }));
    }
  }

  async function signIn(body) {
    enter((await api.post('/sessions', body, { quiet: true })).user);
  }

  async function signUp(body) {
    enter((await api.post('/users', body, { quiet: true })).user);
  }

  async function signOut() {
    await feed.sendAllDeleted();
    await api.delete('/sessions/current', { quiet: true }).catch((problem) => {
      if (problem.status !== 401) throw problem;
    });
    outbox.forget();
    leave();
  }

  /** Position first, page second, socket third: what is committed in between is replayed. */
  async function enter(user) {
    api.reset();
    live.stop();
    store.update(() => {
      const fresh = mergeUsers(emptyState(), [{ ...user, relation: 'self' }]);
      return { ...fresh, rev: store.get().rev, session: { status: 'in', userId: user.id, problem: null } };
    });
    announceUser(user.id);
    const position = await feed.loadFeed().catch(() => null);
    if (store.get().session.userId !== user.id) return;
    live.start(position);
    outbox.restore();
    people.loadFriends().catch(() => {});
    people.loadRequests().catch(() => {});
  }

  function leave() {
    api.reset();
    live.stop();
    store.update(() => ({ ...emptyState(), rev: store.get().rev, session: { status: 'out', userId: null, problem: null } }));
    announceUser(null);
  }

  /** Somebody says that the session may be over (a 401, a close 4500): believe only /me. */
  async function check() {
    if (store.get().session.status !== 'in') return;
    try {
      const { user } = await api.get('/me', { quiet: true });
      if (user.id !== store.get().session.userId) enter(user);
    } catch (problem) {
      if (problem.status === 401) leave();
    }
  }

  /** Re-reads what a stream carries; the live side calls it when a gap could not be bridged. */
  async function reload(stream) {
    if (stream === 'me') await Promise.all([feed.loadFeed(), lists.rereadLists(), people.loadFriends(), people.loadRequests()]);
    else if (stream === 'trending') await lists.loadTrending();
    else await Promise.all([feed.loadPost(stream.slice('post:'.length)), feed.loadThread(stream.slice('post:'.length))]);
  }

  async function saveProfile(change) {
    const since = store.get().rev;
    const answer = await api.patch('/me', change);
    store.update((state) => mergeUsers(state, [{ ...(answer.user ?? answer), relation: 'self' }], since));
  }

  const changePassword = (body) => api.post('/me/password', body);
  const listSessions = () => api.pages('/sessions', () => false);
  const endSession = (id) => api.delete(`/sessions/${encodeURIComponent(id)}`);

  return { boot, signIn, signUp, signOut, leave, check, reload, saveProfile, changePassword, listSessions, endSession };
}
