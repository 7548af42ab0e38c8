/**
 * Owns: one post on its own page, its comments open.
 */

import { html, useEffect } from '/static/vendor/htm-preact-standalone.module.js';
import { useAction, useApp, useStore } from '/static/ui/hooks.js';
import { PostBody } from '/static/views/post.js';
import { Link, ProblemNote, SkeletonPosts } from '/static/views/parts.js';
import { NotAvailable } from '/static/views/profile.js';
import { Icon } from '/static/ui/icons.js';
import { t } from '/static/strings.js';

export function PostPage({ id }) {
  const { actions } = useApp();
  const known = useStore((state) => state.posts.has(id));
  const [load, loading, problem] = useAction(() => actions.loadPost(id));
  useEffect(() => { load(); }, [id]);
  if (problem?.status === 404 || (!known && !loading && !problem)) return html`<${NotAvailable} />`;
  return html`
    <h1 class="page-title with-back" tabindex="-1"><${Link} to="/" class="icon-button" aria-label=${t('post.backHome')}><${Icon} name="back" /><//>${t('post.title')}</h1>
    ${!known && (problem ? html`<${ProblemNote} problem=${problem} onRetry=${load} />` : html`<${SkeletonPosts} count=${1} />`)}
    ${known && html`<article class="card post" aria-labelledby=${`post-${id}-by`} data-testid="post" data-post-id=${id}>
      <${PostBody} id=${id} threadOpen />
    </article>`}`;
}
