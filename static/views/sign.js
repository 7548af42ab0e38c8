/**
 * Owns: the signed-out page: sign in, or make an account. The address stays what it was, so a link survives the sign-in.
 */

import { html, useEffect, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { useAction, useApp } from '/static/ui/hooks.js';
import { Mark } from '/static/ui/icons.js';
import { Button, Field, ProblemNote } from '/static/views/parts.js';
import { t } from '/static/strings.js';

export function SignPage() {
  const [joining, setJoining] = useState(location.hash === '#join');
  useEffect(() => {
    const follow = () => setJoining(location.hash === '#join');
    window.addEventListener('hashchange', follow);
    return () => window.removeEventListener('hashchange', follow);
  }, []);
  return html`<main class="sign" id="main">
    <section class="sign-pitch">
      <p class="brand"><${Mark} /><span>${t('brand')}</span></p>
      <h1>${t('sign.pitch')}</h1>
      <p class="sign-sub">${t('sign.pitchText')}</p>
      <${Ripples} />
    </section>
    <section class="sign-card card">${joining ? html`<${SignUp} />` : html`<${SignIn} />`}</section>
  </main>`;
}

function Ripples() {
  return html`<svg class="ripples" viewBox="0 0 400 400" aria-hidden="true" focusable="false">
    ${[40, 85, 130, 175, 220, 265, 310].map((r) => html`<circle cx="90" cy="310" r=${r} />`)}
    <circle class="ripples-dot" cx="90" cy="310" r="14" /><circle class="ripples-friend" cx="215" cy="275" r="8" />
    <circle class="ripples-friend" cx="165" cy="154" r="6" /><circle class="ripples-friend" cx="310" cy="328" r="7" />
  </svg>`;
}

function SignIn() {
  const { actions } = useApp();
  const [values, set] = useFields({ username: '', password: '' });
  const [run, busy, problem] = useAction(() => actions.signIn({ username: values.username.trim(), password: values.password }));
  return html`<form method="post" class="stack" onSubmit=${submitting(run)} data-testid="sign-in">
    <h2>${t('sign.in')}</h2>
    ${problem?.status === 401
      ? html`<p class="field-error" role="alert" data-testid="problem">${problem.detail || t('sign.wrong')}</p>`
      : problem && !problem.errors.length && html`<${ProblemNote} problem=${problem} inline />`}
    <${Field} id="username" label=${t('sign.username')} ...${set('username')} error=${problem?.field('/username')} required autocomplete="username" autocapitalize="none" spellcheck="false" />
    <${Password} label=${t('sign.password')} ...${set('password')} error=${problem?.field('/password')} autocomplete="current-password" />
    <${Button} kind="primary" type="submit" busy=${busy} className="wide">${t('sign.in')}<//>
    <p class="sign-switch">${t('sign.new')} <a href="#join">${t('sign.up')}</a></p>
  </form>`;
}

function SignUp() {
  const { actions } = useApp();
  const [values, set] = useFields({ name: '', username: '', password: '', email: '' });
  const [run, busy, problem] = useAction(() => actions.signUp({
    name: values.name.trim(),
    username: values.username.trim().toLowerCase(),
    password: values.password,
    ...(values.email.trim() && { email: values.email.trim() }),
  }));
  const wrong = (name) => problem?.field(`/${name}`) || (problem?.status === 409 && name === 'username' ? problem.detail || t('sign.taken') : '');
  const elsewhere = problem && problem.status !== 409 && !problem.errors.length;
  return html`<form method="post" class="stack" onSubmit=${submitting(run)} data-testid="sign-up">
    <h2>${t('sign.up')}</h2>
    ${elsewhere && html`<${ProblemNote} problem=${problem} inline />`}
    <${Field} id="name" label=${t('sign.name')} ...${set('name')} error=${wrong('name')} required autocomplete="name" dir="auto" />
    <${Field} id="username" label=${t('sign.username')} hint=${t('sign.usernameHint')} ...${set('username')} error=${wrong('username')} required
      minlength="3" maxlength="30" autocomplete="username" autocapitalize="none" spellcheck="false" />
    <${Password} label=${t('sign.password')} hint=${t('sign.passwordHint')} ...${set('password')} error=${wrong('password')} minlength="8" maxlength="256" autocomplete="new-password" />
    <${Field} id="email" type="email" label=${t('sign.email')} ...${set('email')} error=${wrong('email')} autocomplete="email" />
    <${Button} kind="primary" type="submit" busy=${busy} className="wide">${t('sign.up')}<//>
    <p class="sign-switch">${t('sign.have')} <a href="#">${t('sign.in')}</a></p>
  </form>`;
}

/** A password with a way to see what one types: better than typing it twice. */
export function Password({ id = 'password', label, ...rest }) {
  const [shown, setShown] = useState(false);
  return html`<div class="password">
    <${Field} id=${id} label=${label} type=${shown ? 'text' : 'password'} required autocapitalize="none" spellcheck="false" ...${rest} />
    <button type="button" class="link-button password-show" aria-pressed=${String(shown)} aria-controls=${id} onClick=${() => setShown(!shown)}>${t(shown ? 'sign.hide' : 'sign.show')}</button>
  </div>`;
}

/** -> [values, set]: `set(name)` gives an input's value and handler. */
export function useFields(initial) {
  const [values, setValues] = useState(initial);
  const set = (name) => ({
    value: values[name],
    name,
    onInput: (event) => {
      const { value } = event.target;
      setValues((old) => ({ ...old, [name]: value }));
    },
  });
  return [values, set, setValues];
}

export function submitting(run) {
  return (event) => {
    event.preventDefault();
    run();
  };
}
