/**
 * Owns: one post as a reader meets it: text, likes, the door to its comments; editing and deleting for its author.
 * Never does: know which list it stands in. `PostBody` goes inside an <article> that the list owns.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { length, number, shortNumber } from '/static/ui/format.js';
import { memo, useAction, useApp, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Avatar, Button, Confirm, Dialog, Link, Menu, More, ProblemNote, SkeletonRows, Time, UserText } from '/static/views/parts.js';
import { onSubmitKeys, POST_LIMIT, Remaining, rows, VisibilitySelect } from '/static/views/composer.js';
import { PersonRow } from '/static/views/person.js';
import { Thread } from '/static/views/thread.js';
import { t } from '/static/strings.js';

const LONG_TEXT = 900; // code units; beyond it a post is folded so that one writer cannot fill the page
const LONG_LINES = 14;
const VISIBILITY_ICON = { friends: 'friends', public: 'globe', only_me: 'lock' };

export const PostBody = memo(({ id, threadOpen = false }) => {
  const { actions, watcher, router } = useApp();
  const post = useStore((state) => state.posts.get(id));
  const mine = useStore((state) => state.session.userId === state.posts.get(id)?.author.id);
  const [thread, setThread] = useState(threadOpen);
  const [mode, setMode] = useState('read'); // read | edit | delete | likers
  const [like] = useAction((wish) => actions.setLike(id, wish), { toast: true });
  const element = useRef(null);
  useEffect(() => watcher.observe(element.current, id), [id]);
  if (!post) return html`<div ref=${element}></div>`;

  const { counts, liked } = post;
  const back = () => setMode('read');
  const gone = () => {
    back();
    if (router.get().page === 'post') router.go('/');
  };
  return html`<div class="post-inner" ref=${element}>
    <${PostHead} post=${post}>
      ${mine && html`<${Menu} label=${t('post.menu')} testid="post-menu" items=${[
        { label: t('post.edit'), onClick: () => setMode('edit') },
        { label: t('post.delete'), danger: true, onClick: () => setMode('delete') },
      ]} />`}
    <//>
    ${mode === 'edit' ? html`<${EditPost} post=${post} onDone=${back} />` : html`<${FoldedText} post=${post} />`}
    ${post.shared && html`<${Shared} shared=${post.shared} />`}
    <div class="post-foot">
      <button type="button" class=${liked ? 'act act-like is-liked' : 'act act-like'} aria-pressed=${String(liked)} data-testid="like"
          onClick=${() => like(!liked)}>
        <${Icon} name="heart" filled=${liked} /><span>${t('post.like')}</span>
      </button>
      <button type="button" class="act" aria-expanded=${String(thread)} data-testid="comments-toggle" onClick=${() => setThread(!thread)}>
        <${Icon} name="comment" /><span>${t('post.comment')}</span>${' '}
        ${counts.comments > 0 && html`<span class="count" data-testid="comment-count" title=${number(counts.comments)}>${shortNumber(counts.comments)}</span>`}
      </button>
      <span class="spacer"></span>
      ${counts.likes > 0 && html`<button type="button" class="likers" onClick=${() => setMode('likers')} data-testid="like-count"
        title=${number(counts.likes)}>${t('post.likes', { n: counts.likes, count: shortNumber(counts.likes) })}</button>`}
    </div>
    ${thread && html`<${Thread} postId=${id} />`}
    ${mode === 'delete' && html`<${DeletePost} id=${id} onClose=${back} onDone=${gone} />`}
    ${mode === 'likers' && html`<${Likers} id=${id} onClose=${back} />`}
  </div>`;
});

function PostHead({ post, children }) {
  const author = useStore((state) => state.users.get(post.author.id)) ?? post.author;
  const presence = useStore((state) => state.presence.get(post.author.id));
  const visibility = t(`visibility.${post.visibility}`);
  return html`<header class="post-head">
    <${Avatar} user=${author} presence=${presence} />
    <div class="post-by">
      <${Link} to=${`/users/${author.id}`} class="post-author" id=${`post-${post.id}-by`}><bdi>${author.name}</bdi><//>
      <span class="post-meta">
        <${Link} to=${`/posts/${post.id}`} class="quiet"><${Time} iso=${post.created_at} /><//>
        ${post.edited_at && html`<span>${t('post.edited')}</span>`}
        <span class="visibility" title=${visibility}><${Icon} name=${VISIBILITY_ICON[post.visibility] ?? 'lock'} /><span class="visually-hidden">${visibility}</span></span>
      </span>
    </div>
    ${children}
  </header>`;
}

function FoldedText({ post }) {
  const long = post.text.length > LONG_TEXT || post.text.split('\n').length > LONG_LINES;
  const [open, setOpen] = useState(false);
  if (!post.text) return null;
  return html`<${UserText} id=${`post-${post.id}-text`} text=${post.text} className=${long && !open ? 'user-text is-folded' : 'user-text'} />
    ${long && html`<button type="button" class="link-button unfold" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>${t(open ? 'post.less' : 'post.more')}</button>`}`;
}

/** What was shared: whole when HTTP brought it, only its address when a live event did. */
function Shared({ shared }) {
  if (shared.gone) return html`<p class="shared shared-gone">${t('post.sharedGone')}</p>`;
  if (!shared.author) return html`<p class="shared"><${Link} to=${`/posts/${shared.id}`}>${t('post.sharedLink')}<//></p>`;
  return html`<div class="shared"><${PostHead} post=${shared} /><${UserText} text=${shared.text} /></div>`;
}

