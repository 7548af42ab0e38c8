/**
 * Owns: a post inside another one that shares it, and the window in which one shares.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { length } from '/static/ui/format.js';
import { useAction, useApp, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Avatar, Button, Dialog, Link, ProblemNote, Time, UserText } from '/static/views/parts.js';
import { onSubmitKeys, POST_LIMIT, Remaining, rows, TextBox, VisibilitySelect } from '/static/views/text-box.js';
import { t } from '/static/strings.js';

/**
 * The shared post as a small card, read when the page does not have it yet: live events tell its id only. `gone` when the
 * server said that the viewer may not see it; it may have been deleted, or was never for them: both look the same.
 */
export function Shared({ id, gone = false }) {
  const { actions } = useApp();
  const post = useStore((state) => state.posts.get(id));
  const lost = useStore((state) => state.deleting.has(`post:${id}`) || (!state.posts.has(id) && (gone || state.gone.has(`post:${id}`))));
  const author = useStore((state) => state.users.get(state.posts.get(id)?.author.id)) ?? post?.author;
  const [load, , problem] = useAction(() => actions.loadPost(id));
  const wanted = !post && !lost;
  useEffect(() => { if (wanted) load(); }, [id, wanted]);
  if (lost) return html`<p class="shared shared-gone" data-testid="tombstone"><${Icon} name="lock" />${t('post.sharedGone')}</p>`;
  if (!post && problem) return html`<div class="shared"><${ProblemNote} problem=${problem} inline onRetry=${load} /></div>`;
  if (!post) return html`<div class="shared" aria-busy="true"><span class="bone bone-name"></span><span class="bone bone-short"></span></div>`;
  return html`<div class="shared" data-testid="shared" data-post-id=${id}>
    <div class="shared-head">
      <${Avatar} user=${author} size="small" />
      <div class="post-by">
        <${Link} to=${`/users/${author.id}`} class="post-author"><bdi>${author.name}</bdi><//>
        <span class="post-meta"><${Link} to=${`/posts/${id}`} class="quiet"><${Time} iso=${post.created_at} /><//>${post.edited_at && html`<span>${t('post.edited')}</span>`}</span>
      </div>
    </div>
    ${post.text && html`<${UserText} text=${post.text} tags=${post.tags} mentions=${post.mentions} className="user-text shared-text" />`}
  </div>`;
}

/** A few words to it, or none. It goes out like any post: kept until the server has it. */
export function ShareDialog({ id, onClose }) {
  const { actions, prefs, toasts } = useApp();
  const [text, setText] = useState('');
  const [visibility, setVisibility] = useState(prefs.get().visibility ?? 'friends');
  const box = useRef(null);
  const ready = length(text) <= POST_LIMIT;
  useEffect(() => box.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    if (!ready) return;
    actions.submitShare(id, { ...(text.trim() && { text: text.trim() }), visibility });
    prefs.set({ visibility });
    toasts.say(t('share.done'));
    onClose();
  };
  return html`<${Dialog} title=${t('share.title')} onClose=${onClose} testid="share">
    <form class="stack" method="post" onSubmit=${submit}>
      <${TextBox} box=${box} class="boxed" rows=${rows(text, 2, 8)} placeholder=${t('share.placeholder')} aria-label=${t('share.text')}
        text=${text} onText=${setText} onKeyDown=${onSubmitKeys(submit)} />
      <${Shared} id=${id} />
      <p class="hint">${t('share.hint')}</p>
      <div class="composer-foot">
        <${VisibilitySelect} id="share-visibility" value=${visibility} onChange=${setVisibility} />
        <span class="spacer"></span>
        <${Remaining} used=${length(text)} limit=${POST_LIMIT} />
        <${Button} kind="primary" type="submit" disabled=${!ready}>${t('share.submit')}<//>
      </div>
    </form>
  <//>`;
}
