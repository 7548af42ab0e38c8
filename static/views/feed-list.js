/**
 * Owns: a list of posts as an ARIA feed: positions, keyboard walk, growing at its end.
 * Never does: decide which posts are in it.
 */

import { html } from '/static/vendor/htm-preact-standalone.module.js';
import { PostBody } from '/static/views/post.js';
import { More } from '/static/views/parts.js';

/** `ids` in order; `fresh` is a Set of those to mark as just arrived. */
export function FeedList({ label, ids, next, more, problem, onMore, fresh, busy = false }) {
  return html`<div role="feed" class="feed" aria-label=${label} aria-busy=${String(busy || more === 'loading')} onKeyDown=${walk} data-testid="feed">
    ${ids.map((id, index) => html`<article key=${id} class=${fresh?.has(id) ? 'card post is-fresh' : 'card post'} tabindex="0"
        aria-posinset=${index + 1} aria-setsize=${next === null ? ids.length : -1} aria-labelledby=${`post-${id}-by`}
        aria-describedby=${`post-${id}-text`} data-testid="post" data-post-id=${id}>
      <${PostBody} id=${id} />
    </article>`)}
  </div>
  <${More} next=${next} more=${more} problem=${problem} onMore=${onMore} />`;
}

/** Page Down and Page Up move between articles, Control+End and Control+Home leave the feed: the APG feed pattern. */
function walk(event) {
  if (event.target.closest('textarea, input, select, dialog')) return;
  const target = goal(event);
  if (!target) return;
  event.preventDefault();
  target.focus();
}

function goal(event) {
  const feed = event.currentTarget;
  const articles = [...feed.children];
  const here = articles.indexOf(event.target.closest('article.post'));
  switch (event.key) {
    case 'PageDown': return articles[here + 1];
    case 'PageUp': return articles[here - 1];
    case 'Home': return event.ctrlKey ? outside(feed, Node.DOCUMENT_POSITION_PRECEDING).at(-1) : undefined;
    case 'End': return event.ctrlKey ? outside(feed, Node.DOCUMENT_POSITION_FOLLOWING)[0] : undefined;
    default: return undefined;
  }
}

/** What can take focus before or after the feed, in page order; the "more" button only moves the end away. */
function outside(feed, side) {
  const reachable = document.querySelectorAll('a[href], button:not([disabled]), textarea, select, input');
  return [...reachable].filter((one) => feed.compareDocumentPosition(one) === side && !one.closest('.more') && one.offsetParent !== null);
}
