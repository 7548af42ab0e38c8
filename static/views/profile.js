/**
 * Owns: one person's page: who they are, what the viewer may see of theirs; one's own can be edited here.
 */

import { html, useEffect, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { hue, length } from '/static/ui/format.js';
import { useAction, useApp, useStore } from '/static/ui/hooks.js';
import { wallOf } from '/static/state/model.js';
import { PostList } from '/static/views/feed-list.js';
import { Avatar, Button, Confirm, Dialog, Empty, Field, Link, Menu, ProblemNote, SkeletonPosts, UserText } from '/static/views/parts.js';
import { RelationButtons } from '/static/views/person.js';
import { t } from '/static/strings.js';

export function ProfilePage({ id }) {
  const { actions } = useApp();
  const user = useStore((state) => state.users.get(id));
  const relation = user?.relation;
  const [load, loading, problem] = useAction(() => actions.loadUser(id));
  useEffect(() => { load(); }, [id]);

  if (problem?.status === 404 || (!user && !loading && !problem)) return html`<${NotAvailable} />`;
  if (!user) return problem ? html`<${ProblemNote} problem=${problem} onRetry=${load} />` : html`<${SkeletonPosts} count=${1} />`;
  // A new tie shows more, a cut one less: the key makes the list read again, and what the server says now is what counts.
  return html`
    <${ProfileHead} user=${user} />
    <h2 class="section-title">${t('profile.posts')}</h2>
    <${PostList} key=${relation === 'friends' ? 'theirs' : 'public'} address=${wallOf(id)} label=${t('profile.postsOf', { name: user.name })}
      empty=${html`<${NoPosts} user=${user} />`} />`;
}

export function NotAvailable() {
  return html`<h1 class="visually-hidden" tabindex="-1">${t('missing.title')}</h1>
    <${Empty} icon="lock" title=${t('missing.title')}>
      <p>${t('missing.text')}</p>
      <${Link} to="/" class="button button-primary"><span>${t('missing.home')}</span><//>
    <//>`;
}

function ProfileHead({ user }) {
  const presence = useStore((state) => state.presence.get(user.id));
  const [mode, setMode] = useState('read'); // read | edit | block
  const back = () => setMode('read');
  const self = user.relation === 'self';
  return html`<section class="card profile" data-testid="profile">
    <div class=${`profile-band ${hue(user.id)}`}></div>
    <div class="profile-main">
      <${Avatar} user=${user} size="large" presence=${presence} />
      <div class="profile-actions">
        ${self && html`<${Button} kind="soft" onClick=${() => setMode('edit')}>${t('profile.edit')}<//>`}
        ${!self && html`<${RelationButtons} user=${user} />
          <${Menu} label=${t('profile.menu', { name: user.name })} testid="profile-menu"
            items=${[{ label: t('profile.block'), danger: true, onClick: () => setMode('block') }]} />`}
      </div>
      <h1 class="profile-name" tabindex="-1"><bdi>${user.name}</bdi></h1>
      <p class="person-handle">@${user.username}</p>
      ${user.bio && html`<${UserText} text=${user.bio} className="user-text bio" />`}
      ${self && !user.bio && html`<p class="hint">${t('profile.noBio')}</p>`}
    </div>
    ${mode === 'edit' && html`<${EditProfile} user=${user} onClose=${back} />`}
    ${mode === 'block' && html`<${ConfirmBlock} user=${user} onClose=${back} />`}
  </section>`;
}

function NoPosts({ user }) {
  if (user.relation === 'self') {
    return html`<${Empty} icon="comment" title=${t('profile.emptyOwnTitle')}>
      <${Link} to="/" class="button button-primary"><span>${t('profile.emptyOwnStep')}</span><//>
    <//>`;
  }
  return html`<${Empty} icon="comment" title=${t('profile.emptyTitle', { name: user.name })}>
    <p>${user.relation === 'friends' ? t('profile.emptyFriend') : t('profile.emptyText')}</p>
  <//>`;
}

function EditProfile({ user, onClose }) {
  const { actions, toasts } = useApp();
  const [name, setName] = useState(user.name);
  const [bio, setBio] = useState(user.bio ?? '');
  const [save, busy, problem] = useAction(async () => {
    await actions.saveProfile({ name: name.trim(), bio: bio.trim() });
    toasts.say(t('profile.saved'));
    onClose();
  });
  const submit = (event) => {
    event.preventDefault();
    save();
  };
  return html`<${Dialog} title=${t('profile.edit')} onClose=${onClose} testid="edit-profile">
    <form method="post" onSubmit=${submit} class="stack">
      <${Field} id="profile-name" label=${t('sign.name')} value=${name} required autocomplete="name" dir="auto"
        error=${problem?.field('/name')} onInput=${(event) => setName(event.target.value)} />
      <${Field} id="profile-bio" multiline rows="4" label=${t('profile.bio')} value=${bio} dir="auto" hint=${t('profile.bioHint', { n: length(bio) })}
        error=${problem?.field('/bio')} onInput=${(event) => setBio(event.target.value)} />
      ${problem && !problem.errors.length && html`<${ProblemNote} problem=${problem} inline />`}
      <div class="dialog-actions">
        <${Button} kind="soft" onClick=${onClose}>${t('cancel')}<//>
        <${Button} kind="primary" type="submit" busy=${busy} disabled=${!name.trim()}>${t('save')}<//>
      </div>
    </form>
  <//>`;
}

function ConfirmBlock({ user, onClose }) {
  const { actions, toasts, router } = useApp();
  const [run, busy, problem] = useAction(async () => {
    await actions.block(user.id);
    toasts.say(t('profile.blocked', { name: user.name }));
    router.go('/');
  });
  return html`<${Confirm} title=${t('profile.blockTitle', { name: user.name })} text=${t('profile.blockText')} action=${t('profile.block')}
    run=${run} busy=${busy} problem=${problem} onClose=${onClose} />`;
}
