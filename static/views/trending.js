/**
 * Owns: what many people look at just now, and why: in the third column of wide screens, on the home page elsewhere.
 */

import { html, useEffect } from '/static/vendor/htm-preact-standalone.module.js';
import { hourOf, listed, number } from '/static/ui/format.js';
import { useApp, useStore } from '/static/ui/hooks.js';
import { Icon } from '/static/ui/icons.js';
import { Avatar, Empty, Link, ProblemNote, SkeletonRows, tagPath } from '/static/views/parts.js';
import { t } from '/static/strings.js';

const KINDS = ['likes', 'comments', 'shares'];

/** `most` posts and tags are shown; `page`: it fills a page, not a card. */
export function Trending({ most = Infinity, page = false }) {
  const { actions, clock } = useApp();
  const { status, items, tags, refreshedAt, problem } = useStore((state) => state.trending);
  const deleting = useStore((state) => state.deleting);
  useEffect(() => {
    actions.openTrending();
    return actions.closeTrending;
  }, []);
  const shown = items.filter(({ id }) => !deleting.has(`post:${id}`)).slice(0, most);
  const empty = status === 'ready' && !shown.length && !tags.length;
  const retry = () => actions.loadTrending().catch(() => {});
  return html`<div class="trending" data-testid="trending">
    ${(status === 'idle' || status === 'loading') && html`<${SkeletonRows} count=${3} />`}
    ${status === 'failed' && html`<${ProblemNote} problem=${problem} inline onRetry=${retry} />`}
    ${empty && page && html`<${Empty} icon="trend" title=${t('trending.emptyTitle')}><p>${t('trending.emptyText')}</p><//>`}
    ${empty && !page && html`<p class="hint">${t('trending.emptyText')}</p>`}
    ${tags.length > 0 && html`<ul class="tags" aria-label=${t('trending.tags')}>
      ${tags.slice(0, most).map(({ tag, because }) => html`<li key=${tag}><${Link} to=${tagPath(tag)} class="tag" title=${reason(because, clock.now())}><bdi>#${tag}</bdi><//></li>`)}
    </ul>`}
    ${shown.length > 0 && html`<ol class="trends" aria-label=${t('trending.posts')}>
      ${shown.map(({ id, trend }) => html`<${Trend} key=${id} id=${id} trend=${trend} />`)}
    </ol>`}
    ${refreshedAt && !empty && html`<p class="hint">${t('trending.asOf', { time: hourOf(refreshedAt, clock.now()) })}</p>`}
  </div>`;
}

function Trend({ id, trend }) {
  const { clock } = useApp();
  const post = useStore((state) => state.posts.get(id));
  const author = useStore((state) => state.users.get(state.posts.get(id)?.author.id)) ?? post?.author;
  if (!post) return null;
  return html`<li class="trend" data-testid="trend" data-post-id=${id}>
    <div class="trend-by"><${Avatar} user=${author} size="small" /><${Link} to=${`/users/${author.id}`} class="person-name"><bdi>${author.name}</bdi><//></div>
    <${Link} to=${`/posts/${id}`} class="trend-text"><span dir="auto">${post.text || t('trending.noText')}</span><//>
    <details class="why">
      <summary><span>${reason(trend.because, clock.now())}</span><${Icon} name="chevron" /></summary>
      <${Because} because=${trend.because} score=${trend.score} />
    </details>
  </li>`;
}

/** Every term of the score: the points add up to it. */
function Because({ because, score }) {
  const { clock } = useApp();
  return html`<table class="because">
    <thead><tr><th scope="col">${t('because.hour')}</th><th scope="col">${t('because.what')}</th><th scope="col" class="figure">${t('because.points')}</th></tr></thead>
    <tbody>${because.map(({ kind, hour, people, points }) => html`<tr key=${`${kind} ${hour}`}>
      <td>${hourOf(hour, clock.now())}</td><td>${t(`because.${kind}.first`, { n: people, count: number(people) })}</td><td class="figure">${number(rounded(points))}</td>
    </tr>`)}</tbody>
    <tfoot><tr><th scope="row" colspan="2">${t('because.score')}</th><td class="figure">${number(rounded(score))}</td></tr></tfoot>
  </table>`;
}

const rounded = (points) => Math.round(points * 100) / 100;

/** "12 people liked, 3 commented, most at 14:00": who did what in all hours, and the hour that counted most. */
function reason(because, now) {
  const did = KINDS.map((kind) => ({ kind, n: sum(because.filter((one) => one.kind === kind), 'people') })).filter(({ n }) => n);
  if (!did.length) return '';
  const what = listed(did.map(({ kind, n }, index) => t(`because.${kind}.${index ? 'next' : 'first'}`, { n, count: number(n) })));
  const points = new Map();
  for (const one of because) points.set(one.hour, (points.get(one.hour) ?? 0) + one.points);
  const [hour] = [...points].reduce((best, one) => (one[1] > best[1] ? one : best));
  return points.size > 1 ? t('because.most', { what, time: hourOf(hour, now) }) : t('because.at', { what, time: hourOf(hour, now) });
}

function sum(terms, field) {
  return terms.reduce((total, one) => total + one[field], 0);
}
