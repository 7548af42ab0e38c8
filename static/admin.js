/**
 * Owns: the operators' page: asks for the figures of days and draws them.
 * Never does: keep anything, or reach beyond /api/v1/admin/analytics.
 */

const DAY_MS = 86_400_000;
const HEIGHT = 176; // px, as .plot svg in admin.css
const PAD = { top: 10, right: 8, bottom: 22, left: 44 }; // px around the plot, for its axes
const BARS_UP_TO = 31; // days; more of them are too thin to point at, and become a line
const LABEL_PX = 64; // px that a date under the axis needs

const PLOTS = [
  { title: 'Active people', unit: 'count', series: [{ name: 'daily_active_users', label: 'people' }] },
  { title: 'Sign-ups', unit: 'count', bars: true, series: [{ name: 'sign_ups', label: 'new accounts' }] },
  { title: 'Friendships', unit: 'count', bars: true, series: [{ name: 'friendships', label: 'made' }] },
  { title: 'Posts', unit: 'count', bars: true, series: [{ name: 'posts', label: 'posts' }] },
  { title: 'Comments', unit: 'count', bars: true, series: [{ name: 'comments', label: 'comments' }] },
  { title: 'Likes', unit: 'count', bars: true, series: [{ name: 'likes', label: 'likes' }] },
  { title: 'Shares', unit: 'count', bars: true, series: [{ name: 'shares', label: 'shares' }] },
  { title: 'Deliveries', unit: 'count', series: [{ name: 'deliveries', label: 'items to connections' }] },
  {
    title: 'Commit to frame',
    unit: 'seconds',
    series: [
      { name: 'commit_to_frame_p50_seconds', label: 'p50' },
      { name: 'commit_to_frame_p99_seconds', label: 'p99' },
    ],
  },
];

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const dayShort = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', timeZone: 'UTC' });
const dayFull = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });

const UNITS = {
  count: { full: (value) => whole.format(value), tick: (value) => short.format(value), least: 1 },
  seconds: { full: seconds, tick: seconds, least: 0.001 },
};

function seconds(value) {
  return value < 1 ? `${fine.format(value * 1000)} ms` : `${fine.format(value)} s`;
}

