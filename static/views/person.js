/**
 * Owns: one person in a list and what the viewer can do about them.
 */

import { html, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { useAction, useApp, useStore } from '/static/ui/hooks.js';
import { Avatar, Button, Confirm, Link } from '/static/views/parts.js';
import { t } from '/static/strings.js';

export function PersonRow({ id, note, compact = false, actions = true }) {
  const user = useStore((state) => state.users.get(id));
  const presence = useStore((state) => state.presence.get(id));
  if (!user) return null;
  return html`<li class=${compact ? 'person-row compact' : 'person-row'} data-testid="person" data-user-id=${id}>
    <${Avatar} user=${user} presence=${presence} size=${compact ? 'small' : 'medium'} />
    <div class="person-text">
      <${Link} to=${`/users/${id}`} class="person-name"><bdi>${user.name}</bdi><//>
      <span class="person-handle">@${user.username}${note && html` · ${note}`}</span>
    </div>
    ${actions && html`<${RelationButtons} user=${user} />`}
  </li>`;
}

/** The buttons that fit what the two are to each other. */
export function RelationButtons({ user }) {
  const { actions } = useApp();
  const [ask, asking] = useAction(() => actions.befriend(user.id), { toast: true });
  const [end, ending] = useAction(() => actions.unfriend(user.id), { toast: true });
  const [confirming, setConfirming] = useState(false);
  const named = { name: user.name };
  const busy = asking || ending;
  switch (user.relation) {
    case 'friends':
      return html`<div class="relation">
        <${Button} kind="soft" icon="check" busy=${busy} aria-label=${t('friends.unfriendOf', named)} onClick=${() => setConfirming(true)}>${t('friends.are')}<//>
        ${confirming && html`<${ConfirmUnfriend} user=${user} onClose=${() => setConfirming(false)} />`}
      </div>`;
    case 'asked':
      return html`<div class="relation">
        <${Button} kind="primary" busy=${asking} disabled=${ending} aria-label=${t('friends.acceptOf', named)} onClick=${ask}>${t('friends.accept')}<//>
        <${Button} kind="soft" busy=${ending} disabled=${asking} aria-label=${t('friends.declineOf', named)} onClick=${end}>${t('friends.decline')}<//>
      </div>`;
    case 'requested':
      return html`<div class="relation">
        <${Button} kind="soft" icon="clock" busy=${busy} aria-label=${t('friends.withdrawOf', named)} onClick=${end}>${t('friends.withdraw')}<//>
      </div>`;
    case 'none':
      return html`<div class="relation">
        <${Button} kind="tint" icon="plus" busy=${busy} aria-label=${t('friends.askOf', named)} onClick=${ask}>${t('friends.ask')}<//>
      </div>`;
    default:
      return null;
  }
}

function ConfirmUnfriend({ user, onClose }) {
  const { actions } = useApp();
  const [run, busy, problem] = useAction(async () => {
    await actions.unfriend(user.id);
    onClose();
  });
  return html`<${Confirm} title=${t('friends.unfriendTitle', { name: user.name })} text=${t('friends.unfriendText')}
    action=${t('friends.unfriend')} run=${run} busy=${busy} problem=${problem} onClose=${onClose} />`;
}
