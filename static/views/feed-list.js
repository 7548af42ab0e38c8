/**
 * Owns: a list of posts as an ARIA feed: positions, keyboard walk, growing at its end, drawing only what is near.
 * Never does: decide which posts are in it.
 */

import { html, useEffect, useLayoutEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { memo, useApp, useStore } from '/static/ui/hooks.js';
import { undeleted } from '/static/state/deleting.js';
import { emptyList } from '/static/state/model.js';
import { PostBody } from '/static/views/post.js';
import { More, ProblemNote, SkeletonPosts } from '/static/views/parts.js';
import { t } from '/static/strings.js';

const IDLE = emptyList();

/** `ids` in order; `fresh` is a Set of those to mark as just arrived. */
export function FeedList({ label, ids, next, more, problem, onMore, fresh, busy = false }) {
  const { slots } = useApp();
  const deleting = useStore((state) => state.deleting);
  useLayoutEffect(() => slots.settle(), []);
  const shown = undeleted(deleting, 'post', ids);
  return html`<div role="feed" class="feed" aria-label=${label} aria-busy=${String(busy || more === 'loading')} onKeyDown=${walk} data-testid="feed">
    ${shown.map((id, index) => html`<${Slot} key=${id} id=${id} place=${index + 1} size=${next === null ? shown.length : -1} fresh=${Boolean(fresh?.has(id))} />`)}
  </div>
  <${More} next=${next} more=${more} problem=${problem} onMore=${onMore} />
  ${next === null && shown.length > 0 && html`<p class="end-of-list">${t('feed.end')}</p>`}`;
}

/** One post's place in the page: the post, or as much room as it took while it is far away. It can always take focus. */
const Slot = memo(({ id, place, size, fresh }) => {
  const { slots } = useApp();
  const element = useRef(null);
  const [height, setHeight] = useState(() => slots.height(id));
  useLayoutEffect(() => slots.observe(element.current, id, height === null, setHeight), [id]);
  const away = height !== null;
  return html`<article ref=${element} class=${`card post ${away ? 'is-away' : ''} ${fresh ? 'is-fresh' : ''}`} tabindex="0"
      style=${away ? { blockSize: `${height}px` } : undefined} aria-posinset=${place} aria-setsize=${size} data-post-id=${id}
      aria-label=${away ? t('post.away') : undefined} aria-labelledby=${away ? undefined : `post-${id}-by`}
      aria-describedby=${away ? undefined : `post-${id}-text`} data-testid=${away ? 'post-away' : 'post'}>
    ${!away && html`<${PostBody} id=${id} />`}
  </article>`;
});

/** A list of posts by its address, with all that can be said of it: loading, failed, empty (`empty`), the posts. */
export function PostList({ address, label, empty }) {
  const { actions } = useApp();
  const list = useStore((state) => state.lists.get(address)) ?? IDLE;
  useEffect(() => actions.openList(address), [address]);
  return html`
    ${(list.status === 'loading' || list.status === 'idle') && !list.ids.length && html`<${SkeletonPosts} count=${2} />`}
    ${list.status === 'failed' && html`<${ProblemNote} problem=${list.problem} onRetry=${() => actions.loadList(address)} />`}
    ${list.status === 'ready' && !list.ids.length && list.next === null && empty}
    ${(list.ids.length > 0 || (list.status === 'ready' && list.next !== null)) && html`<${FeedList} label=${label} ids=${list.ids} next=${list.next}
      more=${list.more} problem=${list.problem} onMore=${() => actions.moreList(address)} />`}`;
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
