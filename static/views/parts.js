/**
 * Owns: the small pieces that every page is made of. No piece knows a page.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { fullTime, hue, initials, relativeTime } from '/static/ui/format.js';
import { explain } from '/static/ui/feedback.js';
import { useApp, useMinute, useReach } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { linkify } from '/static/ui/linkify.js';
import { t } from '/static/strings.js';

/** An in-page link: a real address, so that a middle click and "copy link" work; a plain click stays in the page. */
export function Link({ to, children, onGo, ...rest }) {
  const { router } = useApp();
  const go = (event) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    router.go(to);
    onGo?.();
  };
  return html`<a href=${to} onClick=${go} ...${rest}>${children}</a>`;
}

/** Initials on a colour; `presence` adds a dot with words for those who do not see it. */
export function Avatar({ user, size = 'medium', presence }) {
  const here = presence === 'online' || presence === 'away';
  return html`<span class=${`avatar avatar-${size} ${hue(user.id)}`}>
    <span aria-hidden="true">${initials(user.name || user.username)}</span>
    ${here && html`<span class=${`presence presence-${presence}`}><span class="visually-hidden">${t(`presence.${presence}`)}</span></span>`}
  </span>`;
}

export function Time({ iso }) {
  const { clock } = useApp();
  useMinute();
  return html`<time datetime=${iso} title=${fullTime(iso)}>${relativeTime(iso, clock.now())}</time>`;
}

/**
 * What somebody wrote: text nodes, http(s) links, #tags and @names, nothing else; its own direction. `mentions` are the
 * people whom the server found named in it; without them, as in a live event, those are linked whom the page knows.
 */
