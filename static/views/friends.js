/**
 * Owns: the friends page: looking for people, who asked, whom the viewer asked, who is a friend, who is blocked.
 */

import { html, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { useApp, useStore } from '/static/ui/hooks.js';
import { BlockList } from '/static/views/blocks.js';
import { Empty, More, ProblemNote, SkeletonRows, Time } from '/static/views/parts.js';
import { NobodyFound, PeopleFound, SearchBox, useSearch } from '/static/views/people-search.js';
import { PersonRow } from '/static/views/person.js';
import { t } from '/static/strings.js';

export function FriendsPage() {
  const [text, setText] = useState(new URLSearchParams(location.search).get('q') ?? '');
  const [found, search, more] = useSearch(text);
  return html`
    <h1 class="page-title" tabindex="-1">${t('friends.title')}</h1>
    <${SearchBox} id="people-search" label=${t('people.label')} text=${text} onText=${setText} onSearch=${search} />
    ${found.status === 'idle' ? html`<${Ties} />`
      : html`<${PeopleFound} found=${found} search=${search} more=${more} none=${html`<${NobodyFound} query=${found.query} />`} />`}`;
}

function Ties() {
  const { actions } = useApp();
  const friends = useStore((state) => state.friends);
  const requests = useStore((state) => state.requests);
  return html`
    ${requests.status === 'failed' && html`<${ProblemNote} problem=${requests.problem} onRetry=${() => actions.loadRequests().catch(() => {})} />`}
    <${Requests} title=${t('friends.incoming')} list=${requests.in} testid="requests-in" />
    <${Requests} title=${t('friends.outgoing')} list=${requests.out} testid="requests-out" />
    <section aria-labelledby="friends-all">
      <h2 class="section-title" id="friends-all">${t('friends.all')}</h2>
      ${(friends.status === 'loading' || friends.status === 'idle') && html`<div class="card rows"><${SkeletonRows} /></div>`}
      ${friends.status === 'failed' && html`<${ProblemNote} problem=${friends.problem} onRetry=${() => actions.loadFriends().catch(() => {})} />`}
      ${friends.status === 'ready' && !friends.ids.length && html`<${Empty} icon="friends" title=${t('friends.noneTitle')}>
        <p>${t('friends.noneText')}</p>
      <//>`}
      ${friends.ids.length > 0 && html`<ul class="card rows person-list" data-testid="friends-list">
        ${friends.ids.map((id) => html`<${PersonRow} key=${id} id=${id} />`)}
      </ul>
      <${More} next=${friends.next} more=${friends.more} problem=${friends.problem} onMore=${actions.moreFriends} />`}
    </section>
    <section aria-labelledby="blocks">
      <h2 class="section-title" id="blocks">${t('blocks.title')}</h2>
      <${BlockList} />
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
