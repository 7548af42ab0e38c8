/**
 * Owns: the list of those whom the viewer blocks, each with the way back.
 */

import { html, useEffect } from '/static/vendor/htm-preact-standalone.module.js';
import { useAction, useApp, useStore } from '/static/ui/hooks.js';
import { Avatar, Button, ProblemNote } from '/static/views/parts.js';
import { t } from '/static/strings.js';

export function BlockList() {
  const { actions } = useApp();
  const blocks = useStore((state) => state.blocks);
  useEffect(() => { actions.loadBlocks(); }, []);
  return html`
    ${blocks.status === 'failed' && html`<${ProblemNote} problem=${blocks.problem} onRetry=${actions.loadBlocks} inline />`}
    ${blocks.status === 'ready' && html`<p class="hint">${t(blocks.ids.length ? 'blocks.text' : 'blocks.none')}</p>`}
    ${blocks.ids.length > 0 && html`<ul class="card rows person-list" data-testid="blocks">${blocks.ids.map((user) => html`<${Blocked} key=${user.id} user=${user} />`)}</ul>`}`;
}

function Blocked({ user }) {
  const { actions, toasts } = useApp();
  const [run, busy] = useAction(async () => {
    await actions.unblock(user.id);
    toasts.say(t('blocks.undone', { name: user.name }));
  }, { toast: true });
  return html`<li class="person-row" data-testid="blocked">
    <${Avatar} user=${user} />
    <div class="person-text"><span class="person-name"><bdi>${user.name}</bdi></span><span class="person-handle">@${user.username}</span></div>
    <${Button} kind="soft" busy=${busy} aria-label=${t('blocks.unblockOf', { name: user.name })} onClick=${run}>${t('blocks.unblock')}<//>
  </li>`;
}