export function UserText({ text, id, tags, mentions, className = 'user-text' }) {
  const { store } = useApp();
  const people = mentions ?? (text.includes('@') ? [...store.get().users.values()] : []);
  const person = (username) => people.find((one) => one.username === username)?.id;
  return html`<div class=${className} id=${id} dir="auto">${linkify(text, { tags, person }).map((part) => {
    if (part.href) return html`<a href=${part.href} target="_blank" rel="noopener nofollow ugc">${part.text}</a>`;
    if (part.tag) return html`<${Link} to=${tagPath(part.tag)} class="tag-link">${part.text}<//>`;
    if (part.user) return html`<${Link} to=${`/users/${part.user}`} class="mention">${part.text}<//>`;
    return part.text;
  })}</div>`;
}

export function tagPath(tag) {
  return `/tags/${encodeURIComponent(tag)}`;
}

export function Button({ kind = 'plain', busy = false, icon, children, className = '', type = 'button', disabled, ...rest }) {
  return html`<button type=${type} class=${`button button-${kind} ${className}`} disabled=${disabled || busy} aria-busy=${String(busy)} ...${rest}>
    ${busy ? html`<span class="spinner" aria-hidden="true"></span>` : icon && html`<${Icon} name=${icon} />`}
    ${children && html`<span>${children}</span>`}
  </button>`;
}

/** A labelled input with its hint and its error; `field` is the input's own properties. */
export function Field({ id, label, hint, error, multiline, ...field }) {
  const notes = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ') || undefined;
  const tag = multiline ? 'textarea' : 'input';
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <${tag} id=${id} aria-describedby=${notes} aria-invalid=${String(Boolean(error))} ...${field} />
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="field-error" id=${`${id}-error`}><${Icon} name="alert" />${error}</p>`}
  </div>`;
}

/** What went wrong, what to do, and the number to quote. */
export function ProblemNote({ problem, onRetry, inline = false }) {
  if (!problem) return null;
  return html`<div class=${inline ? 'problem problem-inline' : 'problem'} role="alert" data-testid="problem">
    <${Icon} name="alert" />
    <div class="problem-body">
      <p>${explain(problem)}</p>
      ${problem.requestId && html`<p class="request-id">${t('problem.request')} <code>${problem.requestId}</code></p>`}
      ${onRetry && html`<${Button} kind="soft" icon="retry" onClick=${onRetry}>${t('retry')}<//>`}
    </div>
  </div>`;
}

/** Nothing here yet, and the next step. */
export function Empty({ icon, title, children }) {
  return html`<div class="empty card" data-testid="empty">
    <span class="empty-icon"><${Icon} name=${icon} /></span>
    <p class="empty-title">${title}</p>
    <div class="empty-body">${children}</div>
  </div>`;
}

export function SkeletonPosts({ count = 3 }) {
  return html`<div class="skeletons" aria-hidden="true">${Array.from({ length: count }, () => html`<div class="card post skeleton">
    <div class="post-head"><span class="bone bone-avatar"></span><span class="bone bone-name"></span></div>
    <span class="bone bone-line"></span><span class="bone bone-line"></span><span class="bone bone-short"></span>
  </div>`)}</div>`;
}

export function SkeletonRows({ count = 4 }) {
  return html`<div class="skeletons" aria-hidden="true">${Array.from({ length: count }, () => html`<div class="person-row skeleton">
    <span class="bone bone-avatar"></span><span class="bone bone-name"></span>
  </div>`)}</div>`;
}

/** The end of a list that goes on: loads by itself when it comes near, and by button when that failed. */
export function More({ next, more, onMore, problem, label = t('more') }) {
  const element = useReach(onMore, next !== null && more === 'idle');
  if (next === null) return null;
  return html`<div class="more" ref=${element}>
    ${more === 'failed' && html`<${ProblemNote} problem=${problem} inline />`}
    <${Button} kind="soft" busy=${more === 'loading'} onClick=${onMore}>${label}<//>
  </div>`;
}

/** A button that shows a few more buttons. A disclosure, not an ARIA menu: Tab walks it, Escape closes it. */
export function Menu({ label, items, testid }) {
  const [open, setOpen] = useState(false);
  const root = useRef(null);
  useEffect(() => {
    if (!open) return undefined;
    const outside = (event) => root.current?.contains(event.target) || setOpen(false);
    document.addEventListener('pointerdown', outside);
    document.addEventListener('focusin', outside);
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('focusin', outside);
    };
  }, [open]);
  const onKeyDown = (event) => {
    if (event.key !== 'Escape' || !open) return;
    event.stopPropagation();
    setOpen(false);
    root.current.querySelector('button').focus();
  };
  const choose = (item) => () => {
    setOpen(false);
    root.current.querySelector('button').focus();
    item.onClick();
  };
  return html`<div class="menu" ref=${root} onKeyDown=${onKeyDown}>
    <button type="button" class="icon-button" aria-expanded=${String(open)} aria-label=${label} data-testid=${testid} onClick=${() => setOpen(!open)}>
      <${Icon} name="more" />
    </button>
    ${open && html`<ul class="menu-list">${items.map((item) => html`<li key=${item.label}>
      <button type="button" class=${item.danger ? 'menu-item danger' : 'menu-item'} onClick=${choose(item)}>${item.label}</button>
    </li>`)}</ul>`}
  </div>`;
}

/** A modal window; the platform's <dialog> keeps focus inside and gives it back. */
export function Dialog({ title, onClose, children, testid }) {
  const element = useRef(null);
  useEffect(() => {
    const dialog = element.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  const onBackdrop = (event) => event.target === element.current && onClose();
  return html`<dialog ref=${element} class="dialog" aria-label=${title} data-testid=${testid} onCancel=${(event) => { event.preventDefault(); onClose(); }} onClick=${onBackdrop}>
    <div class="dialog-body">
      <header class="dialog-head">
        <h2>${title}</h2>
        <button type="button" class="icon-button" aria-label=${t('close')} onClick=${onClose}><${Icon} name="close" /></button>
      </header>
      ${children}
    </div>
  </dialog>`;
}

/** Asks before something that cannot be taken back; stays open, with the reason, when it failed. */
export function Confirm({ title, text, action, run, busy, problem, onClose }) {
  return html`<${Dialog} title=${title} onClose=${onClose} testid="confirm">
    <p>${text}</p>
    <${ProblemNote} problem=${problem} inline />
    <div class="dialog-actions">
      <${Button} kind="soft" onClick=${onClose}>${t('cancel')}<//>
      <${Button} kind="danger" busy=${busy} onClick=${run}>${action}<//>
    </div>
  <//>`;
}
