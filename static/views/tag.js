/**
 * Owns: the page of one tag: the posts with it that the viewer may see, newest first.
 */

import { html } from '/static/vendor/htm-preact-standalone.module.js';
import { Icon } from '/static/ui/icons.js';
import { withQuery } from '/static/api.js';
import { PostList } from '/static/views/feed-list.js';
import { Empty, Link } from '/static/views/parts.js';
import { t } from '/static/strings.js';

export function TagPage({ id: tag }) {
  const empty = html`<${Empty} icon="tag" title=${t('tag.emptyTitle', { tag })}><p>${t('tag.emptyText', { tag })}</p><//>`;
  return html`
    <h1 class="page-title with-back" tabindex="-1"><${Link} to="/" class="icon-button" aria-label=${t('post.backHome')}><${Icon} name="back" /><//><bdi>#${tag}</bdi></h1>
    <${PostList} address=${withQuery('/posts', { tag })} label=${t('tag.label', { tag })} empty=${empty} />`;
}
