/**
 * Owns: what a post said before its edits, for its author.
 */

import { html, useEffect, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { useAction, useApp } from '/static/ui/hooks.js';
import { Dialog, More, ProblemNote, SkeletonRows, Time, UserText } from '/static/views/parts.js';
import { t } from '/static/strings.js';

export function History({ id, onClose }) {
  const { actions } = useApp();
  const [list, setList] = useState({ items: [], next: null, loaded: false });
  const [load, busy, problem] = useAction(async () => {
    const page = await actions.loadHistory(id, list.next);
    setList({ items: [...list.items, ...page.items], next: page.next, loaded: true });
  });
  useEffect(() => { load(); }, []);
  return html`<${Dialog} title=${t('history.title')} onClose=${onClose} testid="history">
    ${!list.loaded && busy && html`<${SkeletonRows} count=${2} />`}
    <${ProblemNote} problem=${problem} onRetry=${load} inline />
    ${list.loaded && !list.items.length && html`<p class="hint">${t('history.none')}</p>`}
    <ol class="versions">${list.items.map((one) => html`<li key=${one.version} class="version" data-testid="version">
      <p class="post-meta"><span>${t('history.until')} <${Time} iso=${one.replaced_at} /></span><span>${t(`visibility.${one.visibility}`)}</span></p>
      ${one.text ? html`<${UserText} text=${one.text} />` : html`<p class="hint">${t('history.noText')}</p>`}
    </li>`)}</ol>
    <${More} next=${list.next} more=${busy ? 'loading' : 'idle'} onMore=${load} />
  <//>`;
}
