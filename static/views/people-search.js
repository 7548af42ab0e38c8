/**
 * Owns: looking for people by name: the search behind every box that does, the box, and what was found.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { useApp } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Button, Empty, ProblemNote, SkeletonRows } from '/static/views/parts.js';
import { PersonRow } from '/static/views/person.js';
import { t } from '/static/strings.js';

const TYPING_PAUSE_MS = 250;
const NOTHING = { status: 'idle', ids: [], next: null, more: 'idle', problem: null, query: '' };

/** A search box with its label; `onText` hears every key, `onSearch` the Enter key. */
export function SearchBox({ id, label, text, onText, onSearch, focus = false }) {
  const input = useRef(null);
  useEffect(() => { if (focus) input.current.focus({ preventScroll: true }); }, []);
  const submit = (event) => {
    event.preventDefault();
    onSearch();
  };
  return html`<form class="search" role="search" onSubmit=${submit} method="get">
    <${Icon} name="search" />
    <label class="visually-hidden" for=${id}>${label}</label>
    <input ref=${input} id=${id} type="search" name="q" maxlength="80" autocomplete="off" spellcheck="false" dir="auto" enterkeyhint="search"
      placeholder=${label} value=${text} onInput=${(event) => onText(event.target.value)} />
  </form>`;
}

/** What `useSearch` found, `most` of it at first. `none` says that there is nobody. */
export function PeopleFound({ found, search, more, none, most = Infinity }) {
  const [all, setAll] = useState(false);
  useEffect(() => setAll(false), [found.query]);
  const shown = all ? found.ids : found.ids.slice(0, most);
  const hidden = shown.length < found.ids.length || found.next !== null;
  return html`
    <div aria-live="polite" class="visually-hidden">${found.status === 'ready' && t('people.found', { n: found.ids.length })}</div>
    ${found.status === 'loading' && !found.ids.length && html`<div class="card rows"><${SkeletonRows} count=${2} /></div>`}
    ${found.status === 'failed' && html`<${ProblemNote} problem=${found.problem} onRetry=${search} />`}
    ${found.status === 'ready' && !found.ids.length && none}
    ${shown.length > 0 && html`<ul class="card rows person-list" aria-label=${t('people.results')} data-testid="people-results">
      ${shown.map((id) => html`<${PersonRow} key=${id} id=${id} />`)}
    </ul>`}
    ${hidden && html`<div class="more">
      ${found.more === 'failed' && html`<${ProblemNote} problem=${found.problem} inline />`}
      <${Button} kind="soft" busy=${found.more === 'loading'} onClick=${() => (shown.length < found.ids.length ? setAll(true) : more())}>${t('people.more')}<//>
    </div>`}`;
}

export function NobodyFound({ query }) {
  return html`<${Empty} icon="search" title=${t('people.noneTitle', { query })}><p>${t('people.noneText')}</p><//>`;
}

/** Searches when typing pauses; an answer to an older text is thrown away. -> [found, search now, next page] */
export function useSearch(text) {
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
