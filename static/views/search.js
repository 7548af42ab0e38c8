/**
 * Owns: the search page: one box, the people and the posts that it finds. What was searched stands in the address.
 */

import { html, useEffect, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { withQuery } from '/static/api.js';
import { useApp } from '/static/ui/hooks.js';
import { PostList } from '/static/views/feed-list.js';
import { Empty } from '/static/views/parts.js';
import { PeopleFound, SearchBox, useSearch } from '/static/views/people-search.js';
import { t } from '/static/strings.js';

const PEOPLE_FIRST = 4;

export function SearchPage() {
  const { router } = useApp();
  const [text, setText] = useState(new URLSearchParams(location.search).get('q') ?? '');
  const [found, search, more] = useSearch(text);
  const { query } = found; // what has an answer, a pause after the last key
  const nobody = html`<p class="hint">${t('search.nobody')}</p>`;
  const nothing = html`<p class="hint">${t('search.noPosts')}</p>`;
  useEffect(() => {
    if (found.status !== 'loading') router.rename(withQuery('/search', query ? { q: query } : {}));
  }, [query, found.status]);
  return html`
    <h1 class="page-title" tabindex="-1">${t('search.title')}</h1>
    <${SearchBox} id="search" label=${t('search.label')} text=${text} onText=${setText} onSearch=${search} focus=${!text} />
    ${found.status === 'idle' && html`<${Empty} icon="search" title=${t('search.startTitle')}><p>${t('search.startText')}</p><//>`}
    ${found.status !== 'idle' && html`<section aria-labelledby="found-people">
      <h2 class="section-title" id="found-people">${t('search.people')}</h2>
      <${PeopleFound} found=${found} search=${search} more=${more} none=${nobody} most=${PEOPLE_FIRST} />
    </section>`}
    ${query && html`<section aria-labelledby="found-posts">
      <h2 class="section-title" id="found-posts">${t('search.posts')}</h2>
      <${PostList} key=${query} address=${withQuery('/posts', { q: query })} label=${t('search.posts')} empty=${nothing} />
    </section>`}`;
}
