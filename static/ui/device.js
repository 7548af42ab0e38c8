/**
 * Owns: a readable name for a session's device.
 * The user agent is only a hint and may be anything; it is shown as text and never trusted.
 */

import { t } from '/static/strings.js';

const BROWSERS = [[/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'], [/Chrom(e|ium)\//, 'Chrome'], [/Safari\//, 'Safari']];
const SYSTEMS = [[/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'], [/Mac OS X|Macintosh/, 'macOS'], [/CrOS/, 'ChromeOS'], [/Linux/, 'Linux']];

/** "Firefox on Linux", else the start of what the client called itself. */
export function device(session) {
  const agent = session.device ?? '';
  const browser = BROWSERS.find(([pattern]) => pattern.test(agent))?.[1];
  const system = SYSTEMS.find(([pattern]) => pattern.test(agent))?.[1];
  if (browser && system) return t('settings.deviceOn', { browser, system });
  return browser || agent.slice(0, 40) || t('settings.deviceUnknown');
}
