/**
 * Owns: what one writes posts and comments with: the box, the people whom it suggests behind an @, its limit, who can see it.
 * Suggestions work like those of a combobox: focus stays in the text, arrows choose, Enter or Tab takes, Escape closes. ARIA
 * has no combobox of several lines: it stays a text box with an active descendant, and the announcer tells that there is a list.
 */

import { html, useEffect, useLayoutEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { number } from '/static/ui/format.js';
import { useApp, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Avatar } from '/static/views/parts.js';
import { useSearch } from '/static/views/people-search.js';
import { t } from '/static/strings.js';

export const POST_LIMIT = 5000;
const COUNTER_FROM = 0.8; // of the limit: a counter that is always there is noise
const BEFORE_CARET = /(?<![\p{L}\p{N}_./@])@([\p{L}\p{N}_.]{1,30})$/u;
const SHOWN = 6;
const KEYS = new Set(['ArrowDown', 'ArrowUp', 'Enter', 'Tab', 'Escape']);
let boxes = 0;

/** A textarea: `text`, `onText(text)`, `box` (a ref to the element), `onKeyDown` and whatever else a textarea has. */
export function TextBox({ text, onText, box, onKeyDown, ...rest }) {
  const { announce } = useApp();
  const list = useRef(null);
  list.current ??= `mentions-${boxes += 1}`;
  const [query, setQuery] = useState(''); // what stands between the @ and the caret
  const [chosen, setChosen] = useState(0);
  const caret = useRef(null); // where it belongs after the text was changed from here
  const [found] = useSearch(query);
  const users = useStore((state) => state.users);
  const people = query && found.status !== 'failed' ? found.ids.slice(0, SHOWN).map((id) => users.get(id)).filter(Boolean) : [];
  const open = people.length > 0;
  const option = (index) => `${list.current}-${index}`;

  useEffect(() => setChosen(0), [found.query]);
  useEffect(() => { if (open) announce.say(t('mentions.found', { n: people.length })); }, [open, people.length]);
  useLayoutEffect(() => {
    if (caret.current === null) return;
    box.current.setSelectionRange(caret.current, caret.current);
    caret.current = null;
  }, [text]);

  const follow = ({ target }) => setQuery(
    target.selectionStart === target.selectionEnd ? BEFORE_CARET.exec(target.value.slice(0, target.selectionStart))?.[1] ?? '' : '');
  const take = (user) => {
    const end = box.current.selectionStart;
    const from = end - query.length;
    const name = `${user.username} `;
    caret.current = from + name.length;
    onText(text.slice(0, from) + name + text.slice(end));
    setQuery('');
  };
  const keys = (event) => {
    if (!open || event.isComposing || event.ctrlKey || event.metaKey || !KEYS.has(event.key)) return onKeyDown?.(event);
    event.preventDefault();
    event.stopPropagation();
    if (event.key === 'ArrowDown') setChosen((chosen + 1) % people.length);
    else if (event.key === 'ArrowUp') setChosen((chosen + people.length - 1) % people.length);
    else if (event.key === 'Escape') setQuery('');
    else take(people[Math.min(chosen, people.length - 1)]);
    return undefined;
  };
  const active = open && { 'aria-controls': list.current, 'aria-activedescendant': option(Math.min(chosen, people.length - 1)) };
  return html`<div class="text-box">
    <textarea ref=${box} dir="auto" value=${text} aria-autocomplete="list" aria-haspopup="listbox" ...${rest} ...${active} onKeyDown=${keys} onClick=${follow}
      onInput=${(event) => { onText(event.target.value); follow(event); }} onBlur=${() => setQuery('')}
      onKeyUp=${(event) => event.key.startsWith('Arrow') && !open && follow(event)}></textarea>
    ${open && html`<ul class="suggestions" role="listbox" id=${list.current} aria-label=${t('mentions.label')} data-testid="mentions">
      ${people.map((user, index) => html`<li key=${user.id} id=${option(index)} role="option" aria-selected=${String(index === chosen)}
          class=${index === chosen ? 'suggestion is-chosen' : 'suggestion'} onPointerDown=${(event) => event.preventDefault()} onClick=${() => take(user)}>
        <${Avatar} user=${user} size="small" />
        <span class="person-text"><bdi class="person-name">${user.name}</bdi><span class="person-handle">@${user.username}</span></span>
      </li>`)}
    </ul>`}
  </div>`;
}

/** Grows with the text where the browser has no `field-sizing`. */
export function rows(text, least = 2, most = 14) {
  return Math.min(most, Math.max(least, text.split('\n').length + Math.floor(text.length / 90)));
}

/** Ctrl+Enter and Cmd+Enter; not while an input method is composing. */
export function onSubmitKeys(submit) {
  return (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !event.isComposing) submit(event);
  };
}

export function VisibilitySelect({ id, value, onChange }) {
  const icon = { friends: 'friends', public: 'globe', only_me: 'lock' }[value];
  return html`<div class="select">
    <${Icon} name=${icon} />
    <label class="visually-hidden" for=${id}>${t('visibility.label')}</label>
    <select id=${id} value=${value} onChange=${(event) => onChange(event.target.value)}>
      ${['friends', 'public', 'only_me'].map((one) => html`<option value=${one} selected=${one === value}>${t(`visibility.${one}`)}</option>`)}
    </select>
    <${Icon} name="chevron" />
  </div>`;
}

export function Remaining({ id, used, limit }) {
  const left = limit - used;
  const shown = used > limit * COUNTER_FROM;
  return html`<span id=${id} class=${left < 0 ? 'remaining over' : 'remaining'}>${shown
    && (left < 0 ? t('composer.over', { n: number(-left) }) : t('composer.left', { n: number(left) }))}</span>`;
}
