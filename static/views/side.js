/**
 * Owns: the third column of wide screens: people who ask, friends who are here, what is trending.
 */

import { html } from '/static/vendor/htm-preact-standalone.module.js';
import { useMedia, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { present } from '/static/state/people.js';
import { Link } from '/static/views/parts.js';
import { PersonRow } from '/static/views/person.js';
import { Trending } from '/static/views/trending.js';
import { t } from '/static/strings.js';

const REQUESTS_SHOWN = 3;
const FRIENDS_SHOWN = 8;
const TRENDS_SHOWN = 5;
export const WIDE = '(min-width: 72rem)'; // as in layout.css: the column is there

/** `page`: the one in the middle, whose own lists are not shown a second time. */
export function Side({ page }) {
  const requests = useStore((state) => state.requests.in);
  const friends = useStore((state) => state.friends);
  const presence = useStore((state) => state.presence);
  const here = present({ friends, presence });
  const wide = useMedia(WIDE);
  if (!wide) return null;
  return html`<aside class="side" aria-label=${t('side.label')}>
    ${requests.length > 0 && page !== 'friends' && html`<section class="card side-card" aria-labelledby="side-requests" data-testid="side-requests">
      <h2 id="side-requests">${t('friends.incoming')} <span class="badge">${requests.length}</span></h2>
      <ul class="person-list stacked">${requests.slice(0, REQUESTS_SHOWN).map(({ id }) => html`<${PersonRow} key=${id} id=${id} compact />`)}</ul>
      ${requests.length > REQUESTS_SHOWN && html`<${Link} to="/friends">${t('side.allRequests')}<//>`}
    </section>`}
    <section class="card side-card" aria-labelledby="side-online" data-testid="side-online">
      <h2 id="side-online">${t('side.online')}</h2>
      ${here.length === 0 && html`<p class="hint">${friends.ids.length ? t('side.nobody') : t('side.noFriends')}</p>`}
      <ul class="person-list">${here.slice(0, FRIENDS_SHOWN).map((id) => html`<${PersonRow} key=${id} id=${id} compact actions=${false} />`)}</ul>
    </section>
    <section class="card side-card" aria-labelledby="side-trending" data-testid="side-trending">
      <h2 id="side-trending">${t('trending.title')}</h2>
      <${Trending} most=${TRENDS_SHOWN} />
    </section>
    <${Link} to="/friends" class="card side-find"><${Icon} name="friends" /><span>${t('feed.findFriends')}</span><//>
  </aside>`;
}
