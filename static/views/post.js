/**
 * Owns: one post as a reader meets it: text, likes, the door to its comments; editing and deleting for its author.
 * Never does: know which list it stands in. `PostBody` goes inside an <article> that the list owns.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { length, number, shortNumber } from '/static/ui/format.js';
import { memo, useAction, useApp, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Avatar, Button, Dialog, Link, Menu, More, ProblemNote, SkeletonRows, Time, UserText } from '/static/views/parts.js';
import { useDelete } from '/static/views/deleting.js';
import { History } from '/static/views/history.js';
import { PersonRow } from '/static/views/person.js';
import { ShareDialog, Shared } from '/static/views/shared.js';
import { onSubmitKeys, POST_LIMIT, Remaining, rows, TextBox, VisibilitySelect } from '/static/views/text-box.js';
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
  const [mode, setMode] = useState('read'); // read | edit | history | share | likers
  const [like] = useAction((wish) => actions.setLike(id, wish), { toast: true });
  const element = useRef(null);
  const remove = useDelete('post', id, {
    next: () => neighbour(element.current),
    again: () => document.querySelector(`.post[data-post-id="${id}"]`),
  });
  useEffect(() => watcher.observe(element.current, id), [id]);
  if (!post) return html`<div ref=${element}></div>`;

  const { counts, liked } = post;
  const back = () => {
    setMode('read');
    if (mode === 'edit') requestAnimationFrame(() => element.current?.querySelector('.menu button')?.focus({ preventScroll: true }));
  };
  const leave = () => {
    remove();
    if (router.get().page === 'post') router.go('/');
  };
  return html`<div class="post-inner" ref=${element}>
    <${PostHead} post=${post} onHistory=${mine && (() => setMode('history'))}>
      ${mine && html`<${Menu} label=${t('post.menu')} testid="post-menu" items=${[
        { label: t('post.edit'), onClick: () => setMode('edit') },
        { label: t('post.delete'), danger: true, onClick: leave },
      ]} />`}
    <//>
    ${mode === 'edit' ? html`<${EditPost} post=${post} onDone=${back} />` : html`<${FoldedText} post=${post} />`}
    ${post.shared && html`<${Shared} id=${post.shared.id} gone=${post.shared.gone} />`}
    <div class="post-foot">
      <button type="button" class=${liked ? 'act act-like is-liked' : 'act act-like'} aria-pressed=${String(liked)} data-testid="like"
          onClick=${() => like(!liked)}>
        <${Icon} name="heart" filled=${liked} /><span class="act-word">${t('post.like')}</span>
      </button>
      <button type="button" class="act" aria-expanded=${String(thread)} data-testid="comments-toggle" onClick=${() => setThread(!thread)}>
        <${Icon} name="comment" /><span class="act-word">${t('post.comment')}</span>${' '}
        ${counts.comments > 0 && html`<span class="count" data-testid="comment-count" title=${number(counts.comments)}>${shortNumber(counts.comments)}</span>`}
      </button>
      ${post.visibility !== 'only_me' && !post.shared?.gone && html`<button type="button" class="act" data-testid="share-button" aria-haspopup="dialog" onClick=${() => setMode('share')}>
        <${Icon} name="share" /><span class="act-word">${t('post.share')}</span>${' '}
        ${counts.shares > 0 && html`<span class="count" data-testid="share-count" title=${number(counts.shares)}>${shortNumber(counts.shares)}</span>`}
      </button>`}
      <span class="spacer"></span>
      ${counts.likes > 0 && html`<button type="button" class="likers" onClick=${() => setMode('likers')} data-testid="like-count"
        title=${number(counts.likes)}>${t('post.likes', { n: counts.likes, count: shortNumber(counts.likes) })}</button>`}
    </div>
    ${thread && html`<${Thread} postId=${id} />`}
    ${mode === 'history' && html`<${History} id=${id} onClose=${back} />`}
    ${mode === 'share' && html`<${ShareDialog} id=${post.shared?.id ?? id} onClose=${back} />`}
    ${mode === 'likers' && html`<${Likers} id=${id} onClose=${back} />`}
  </div>`;
});

/** The post after this one in its list, else the one before. */
function neighbour(inner) {
  const article = inner.closest('.post');
  return article?.nextElementSibling ?? article?.previousElementSibling;
}

/** `onHistory` when the viewer may read what the post said before. */
function PostHead({ post, onHistory, children }) {
  const author = useStore((state) => state.users.get(post.author.id)) ?? post.author;
  const presence = useStore((state) => state.presence.get(post.author.id));
  const visibility = t(`visibility.${post.visibility}`);
  return html`<header class="post-head">
    <${Avatar} user=${author} presence=${presence} />
    <div class="post-by">
      <${Link} to=${`/users/${author.id}`} class="post-author" id=${`post-${post.id}-by`}><bdi>${author.name}</bdi><//>
      <span class="post-meta">
        <${Link} to=${`/posts/${post.id}`} class="quiet"><${Time} iso=${post.created_at} /><//>
        ${post.edited_at && html`<${Edited} at=${post.edited_at} onHistory=${onHistory} />`}
        <span class="visibility" title=${visibility}><${Icon} name=${VISIBILITY_ICON[post.visibility] ?? 'lock'} /><span class="visually-hidden">${visibility}</span></span>
      </span>
    </div>
    ${children}
  </header>`;
}

function Edited({ at, onHistory }) {
  const words = html`${t('post.edited')} <${Time} iso=${at} />`;
  if (!onHistory) return html`<span data-testid="edited">${words}</span>`;
  return html`<span data-testid="edited"><button type="button" class="quiet-button" title=${t('history.open')} onClick=${onHistory}>${words}</button></span>`;
}

function FoldedText({ post }) {
  const long = post.text.length > LONG_TEXT || post.text.split('\n').length > LONG_LINES;
  const [open, setOpen] = useState(false);
  if (!post.text) return null;
  return html`<${UserText} id=${`post-${post.id}-text`} text=${post.text} tags=${post.tags} mentions=${post.mentions} className=${long && !open ? 'user-text is-folded' : 'user-text'} />
    ${long && html`<button type="button" class="link-button unfold" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>${t(open ? 'post.less' : 'post.more')}</button>`}`;
}

function EditPost({ post, onDone }) {
  const { actions } = useApp();
  const [text, setText] = useState(post.text);
  const [visibility, setVisibility] = useState(post.visibility);
  const box = useRef(null);
  const ready = (text.trim() !== '' || post.media?.length > 0 || post.shared) && length(text) <= POST_LIMIT;
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
    <${TextBox} box=${box} class="boxed" rows=${rows(text, 3)} aria-label=${t('post.editText')} text=${text} onText=${setText} onKeyDown=${onKeyDown} />
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
