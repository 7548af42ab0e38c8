/**
 * Owns: the comments of one post while they are open: the live stream `post:{id}` is subscribed for exactly that long.
 */

import { html, useEffect, useRef, useState } from '/static/vendor/htm-preact-standalone.module.js';
import { length } from '/static/ui/format.js';
import { useAction, useApp, useMe, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { undeleted } from '/static/state/deleting.js';
import { Avatar, Button, Link, Menu, More, ProblemNote, SkeletonRows, Time, UserText } from '/static/views/parts.js';
import { Outgoing } from '/static/views/composer.js';
import { useDelete } from '/static/views/deleting.js';
import { onSubmitKeys, Remaining, rows, TextBox } from '/static/views/text-box.js';
import { t } from '/static/strings.js';

const COMMENT_LIMIT = 2000;
const ANNOUNCE_EVERY_MS = 30_000;

export function Thread({ postId }) {
  const { actions } = useApp();
  const thread = useStore((state) => state.threads.get(postId));
  useEffect(() => {
    actions.openThread(postId);
    return () => actions.closeThread(postId);
  }, [postId]);
  const [draft, setDraft] = useState('');
  if (!thread) return null;
  const loading = thread.status === 'loading' || thread.status === 'idle';
  const empty = thread.status === 'ready' && !thread.ids.length && !thread.tail.length;
  return html`<section class="thread" aria-label=${t('comments.label')} aria-busy=${String(loading)} data-testid="thread">
    ${loading && !thread.ids.length && html`<${SkeletonRows} count=${2} />`}
    ${thread.status === 'failed' && html`<${ProblemNote} problem=${thread.problem} inline onRetry=${() => actions.loadThread(postId).catch(() => {})} />`}
    ${empty && html`<p class="hint thread-empty">${t('comments.empty')}</p>`}
    <${CommentList} ids=${thread.ids} />
    <${More} next=${thread.next} more=${thread.more} problem=${thread.problem} label=${t('comments.more')} onMore=${() => actions.moreThread(postId)} />
    <${CommentList} ids=${thread.tail} />
    <${Outgoing} lane=${`post:${postId}`} compact onEdit=${(entry) => setDraft(entry.body.text)} />
    <${TypingLine} postId=${postId} />
    <${CommentForm} postId=${postId} text=${draft} setText=${setDraft} />
  </section>`;
}

function CommentList({ ids }) {
  const deleting = useStore((state) => state.deleting);
  const shown = undeleted(deleting, 'comment', ids);
  if (!shown.length) return null;
  return html`<ol class="comments">${shown.map((id) => html`<${Comment} key=${id} id=${id} />`)}</ol>`;
}

function Comment({ id }) {
  const comment = useStore((state) => state.comments.get(id));
  const author = useStore((state) => state.users.get(state.comments.get(id)?.author.id)) ?? comment?.author;
  const me = useStore((state) => state.session.userId);
  const myPost = useStore((state) => state.posts.get(state.comments.get(id)?.post_id)?.author.id) === me;
  const [mode, setMode] = useState('read'); // read | edit
  const element = useRef(null);
  const back = () => {
    setMode('read');
    requestAnimationFrame(() => element.current?.querySelector('.menu button')?.focus({ preventScroll: true }));
  };
  const remove = useDelete('comment', id, {
    next: () => element.current.closest('.post').querySelector('[data-testid="comments-toggle"]'),
    again: () => document.querySelector(`[data-comment-id="${id}"] button`),
  });
  if (!comment) return null;
  const mine = author.id === me;
  const items = [
    mine && { label: t('comments.edit'), onClick: () => setMode('edit') },
    (mine || myPost) && { label: t('comments.delete'), danger: true, onClick: remove },
  ].filter(Boolean);
  return html`<li class="comment" ref=${element} data-testid="comment" data-comment-id=${id}>
    <${Avatar} user=${author} size="small" />
    <div class="comment-main">
      ${mode === 'edit' ? html`<${EditComment} comment=${comment} onDone=${back} />` : html`<div class="bubble">
        <${Link} to=${`/users/${author.id}`} class="comment-author"><bdi>${author.name}</bdi><//>
        <${UserText} text=${comment.text} tags=${comment.tags} mentions=${comment.mentions} />
      </div>`}
      <span class="comment-meta"><${Time} iso=${comment.created_at} />${comment.edited_at && html`<span>${t('post.edited')} <${Time} iso=${comment.edited_at} /></span>`}</span>
    </div>
    ${items.length > 0 && mode !== 'edit' && html`<${Menu} label=${t('comments.menu')} testid="comment-menu" items=${items} />`}
  </li>`;
}

function EditComment({ comment, onDone }) {
  const { actions } = useApp();
  const [text, setText] = useState(comment.text);
  const box = useRef(null);
  const ready = text.trim() !== '' && length(text) <= COMMENT_LIMIT;
  const [save, busy, problem] = useAction(async () => {
    if (text.trim() !== comment.text) await actions.editComment(comment.id, text.trim());
    onDone();
  });
  useEffect(() => box.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    if (ready) save();
  };
  const onKeyDown = (event) => {
    if (event.key === 'Escape') onDone();
    else onSubmitKeys(submit)(event);
  };
  return html`<form class="edit-form" method="post" onSubmit=${submit} data-testid="edit-comment">
    <${TextBox} box=${box} class="boxed" rows=${rows(text, 2)} aria-label=${t('comments.editText')} text=${text} onText=${setText} onKeyDown=${onKeyDown} />
    <${ProblemNote} problem=${problem} inline />
    <div class="composer-foot">
      <span class="spacer"></span>
      <${Button} kind="soft" onClick=${onDone}>${t('cancel')}<//>
      <${Button} kind="primary" type="submit" busy=${busy} disabled=${!ready}>${t('save')}<//>
    </div>
  </form>`;
}

/**
 * Who is writing. Its line is always there, so that nothing moves; screen readers hear of it through the announcer, not
 * each time somebody pauses for thought.
 */
function TypingLine({ postId }) {
  const { announce, clock } = useApp();
  const writers = useStore((state) => state.typing.get(postId));
  const users = useStore((state) => state.users);
  const text = writers ? typingText([...writers.keys()].map((id) => users.get(id)?.name)) : '';
  const saidAt = useRef(-Infinity);
  useEffect(() => {
    if (!text || clock.now() - saidAt.current < ANNOUNCE_EVERY_MS) return;
    saidAt.current = clock.now();
    announce.say(text);
  }, [text]);
  return html`<p class="typing" aria-hidden="true" data-testid="typing">${text && html`<span class="typing-dots"><span></span><span></span><span></span></span>
    <span class="typing-text" dir="auto">${text}</span>`}</p>`;
}

/** `names` of those who write, undefined for people whom the page does not know. */
function typingText(names) {
  const [name, other] = names.filter(Boolean);
  if (!name) return t('typing.somebody', { n: names.length });
  if (names.length === 1) return t('typing.one', { name });
  if (names.length === 2 && other) return t('typing.two', { name, other });
  return t('typing.more', { name, n: names.length - 1 });
}

function CommentForm({ postId, text, setText }) {
  const { actions } = useApp();
  const me = useMe();
  const box = useRef(null);
  const used = length(text);
  const ready = text.trim() !== '' && used <= COMMENT_LIMIT;
  const submit = (event) => {
    event.preventDefault();
    if (!ready) return;
    actions.submitComment(postId, text.trim());
    setText('');
    box.current.focus();
  };
  const write = (written) => {
    setText(written);
    if (written.trim()) actions.typing(postId);
  };
  return html`<form class="comment-form" method="post" onSubmit=${submit}>
    <${Avatar} user=${me} size="small" />
    <div class="comment-box">
      <${TextBox} box=${box} rows=${rows(text, 1, 8)} text=${text} placeholder=${t('comments.placeholder')} aria-label=${t('comments.text')}
        data-testid="comment-text" onText=${write} onKeyDown=${onSubmitKeys(submit)} />
      <${Remaining} used=${used} limit=${COMMENT_LIMIT} />
      <button type="submit" class="icon-button send" disabled=${!ready} aria-label=${t('comments.send')} title=${t('composer.keys')} data-testid="comment-send"><${Icon} name="up" /></button>
    </div>
  </form>`;
}
