/**
 * Owns: writing a post, and showing those that are still on their way.
 * The text leaves the box when it is submitted; from then on the outbox answers for it.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { length } from '/static/ui/format.js';
import { explain } from '/static/ui/feedback.js';
import { useApp, useMe, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { sharedIn, visible } from '/static/state/outbox.js';
import { Avatar, Button, UserText } from '/static/views/parts.js';
import { Shared } from '/static/views/shared.js';
import { onSubmitKeys, POST_LIMIT, Remaining, rows, TextBox, VisibilitySelect } from '/static/views/text-box.js';
import { t } from '/static/strings.js';

const DRAFT = 'social.draft';

export function Composer() {
  const { actions, prefs } = useApp();
  const me = useMe();
  const [text, setText] = useDraft(me.id);
  const [visibility, setVisibility] = useState(prefs.get().visibility ?? 'friends');
  const box = useRef(null);
  const used = length(text);
  const ready = text.trim() !== '' && used <= POST_LIMIT;

  const submit = (event) => {
    event?.preventDefault();
    if (!ready) return;
    actions.submitPost({ text: text.trim(), visibility });
    prefs.set({ visibility });
    setText('');
    box.current.focus();
  };
  const edit = (entry) => {
    setText(entry.body.text);
    setVisibility(entry.body.visibility);
    box.current.focus();
  };

  return html`<form class="card composer" onSubmit=${submit} method="post" aria-label=${t('composer.label')} data-testid="composer">
    <div class="composer-row">
      <${Avatar} user=${me} />
      <${TextBox} box=${box} id="composer-text" class="composer-text" rows=${rows(text)} placeholder=${t('composer.placeholder')}
        aria-label=${t('composer.text')} aria-describedby="composer-count" text=${text} onText=${setText} onKeyDown=${onSubmitKeys(submit)} />
    </div>
    <div class="composer-foot">
      <${VisibilitySelect} id="composer-visibility" value=${visibility} onChange=${setVisibility} />
      <span class="spacer"></span>
      <${Remaining} id="composer-count" used=${used} limit=${POST_LIMIT} />
      <${Button} kind="primary" type="submit" disabled=${!ready} title=${t('composer.keys')}>${t('composer.submit')}<//>
    </div>
  </form>
  <${Outgoing} lane="posts" onEdit=${edit} />`;
}

/** The text of an unfinished post outlives a reload and a sign-in page in between, in this tab. */
function useDraft(userId) {
  const key = `${DRAFT}.${userId}`;
  const [text, setText] = useState(() => sessionStorage.getItem(key) ?? '');
  useEffect(() => {
    if (text) sessionStorage.setItem(key, text);
    else sessionStorage.removeItem(key);
  }, [text]);
  return [text, setText];
}

/** Submissions without an answer, as the items that they will be. */
export function Outgoing({ lane, onEdit, compact = false }) {
  const outbox = useStore((state) => state.outbox);
  const entries = visible(outbox, lane);
  if (!entries.length) return null;
  return html`<div class="outgoing" data-testid="outbox">
    ${entries.map((entry) => html`<${Submission} key=${entry.key} entry=${entry} onEdit=${onEdit} compact=${compact} />`)}
  </div>`;
}

function Submission({ entry, onEdit, compact }) {
  const { actions, online } = useApp();
  const me = useMe();
  useStore((state) => state.connection); // the word below depends on whether there is a connection
  const failed = entry.status === 'failed';
  const shares = sharedIn(entry);
  const word = online() ? t('outbox.sending') : t('outbox.offline');
  return html`<section class=${`${compact ? 'comment' : 'card post'} submission ${failed ? 'is-failed' : 'is-pending'}`}
      aria-label=${t(failed ? 'outbox.failedLabel' : 'outbox.label')} data-testid="submission" data-status=${failed ? 'failed' : 'pending'}>
    <div class="post-head">
      <${Avatar} user=${me} size=${compact ? 'small' : 'medium'} />
      <div class="post-by">
        <span class="post-author"><bdi>${me.name}</bdi></span>
        ${!failed && html`<span class="post-meta"><span class="spinner" aria-hidden="true"></span>${word}</span>`}
      </div>
    </div>
    ${entry.body.text && html`<${UserText} text=${entry.body.text} />`}
    ${shares && html`<${Shared} id=${shares} />`}
    ${failed && html`<div class="submission-foot" role="alert">
      <p><${Icon} name="alert" />${t('outbox.failed')} ${explain(entry.problem)}</p>
      ${entry.problem.requestId && html`<p class="request-id">${t('problem.request')} <code>${entry.problem.requestId}</code></p>`}
      <div class="submission-actions">
        <${Button} kind="tint" icon="retry" onClick=${() => actions.retry(entry.key)}>${t('retry')}<//>
        ${onEdit && !shares && html`<${Button} kind="soft" onClick=${() => onEdit(actions.discard(entry.key))}>${t('outbox.edit')}<//>`}
        <${Button} kind="soft" onClick=${() => actions.discard(entry.key)}>${t('outbox.discard')}<//>
      </div>
    </div>`}
  </section>`;
}
