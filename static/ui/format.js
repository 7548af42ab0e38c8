/**
 * Owns: numbers, dates, lengths and initials as the reader's locale writes them.
 * Never does: keep sentences (strings.js).
 */

import { locale, t } from '/static/strings.js';

const compact = new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 1 });
const plain = new Intl.NumberFormat(locale);
const full = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'short' });
const day = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short' });
const dayAndYear = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', year: 'numeric' });
const clockTime = new Intl.DateTimeFormat(locale, { timeStyle: 'short' });
const dayAndTime = new Intl.DateTimeFormat(locale, { weekday: 'short', hour: 'numeric', minute: '2-digit' });
const series = new Intl.ListFormat(locale, { type: 'unit', style: 'short' });
const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'narrow' });
const segments = new Intl.Segmenter(locale, { granularity: 'grapheme' });

export const number = (value) => plain.format(value);
export const shortNumber = (value) => compact.format(value);
export const fullTime = (iso) => full.format(new Date(iso));

export const listed = (parts) => series.format(parts);

/** "14:00"; of another day than `now` (ms) "Fri 14:00". */
export function hourOf(iso, now) {
  const then = new Date(iso);
  return (then.toDateString() === new Date(now).toDateString() ? clockTime : dayAndTime).format(then);
}

/** "now", "5 min ago", "yesterday", "3 Nov", "3 Nov 2025". `now` in ms. */
export function relativeTime(iso, now) {
  const then = new Date(iso);
  const seconds = (now - then.getTime()) / 1000;
  if (!Number.isFinite(seconds)) return '';
  if (seconds < 45) return t('time.now'); // a clock that runs behind the server's lands here too
  if (seconds < 3600) return relative.format(-Math.max(1, Math.round(seconds / 60)), 'minute');
  if (seconds < 86_400) return relative.format(-Math.round(seconds / 3600), 'hour');
  if (seconds < 6 * 86_400) return relative.format(-Math.round(seconds / 86_400), 'day');
  return (then.getFullYear() === new Date(now).getFullYear() ? day : dayAndYear).format(then);
}

/** Length as the server counts it: code points after NFC. */
export function length(text) {
  return [...text.normalize('NFC')].length;
}

/** First letters of the first and last word; whole graphemes, so that no accent or emoji is cut in two. */
export function initials(name) {
  const all = name.trim().split(/\s+/u).filter(Boolean);
  const named = all.filter((word) => /^[\p{L}\p{N}]/u.test(word)); // not the bracket of “Theo (bot)”
  const words = named.length ? named : all;
  const picked = words.length > 1 ? [words[0], words.at(-1)] : words;
  return picked.map((word) => segments.segment(word)[Symbol.iterator]().next().value.segment).join('').toLocaleUpperCase(locale);
}

/** One of the avatar colour classes; a multiplicative hash, so that neighbouring ids do not look alike. */
export function hue(id) {
  return `hue-${Math.floor((Number(id) * 0.6180339887498949 % 1) * 12)}`;
}