function EditPost({ post, onDone }) {
  const { actions } = useApp();
  const [text, setText] = useState(post.text);
  const [visibility, setVisibility] = useState(post.visibility);
  const box = useRef(null);
  const ready = (text.trim() !== '' || post.media?.length > 0) && length(text) <= POST_LIMIT;
  const [save, busy, problem] = useAction(async () => {
    const change = {};
    if (text.trim() !== post.text) change.text = text.trim();
    if (visibility !== post.visibility) change.visibility = visibility;
    if (Object.keys(change).length) await actions.editPost(post.id, change);
    onDone();
  });
  useEffect(() => {
    box.current.focus();
    box.current.setSelectionRange(text.length, text.length);
  }, []);
  const submit = (event) => {
    event.preventDefault();
    if (ready) save();
  };
  const onKeyDown = (event) => {
    if (event.key === 'Escape') onDone();
    else onSubmitKeys(submit)(event);
  };
  return html`<form class="edit-form" method="post" onSubmit=${submit} data-testid="edit-post">
    <textarea ref=${box} class="boxed" dir="auto" rows=${rows(text, 3)} aria-label=${t('post.editText')} value=${text}
      onInput=${(event) => setText(event.target.value)} onKeyDown=${onKeyDown}></textarea>
    <${ProblemNote} problem=${problem} inline />
    <div class="composer-foot">
      <${VisibilitySelect} id=${`visibility-${post.id}`} value=${visibility} onChange=${setVisibility} />
      <span class="spacer"></span>
      <${Remaining} used=${length(text)} limit=${POST_LIMIT} />
      <${Button} kind="soft" onClick=${onDone}>${t('cancel')}<//>
      <${Button} kind="primary" type="submit" busy=${busy} disabled=${!ready}>${t('save')}<//>
    </div>
  </form>`;
}

function DeletePost({ id, onClose, onDone }) {
  const { actions, toasts } = useApp();
  const [run, busy, problem] = useAction(async () => {
    await actions.deletePost(id);
    toasts.say(t('post.deleted'));
    onDone();
  });
  return html`<${Confirm} title=${t('post.deleteTitle')} text=${t('post.deleteText')} action=${t('post.delete')}
    run=${run} busy=${busy} problem=${problem} onClose=${onClose} />`;
}

/** Who likes it. The count may include people whom the viewer may not see; the list does not, and says so. */
function Likers({ id, onClose }) {
  const { actions } = useApp();
  const [list, setList] = useState({ ids: [], next: null, loaded: false });
  const [load, busy, problem] = useAction(async () => {
    const page = await actions.loadLikers(id, list.next);
    setList({ ids: [...list.ids, ...page.items.map((user) => user.id)], next: page.next, loaded: true });
  });
  useEffect(() => { load(); }, []);
  return html`<${Dialog} title=${t('post.likersTitle')} onClose=${onClose} testid="likers">
    ${!list.loaded && busy && html`<${SkeletonRows} count=${2} />`}
    <${ProblemNote} problem=${problem} onRetry=${load} inline />
    ${list.loaded && !list.ids.length && html`<p class="hint">${t('post.likersHidden')}</p>`}
    <ul class="person-list">${list.ids.map((one) => html`<${PersonRow} key=${one} id=${one} />`)}</ul>
    <${More} next=${list.next} more=${busy ? 'loading' : 'idle'} onMore=${load} />
  <//>`;
}
