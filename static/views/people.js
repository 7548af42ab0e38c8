/**
 * Owns: looking for people by name.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { useApp } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Empty, More, ProblemNote, SkeletonRows } from '/static/views/parts.js';
import { PersonRow } from '/static/views/person.js';
import { t } from '/static/strings.js';

const TYPING_PAUSE_MS = 250;
const NOTHING = { status: 'idle', ids: [], next: null, more: 'idle', problem: null, query: '' };

export function PeoplePage() {
  const [text, setText] = useState(new URLSearchParams(location.search).get('q') ?? '');
  const [found, search, more] = useSearch(text);
  return html`
    <h1 class="page-title" tabindex="-1">${t('people.title')}</h1>
    <form class="search" role="search" onSubmit=${(event) => { event.preventDefault(); search(); }} method="get">
      <${Icon} name="search" />
      <label class="visually-hidden" for="people-search">${t('people.label')}</label>
      <input id="people-search" type="search" name="q" maxlength="80" autocomplete="off" spellcheck="false" dir="auto"
        placeholder=${t('people.placeholder')} value=${text} onInput=${(event) => setText(event.target.value)} />
    </form>
    <div aria-live="polite" class="visually-hidden">${found.status === 'ready' && t('people.found', { n: found.ids.length })}</div>
    ${found.status === 'idle' && html`<${Empty} icon="search" title=${t('people.startTitle')}><p>${t('people.startText')}</p><//>`}
    ${found.status === 'loading' && !found.ids.length && html`<div class="card rows"><${SkeletonRows} /></div>`}
    ${found.status === 'failed' && html`<${ProblemNote} problem=${found.problem} onRetry=${search} />`}
    ${found.status === 'ready' && !found.ids.length && html`<${Empty} icon="search" title=${t('people.noneTitle', { query: found.query })}>
      <p>${t('people.noneText')}</p><//>`}
    ${found.ids.length > 0 && html`<ul class="card rows person-list" aria-label=${t('people.results')} data-testid="people-results">
      ${found.ids.map((id) => html`<${PersonRow} key=${id} id=${id} />`)}
    </ul>
    <${More} next=${found.next} more=${found.more} problem=${found.problem} onMore=${more} />`}`;
}

/** Searches when typing pauses; an answer to an older text is thrown away. -> [found, search now, next page] */
function useSearch(text) {
  const { actions } = useApp();
  const [found, setFound] = useState(NOTHING);
  const running = useRef(null);

  async function search() {
    const query = text.trim();
    running.current?.abort();
    if (!query) return setFound(NOTHING);
    const controller = new AbortController();
    running.current = controller;
    setFound((old) => ({ ...old, status: 'loading' }));
    try {
      const page = await actions.searchPeople(query, null, controller.signal);
      return setFound({ ...NOTHING, status: 'ready', query, ids: page.items.map((user) => user.id), next: page.next });
    } catch (problem) {
      return controller.signal.aborted ? undefined : setFound({ ...NOTHING, status: 'failed', problem, query });
    }
  }

  async function more() {
    const { query, next } = found;
    setFound((old) => ({ ...old, more: 'loading' }));
    try {
      const page = await actions.searchPeople(query, next);
      const add = (old) => [...new Set([...old.ids, ...page.items.map((user) => user.id)])];
      setFound((old) => (old.next === next ? { ...old, more: 'idle', ids: add(old), next: page.next } : old));
    } catch (problem) {
      setFound((old) => ({ ...old, more: 'failed', problem }));
    }
  }

  useEffect(() => {
    const timer = setTimeout(search, text.trim() ? TYPING_PAUSE_MS : 0);
    return () => clearTimeout(timer);
  }, [text]);
  useEffect(() => () => running.current?.abort(), []);
  return [found, search, more];
}
