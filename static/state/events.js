/**
 * Owns: what each live event means for the state, as one table. `apply(state, stream, event)` is pure.
 * Never does: order or deduplicate (live-streams.js did), read anything by HTTP. Unknown kinds change nothing: a newer
 * server may send them.
 */

import { commentArrived, commentEdited, commentRemoved, commenterRemoved } from '/static/state/comments.js';
import { adopt, awaited } from '/static/state/outbox.js';
import { forgetUser, relate } from '/static/state/people.js';
import { authorRemoved, mergePosts, postArrived, postRemoved } from '/static/state/posts.js';
import { typingEnded } from '/static/state/typing.js';

export function apply(state, stream, event) {
  const rule = RULES.get(event.event);
  return rule ? rule(state, event.data, event, stream) : state;
}

const RULES = new Map([
  ['post.created', (state, post) => adopt(postArrived(state, post, Boolean(awaited(state, post))), post)],
  ['post.edited', edited],
  ['post.deleted', (state, { id }) => postRemoved(state, id)],
  ['post.hidden', hidden],
  ['author.hidden', (state, { user_id: id }) => forgetUser(commenterRemoved(authorRemoved(state, id, true), id), id)],
  ['comment.created', (state, comment) => adopt(commented(state, comment), comment)],
  ['comment.edited', (state, comment) => commentEdited(state, comment)],
  ['comment.deleted', (state, { id }) => commentRemoved(state, id)],
  ['friend.requested', (state, user, event) => relate(state, user.id, 'asked', event.at, user)],
  ['friend.accepted', (state, user, event) => relate(state, user.id, 'friends', event.at, user)],
  ['friend.removed', (state, user) => authorRemoved(relate(state, user.id, 'none', '', user), user.id, false)],
]);

/**
 * On `me` an edit is also the word that the viewer may see the post: one that was narrowed from public to friends is
 * hidden on `post:{id}` for everybody and edited on `me` for those who keep it. The feed takes it back in at its place.
 */
function edited(state, post, event, stream) {
  if (state.posts.has(post.id)) return mergePosts(state, [post]);
  return stream === 'me' && state.feed.status === 'ready' ? postArrived(state, post) : state;
}

function commented(state, comment) {
  return typingEnded(commentArrived(state, comment), comment.post_id, comment.author.id);
}

/** Nobody's own post is hidden from them, whatever the stream that all its readers share says. */
function hidden(state, { id }) {
  return state.posts.get(id)?.author.id === state.session.userId ? state : postRemoved(state, id);
}