/** Round numbers from 0 to at least `most`: up to four steps of 1, 2 or 5 times a power of ten, none below `least`. */
export function ticks(most, least) {
  const wanted = Math.max(most, least) / 4;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = Math.max(least, power * [1, 2, 5, 10].find((factor) => factor * power >= wanted * 0.999));
  const found = [0];
  while (found.at(-1) < most || found.length < 2) found.push(found.length * step);
  return found;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes, text = '') {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

/** One card: the figures of the day that is pointed at, the plot, and the same as a table. */
class Plot {
  constructor({ title, unit, bars = false, series }, days) {
    this.unit = UNITS[unit];
    this.series = series;
    this.days = days;
    this.title = title;
    this.bars = bars && days.length <= BARS_UP_TO;
    this.values = series.map(({ name }) => days.map((day) => day.figures[name] ?? null));
    this.newest = days.findLastIndex((_, at) => this.values.some((values) => values[at] !== null));
    this.at = null;
    this.day = element('span', { class: 'plot-day' });
    this.shown = element('div', { class: 'plot-values', 'aria-live': 'polite' });
    this.svg = shape('svg', { tabindex: 0, role: 'application', 'aria-label': `${title}, a plot. Left and right arrows move from day to day.` });
    this.card = element('section', { class: 'plot card', 'aria-label': title },
      element('div', { class: 'plot-head' }, element('h2', {}, title), this.day), this.shown, this.svg, this.table());
    this.listen();
    this.point(null);
  }

  get width() { return Math.max(160, this.svg.clientWidth); }
  get inner() { return this.width - PAD.left - PAD.right; }

  x(at) {
    const count = this.days.length;
    if (this.bars) return PAD.left + (this.inner * (at + 0.5)) / count;
    return count === 1 ? PAD.left + this.inner / 2 : PAD.left + (this.inner * at) / (count - 1);
  }

  y(value) { return HEIGHT - PAD.bottom - ((HEIGHT - PAD.top - PAD.bottom) * value) / this.top; }

  draw() {
    const steps = ticks(Math.max(0, ...this.values.flat()), this.unit.least);
    this.top = steps.at(-1);
    const parts = [];
    for (const step of steps) {
      const y = this.y(step);
      parts.push(shape('line', { class: step ? 'plot-grid' : 'plot-base', x1: PAD.left, x2: this.width - PAD.right, y1: y, y2: y }));
      parts.push(shape('text', { x: PAD.left - 6, y: y + 4, 'text-anchor': 'end' }, this.unit.tick(step)));
    }
    parts.push(...this.dates());
    this.values.forEach((values, index) => parts.push(...(this.bars ? this.columns(values, index) : this.lines(values, index))));
    this.marks = shape('g', {});
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${HEIGHT}`);
    this.svg.replaceChildren(...parts, this.marks);
    this.point(this.at);
  }

  /** Dates under the axis, as many as fit, counted back from the last day. */
  dates() {
    const every = Math.max(1, Math.ceil(this.days.length / Math.max(1, Math.floor(this.inner / LABEL_PX))));
    const found = [];
    for (let at = this.days.length - 1; at >= 0; at -= every) {
      const x = this.x(at);
      const edge = x > this.width - PAD.right - LABEL_PX / 3 ? 'end' : x < PAD.left + LABEL_PX / 4 ? 'start' : 'middle';
      const place = edge === 'end' ? this.width : edge === 'start' ? PAD.left : x;
      found.push(shape('text', { x: place, y: HEIGHT - 5, 'text-anchor': edge }, dayShort.format(this.days[at].moment)));
    }
    return found;
  }

  columns(values, index) {
    const width = Math.max(2, Math.min(28, (this.inner / this.days.length) * 0.7));
    return values.flatMap((value, at) => (value ? [shape('rect', {
      class: `plot-bar series-${index}`, x: this.x(at) - width / 2, y: this.y(value), width, height: this.y(0) - this.y(value), rx: Math.min(3, width / 3),
    })] : []));
  }

  /** A line per run of days that have a figure: what was not counted is a gap, not a zero. */
  lines(values, index) {
    const runs = [];
    values.forEach((value, at) => {
      if (value === null) return;
      if (at === 0 || values[at - 1] === null) runs.push([]);
      runs.at(-1).push([this.x(at), this.y(value)]);
    });
    return runs.flatMap((run) => {
      if (run.length === 1) return [shape('circle', { class: `plot-dot series-${index}`, cx: run[0][0], cy: run[0][1], r: 3 })];
      const path = run.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join('L');
      const line = shape('path', { class: `plot-line series-${index}`, d: `M${path}` });
      const area = shape('path', { class: `plot-area series-${index}`, d: `M${path}L${run.at(-1)[0]},${this.y(0)}L${run[0][0]},${this.y(0)}Z` });
      return this.series.length === 1 ? [area, line] : [line];
    });
  }

  listen() {
    const nearest = (event) => {
      const x = event.clientX - this.svg.getBoundingClientRect().left;
      const distances = this.days.map((_, at) => Math.abs(this.x(at) - x));
      this.point(distances.indexOf(Math.min(...distances)));
    };
    this.svg.addEventListener('pointermove', nearest);
    this.svg.addEventListener('pointerdown', nearest);
    this.svg.addEventListener('pointerleave', () => this.point(null));
    this.svg.addEventListener('focus', () => this.point(this.at ?? this.newest));
    this.svg.addEventListener('blur', () => this.point(null));
    this.svg.addEventListener('keydown', (event) => {
      const last = this.days.length - 1;
      const to = { ArrowLeft: (this.at ?? last) - 1, ArrowRight: (this.at ?? last) + 1, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.point(Math.min(last, Math.max(0, to)));
    });
  }

  /** Shows the figures of a day; null = the newest day that has some, without a mark. */
  point(at) {
    this.at = at;
    const shown = at ?? this.newest;
    this.day.textContent = shown < 0 ? 'Nothing counted yet' : dayFull.format(this.days[shown].moment);
    this.shown.replaceChildren(...this.series.map(({ label }, index) => {
      const value = this.values[index][shown] ?? null;
      return element('span', { class: `plot-value series-${index}` },
        element('b', {}, value === null ? '–' : this.unit.full(value)), element('span', { class: 'plot-key' }, label));
    }));
    if (!this.marks) return;
    const marks = [];
    if (at !== null) {
      const x = this.x(at);
      marks.push(shape('line', { class: 'plot-cursor', x1: x, x2: x, y1: PAD.top, y2: HEIGHT - PAD.bottom }));
      this.values.forEach((values, index) => {
        if (values[at] !== null) marks.push(shape('circle', { class: `plot-mark series-${index}`, cx: x, cy: this.y(values[at]), r: 5 }));
      });
    }
    this.marks.replaceChildren(...marks);
  }

  table() {
    const head = element('tr', {}, element('th', { scope: 'col' }, 'Day'), ...this.series.map(({ label }) => element('th', { scope: 'col' }, label)));
    const rows = this.days.map((day, at) => element('tr', {}, element('th', { scope: 'row' }, day.day),
      ...this.values.map((values) => element('td', {}, values[at] === null ? '–' : this.unit.full(values[at])))));
    const table = element('table', {}, element('caption', { class: 'visually-hidden' }, this.title),
      element('thead', {}, head), element('tbody', {}, ...rows.reverse()));
    return element('details', {}, element('summary', {}, 'As a table'), element('div', { class: 'plot-table', tabindex: 0, role: 'region', 'aria-label': `${this.title}, as a table` }, table));
  }
}

const place = document.getElementById('plots');
const status = document.getElementById('status');
let plots = [];
let wanted = 0; // the newest request; answers to older ones are ignored

function say(words, retry) {
  status.replaceChildren(...[words].flat());
  if (retry) {
    const button = element('button', { class: 'link-button', type: 'button' }, 'Try again');
    button.addEventListener('click', retry);
    status.append(' ', button);
  }
}

async function show(count) {
  const mine = ++wanted;
  const iso = (moment) => new Date(moment).toISOString().slice(0, 10);
  const last = Date.now() - DAY_MS;
  say('Loading…');
  try {
    const answer = await fetch(`/api/v1/admin/analytics?from=${iso(last - (count - 1) * DAY_MS)}&to=${iso(last)}`);
    const body = await answer.json();
    if (mine !== wanted) return;
    if (!answer.ok) throw new Error(body.detail);
    const days = body.days.map((day) => ({ ...day, moment: new Date(`${day.day}T00:00:00Z`) }));
    plots = PLOTS.map((plot) => new Plot(plot, days));
    place.replaceChildren(...plots.map((plot) => plot.card));
    plots.forEach((plot) => plot.draw());
    const counted = days.filter((day) => Object.keys(day.figures).length).length;
    const others = [`${counted} of ${days.length} days are counted; `, element('code', {}, 'social analytics --from … --to …'), ' counts others.'];
    say(counted === days.length ? '' : others);
  } catch (error) {
    if (mine === wanted) say(`The figures cannot be had: ${error.message}`, () => show(count));
  }
}

for (const input of document.querySelectorAll('input[name="range"]')) {
  input.addEventListener('change', () => show(Number(input.value)));
}
new ResizeObserver(() => plots.forEach((plot) => plot.draw())).observe(place);
show(Number(document.querySelector('input[name="range"]:checked').value));
