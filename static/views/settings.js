/**
 * Owns: the settings page: how the page looks and behaves here, devices, password, leaving.
 */

import { html, useEffect, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { device } from '/static/ui/device.js';
import { useAction, useApp, useMe, useStore, useStoreOf } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Button, Confirm, ProblemNote, SkeletonRows, Time } from '/static/views/parts.js';
import { Password, submitting, useFields } from '/static/views/sign.js';
import { t } from '/static/strings.js';

export function SettingsPage() {
  return html`
    <h1 class="page-title" tabindex="-1">${t('settings.title')}</h1>
    <${Section} id="looks" title=${t('settings.looks')}>
      <${Choice} name="theme" label=${t('settings.theme')} options=${[['system', 'screen'], ['light', 'sun'], ['dark', 'moon']]} />
      <${Choice} name="arrivals" label=${t('settings.arrivals')} hint=${t('settings.arrivalsHint')} options=${[['auto', 'up'], ['ask', 'quiet']]} />
    <//>
    <${Devices} />
    <${PasswordForm} />
    <${Leave} />`;
}

function Section({ id, title, text, children }) {
  return html`<section class="card settings-section" aria-labelledby=${id}>
    <h2 id=${id}>${title}</h2>
    ${text && html`<p class="hint">${text}</p>`}
    ${children}
  </section>`;
}

function Choice({ name, label, hint, options }) {
  const { prefs } = useApp();
  const value = useStoreOf(prefs, (all) => all[name]);
  return html`<fieldset class="choice" data-testid=${`choice-${name}`}>
    <legend>${label}</legend>
    <div class="choice-options">${options.map(([option, icon]) => html`<label class=${value === option ? 'choice-option is-chosen' : 'choice-option'}>
      <input type="radio" name=${name} value=${option} checked=${value === option} onChange=${() => prefs.set({ [name]: option })} />
      <${Icon} name=${icon} /><span>${t(`settings.${name}.${option}`)}</span>
    </label>`)}</div>
    ${hint && html`<p class="hint">${hint}</p>`}
  </fieldset>`;
}

function Devices() {
  const { actions } = useApp();
  const [sessions, setSessions] = useState(null);
  const [load, , problem] = useAction(async () => setSessions((await actions.listSessions()).items));
  useEffect(() => { load(); }, []);
  return html`<${Section} id="devices" title=${t('settings.devices')} text=${t('settings.devicesText')}>
    <${ProblemNote} problem=${problem} onRetry=${load} inline />
    ${!sessions && !problem && html`<${SkeletonRows} count=${2} />`}
    ${sessions && html`<ul class="rows person-list" data-testid="devices">${sessions.map((session) => html`<${Device} key=${session.id} session=${session}
      onEnded=${() => setSessions((old) => old.filter((one) => one.id !== session.id))} />`)}</ul>`}
  <//>`;
}

function Device({ session, onEnded }) {
  const { actions, toasts } = useApp();
  const name = device(session);
  const seen = session.used_at ?? session.created_at;
  const [end, busy] = useAction(async () => {
    await actions.endSession(session.id);
    toasts.say(t('settings.ended', { name }));
    onEnded();
  }, { toast: true });
  return html`<li class="person-row" data-testid="device">
    <span class="device-icon"><${Icon} name="device" /></span>
    <div class="person-text">
      <span class="person-name">${name}</span>
      <span class="person-handle">${session.current ? t('settings.thisDevice') : html`${t('settings.seen')} <${Time} iso=${seen} />`}${session.address && ` · ${session.address}`}</span>
    </div>
    ${!session.current && html`<${Button} kind="soft" busy=${busy} aria-label=${t('settings.endOf', { name })} onClick=${end}>${t('settings.end')}<//>`}
  </li>`;
}

function PasswordForm() {
  const { actions, toasts } = useApp();
  const me = useMe();
  const [values, set, setValues] = useFields({ current: '', new: '' });
  const [run, busy, problem] = useAction(async () => {
    await actions.changePassword(values);
    setValues({ current: '', new: '' });
    toasts.say(t('settings.passwordChanged'));
  });
  return html`<${Section} id="password-title" title=${t('settings.password')} text=${t('settings.passwordText')}>
    <form method="post" class="stack narrow" onSubmit=${submitting(run)} data-testid="change-password">
      <input class="visually-hidden" type="text" autocomplete="username" value=${me.username} tabindex="-1" aria-hidden="true" readonly />
      ${problem && !problem.errors.length && html`<${ProblemNote} problem=${problem} inline />`}
      <${Password} id="current-password" label=${t('settings.current')} ...${set('current')} error=${problem?.field('/current')} autocomplete="current-password" />
      <${Password} id="new-password" label=${t('settings.new')} hint=${t('sign.passwordHint')} ...${set('new')} error=${problem?.field('/new')} minlength="8" maxlength="256" autocomplete="new-password" />
      <div><${Button} kind="primary" type="submit" busy=${busy}>${t('settings.changePassword')}<//></div>
    </form>
  <//>`;
}

function Leave() {
  const { actions, router } = useApp();
  const unsent = useStore((state) => state.outbox.length);
  const [asking, setAsking] = useState(false);
  const [run, busy, problem] = useAction(async () => {
    await actions.signOut();
    router.go('/'); // who leaves on purpose starts at the front door next time
  });
  return html`<${Section} id="leave" title=${t('settings.leave')}>
    <${ProblemNote} problem=${problem} inline />
    <div><${Button} kind="danger-soft" icon="leave" busy=${busy} onClick=${() => (unsent ? setAsking(true) : run())}>${t('nav.signOut')}<//></div>
    ${asking && html`<${Confirm} title=${t('nav.signOut')} text=${t('settings.unsent', { n: unsent })} action=${t('nav.signOut')}
      run=${run} busy=${busy} problem=${problem} onClose=${() => setAsking(false)} />`}
  <//>`;
}
