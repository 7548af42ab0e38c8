/**
 * Owns: the page's icons, drawn for it on a 24 x 24 grid with one stroke width; and the mark.
 * They are decoration beside or inside a labelled control, hence hidden from assistive technology.
 */

import { html } from '/static/vendor/htm-preact-standalone.module.js';

const STROKES = {
  home: ['M4 11.2 12 4.5l8 6.7', 'M6.2 9.8V19h11.6V9.8', 'M10 19v-4.6h4V19'],
  search: ['M10.8 17.1a6.3 6.3 0 1 0 0-12.6 6.3 6.3 0 0 0 0 12.6Z', 'm15.5 15.5 4.3 4.3'],
  friends: ['M9 11.2a3.4 3.4 0 1 0 0-6.8 3.4 3.4 0 0 0 0 6.8Z', 'M2.8 19.2c.5-3.3 3-5.2 6.2-5.2s5.7 1.9 6.2 5.2', 'M15.6 4.9a3.2 3.2 0 0 1 0 6', 'M17.3 14.4c2.2.7 3.6 2.4 4 4.8'],
  user: ['M12 11.4a3.7 3.7 0 1 0 0-7.4 3.7 3.7 0 0 0 0 7.4Z', 'M4.8 19.8c.6-3.6 3.5-5.8 7.2-5.8s6.6 2.2 7.2 5.8'],
  settings: ['M4 7.5h9.5', 'M18.5 7.5H20', 'M16 10a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z', 'M4 16.5h1.5', 'M10.5 16.5H20', 'M8 19a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z'],
  heart: ['M12 19.6c-4.6-3.2-8-6.2-8-10A4.3 4.3 0 0 1 8.3 5.2c1.6 0 2.9.8 3.7 2.1.8-1.3 2.1-2.1 3.7-2.1A4.3 4.3 0 0 1 20 9.6c0 3.8-3.4 6.8-8 10Z'],
  comment: ['M5.5 5h13A1.5 1.5 0 0 1 20 6.5v8a1.5 1.5 0 0 1-1.5 1.5h-6.3L8 19.5V16H5.5A1.5 1.5 0 0 1 4 14.5v-8A1.5 1.5 0 0 1 5.5 5Z'],
  share: ['M4.5 12.5V18A1.5 1.5 0 0 0 6 19.5h12a1.5 1.5 0 0 0 1.5-1.5v-5.5', 'M12 15V4.5', 'm7.8 8.6 4.2-4.1 4.2 4.1'],
  trend: ['m3.8 16.8 5.7-5.9 3.8 3.6 6.4-6.9', 'M15.2 7.6h4.6v4.6'],
  tag: ['M9.6 4.5 7.9 19.5', 'M16.1 4.5 14.4 19.5', 'M4.8 9.2h15', 'M4.2 14.8h15'],
  undo: ['M8.5 5 4.5 9l4 4', 'M4.8 9h9a5.2 5.2 0 0 1 0 10.4H9'],
  more: ['M5.5 12h.01', 'M12 12h.01', 'M18.5 12h.01'],
  globe: ['M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16Z', 'M4.3 12h15.4', 'M12 4c2.2 2.3 3.3 5 3.3 8s-1.1 5.7-3.3 8c-2.2-2.3-3.3-5-3.3-8s1.1-5.7 3.3-8Z'],
  lock: ['M6.5 10.5h11v8.5h-11z', 'M8.8 10.5V8a3.2 3.2 0 0 1 6.4 0v2.5'],
  check: ['m5 12.6 4.5 4.4L19 7.5'],
  close: ['m6.5 6.5 11 11', 'm17.5 6.5-11 11'],
  plus: ['M12 5.5v13', 'M5.5 12h13'],
  up: ['M12 19V5.5', 'm6 11.3 6-6 6 6'],
  down: ['M12 5v13.5', 'm6 12.7 6 6 6-6'],
  back: ['M19 12H5.5', 'm11.3 6-6 6 6 6'],
  clock: ['M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16Z', 'M12 7.8V12l2.8 2'],
  retry: ['M19 12a7 7 0 1 1-2.2-5.1', 'M19.3 4v4h-4'],
  leave: ['M10.5 5H6v14h4.5', 'M10 12h9.5', 'm16 8.3 3.7 3.7-3.7 3.7'],
  device: ['M5 5.5h14v9.5H5z', 'M2.8 18.5h18.4'],
  alert: ['M12 4.5 20.5 19h-17z', 'M12 10v4', 'M12 16.5v.01'],
  offline: ['M4 4.5 19.5 20', 'M8.7 14.3a4.7 4.7 0 0 1 6 .3', 'M5.5 11a9.3 9.3 0 0 1 3.6-2.2', 'M12.7 8.1c2.2.2 4.2 1.2 5.8 2.9', 'M12 18.3v.01'],
  sun: ['M12 15.8a3.8 3.8 0 1 0 0-7.6 3.8 3.8 0 0 0 0 7.6Z', 'M12 3.2v1.6', 'M12 19.2v1.6', 'M3.2 12h1.6', 'M19.2 12h1.6', 'm5.8 5.8 1.1 1.1', 'm17.1 17.1 1.1 1.1', 'm18.2 5.8-1.1 1.1', 'm6.9 17.1-1.1 1.1'],
  moon: ['M19.5 14.2A7.8 7.8 0 0 1 9.8 4.5a7.8 7.8 0 1 0 9.7 9.7Z'],
  screen: ['M4 5.5h16v10.5H4z', 'M9 19.5h6', 'M12 16v3.5'],
  chevron: ['m7.5 10 4.5 4.5 4.5-4.5'],
  quiet: ['M5 9.8h3.2L12.5 6v12l-4.3-3.8H5z', 'm16 10 4 4', 'm20 10-4 4'],
};

export function Icon({ name, filled = false }) {
  const look = filled ? ' icon-filled' : name === 'more' ? ' icon-dots' : '';
  return html`<svg class=${`icon${look}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    ${STROKES[name].map((path) => html`<path d=${path} />`)}
  </svg>`;
}

/** The mark: one voice and its two ripples. */
export function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <circle class="mark-dot" cx="10" cy="22" r="4.5" />
    <path class="mark-ring" d="M10 11.5A10.5 10.5 0 0 1 20.5 22" />
    <path class="mark-ring mark-far" d="M10 4.5A17.5 17.5 0 0 1 27.5 22" />
  </svg>`;
}
