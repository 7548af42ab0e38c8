/**
 * Owns: the friends page: who asked, whom the viewer asked, who is a friend.
 */

import { html } from '/static/vendor/htm-preact-standalone.module.js';
import { useApp, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Empty, Link, More, ProblemNote, SkeletonRows, Time } from '/static/views/parts.js';
import { PersonRow } from '/static/views/person.js';
import { t } from '/static/strings.js';

export function FriendsPage() {
  const { actions } = useApp();
  const friends = useStore((state) => state.friends);
  const requests = useStore((state) => state.requests);
  return html`
    <h1 class="page-title" tabindex="-1">${t('friends.title')}</h1>
    ${requests.status === 'failed' && html`<${ProblemNote} problem=${requests.problem} onRetry=${() => actions.loadRequests().catch(() => {})} />`}
    <${Requests} title=${t('friends.incoming')} list=${requests.in} testid="requests-in" />
    <${Requests} title=${t('friends.outgoing')} list=${requests.out} testid="requests-out" />
    <section aria-labelledby="friends-all">
      <h2 class="section-title" id="friends-all">${t('friends.all')}</h2>
      ${(friends.status === 'loading' || friends.status === 'idle') && html`<div class="card rows"><${SkeletonRows} /></div>`}
      ${friends.status === 'failed' && html`<${ProblemNote} problem=${friends.problem} onRetry=${() => actions.loadFriends().catch(() => {})} />`}
      ${friends.status === 'ready' && !friends.ids.length && html`<${Empty} icon="friends" title=${t('friends.noneTitle')}>
        <p>${t('friends.noneText')}</p>
        <${Link} to="/people" class="button button-primary"><${Icon} name="search" /><span>${t('feed.findFriends')}</span><//>
      <//>`}
      ${friends.ids.length > 0 && html`<ul class="card rows person-list" data-testid="friends-list">
        ${friends.ids.map((id) => html`<${PersonRow} key=${id} id=${id} />`)}
      </ul>
      <${More} next=${friends.next} more=${friends.more} problem=${friends.problem} onMore=${actions.moreFriends} />`}
    </section>`;
}

function Requests({ title, list, testid }) {
  if (!list.length) return null;
  return html`<section aria-label=${title}>
    <h2 class="section-title">${title} <span class=${testid === 'requests-in' ? 'badge' : 'badge badge-quiet'}>${list.length}</span></h2>
    <ul class="card rows person-list" data-testid=${testid}>
      ${list.map(({ id, at }) => html`<${PersonRow} key=${id} id=${id} note=${at && html`<${Time} iso=${at} />`} />`)}
    </ul>
  </section>`;
}
