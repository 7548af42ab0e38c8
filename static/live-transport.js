/**
 * Owns: which way the live connection takes: the websocket, or server-sent events where something between the page and
 * the server refuses or swallows the upgrade.
 * Never does: wait, come back, read messages: live.js asks for a socket and tells how it went.
 *
 *   way         leaves when                                                to
 *   websocket   two tries in a row had no welcome although HTTP works      events
 *   events      the same, or the next connection is due 10 min later       websocket (one such try leads back)
 *
 * That HTTP works is asked for after every failed try: a server that is away is no reason to change the way.
 */

const TRIES = 2;
const OPEN_MS = 1_500; // a swallowed upgrade looks like a slow one; two of them end before the page calls itself offline
const LATER_OPEN_MS = 10_000; // where a websocket has worked, a slow upgrade is more likely a busy server
const RETURN_MS = 10 * 60_000; // people carry their computers to other networks
const KEY = 'social.live.events'; // until when events are taken without trying the websocket, in ms since 1970

/** `ways`: {websocket, events}, each makes a socket; `probe()` -> does HTTP work; `storage` is the Storage of this tab. */
export class Transport {
  constructor({ ways, probe, clock, storage }) {
    Object.assign(this, { ways, probe, clock, storage });
    this.until = Number(storage.getItem(KEY)) || 0;
    this.way = this.until > clock.now() ? 'events' : 'websocket';
    this.failures = 0;
    this.welcomes = 0;
    this.proven = false; // a websocket has worked on this page
  }

  open() {
    if (this.way === 'events' && this.until && this.clock.now() > this.until) this.take('websocket', TRIES - 1);
    return this.ways[this.way]();
  }

  /** How long live.js waits for the socket to open, in ms. */
  get openWithin() {
    return this.way === 'websocket' && !this.proven ? OPEN_MS : LATER_OPEN_MS;
  }

  welcomed() {
    this.failures = 0;
    this.welcomes += 1;
    if (this.way === 'websocket') {
      this.proven = true;
    } else if (this.until <= this.clock.now()) {
      this.until = this.clock.now() + RETURN_MS;
      this.storage.setItem(KEY, String(this.until));
    }
  }

  /** A socket ended before its welcome. */
  async failed() {
    const { way, welcomes } = this;
    const works = await this.probe();
    if (way !== this.way || welcomes !== this.welcomes) return; // an old story by now
    this.failures = works ? this.failures + 1 : 0;
    if (this.failures >= TRIES) this.take(way === 'websocket' ? 'events' : 'websocket');
  }

  take(way, failures = 0) {
    Object.assign(this, { way, failures, until: 0 });
    this.storage.removeItem(KEY);
  }
}
