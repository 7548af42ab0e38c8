/**
 * Owns: where this client stands in each stream, and what has to happen so that no item is missed or handled twice.
 * Never does: open sockets, keep timers of its own kind, know what an event means. `live.js` feeds it frames.
 *
 * One record per stream that somebody on the page wants:
 *
 *   phase     meaning                                   items that arrive
 *   waiting   no socket, or not asked yet               (none)
 *   joining   subscribe sent, answer outstanding        dropped: the answer replays from `position`
 *   joined    the server sends every item               handled in order, or held while `stale`
 *   refused   the server said no (gone or forbidden)    (none)
 *
 * `position` is the last item *handled*: what we resume from. `top` is the last item *received*; it runs ahead of
 * `position` only while a re-read by HTTP is under way and items are held behind it. The order matters: a list that was
 * read before an item was committed must not overwrite that item, so items wait for the list, never the reverse.
 */

const SEEN_LIMIT = 2000; // event ids remembered; the same event can arrive on `me` and on `post:{id}`
const GAPS_BEFORE_RELOAD = 3; // a replay that keeps coming back with a hole is not worth a fourth try
const RELOAD_RETRY_S = 30;

export class StreamBook {
  /**
   * `send(message)` puts a frame on the socket; `reload(stream)` re-reads state by HTTP and resolves when it is applied;
   * `onEvent(stream, event)` handles one item; `onRefused(stream, code)` learns that a stream is not to be had.
   */
  constructor({ send, reload, onEvent, onRefused, clock, random }) {
    Object.assign(this, { send, reload, onEvent, onRefused, clock, random });
    this.records = new Map();
    this.requests = new Map(); // request id -> record
    this.seen = new Set();
    this.lastRequest = 0;
  }

  /** Starts to want a stream; `position` when its state was read together with one. */
  add(stream, position = null) {
    if (this.records.has(stream)) return;
    this.records.set(stream, {
      stream, position, top: position?.offset ?? 0, phase: 'waiting', stale: false, loading: false, again: false, held: [], gaps: 0,
    });
  }

  remove(stream) {
    const record = this.records.get(stream);
    if (!record) return;
    this.records.delete(stream);
    if (record.phase === 'joined' || record.phase === 'joining') {
      this.send({ type: 'unsubscribe', id: this.nextId(), stream });
    }
  }

  /** The `resume` part of hello: every stream whose position we know. */
  resume() {
    const resume = {};
    for (const record of this.records.values()) {
      if (record.position) {
        resume[record.stream] = { ...record.position };
        record.phase = 'joining';
      }
    }
    return resume;
  }

  /** The answer to hello. A stream that we named and that is missing from it was refused. */
  welcomed(answers) {
    for (const record of [...this.records.values()]) {
      const answer = answers[record.stream];
      if (answer) this.join(record, answer);
      else if (record.phase === 'joining') this.refuse(record, 'forbidden_or_missing');
      else this.subscribe(record);
    }
  }

  subscribe(record) {
    record.phase = 'joining';
    record.held = [];
    record.top = record.position?.offset ?? 0;
    const id = this.nextId();
    this.requests.set(id, record); // the record, not its name: an answer to a subscription given up meanwhile is void
    const message = { type: 'subscribe', id, stream: record.stream };
    if (record.position) message.from = { ...record.position };
    this.send(message);
  }

  subscribeLate(stream) {
    const record = this.records.get(stream);
    if (record?.phase === 'waiting') this.subscribe(record);
  }

  subscribed(message) {
    const record = this.requests.get(message.id);
    this.requests.delete(message.id);
    if (record?.phase === 'joining' && this.records.get(message.stream) === record) this.join(record, message);
  }

  /** An error that answers one of our requests; -> true when it was ours. */
  failed(message) {
    const record = this.requests.get(message.id);
    this.requests.delete(message.id);
    if (record?.phase !== 'joining' || this.records.get(record.stream) !== record) return false;
    if (message.code === 'rate_limited') {
      record.phase = 'waiting';
      this.clock.setTimeout(() => this.subscribeLate(record.stream), 1000 + this.random() * 2000);
    } else {
      this.refuse(record, message.code);
    }
    return true;
  }

  /** One numbered item. */
  event(message) {
    const record = this.records.get(message.stream);
    if (!record || record.phase !== 'joined' || message.offset <= record.top) return;
    if (message.offset > record.top + 1) return this.mend(record);
    record.top = message.offset;
    if (record.stale) record.held.push(message);
    else this.handle(record, message);
  }

  /** Items offset..to exist but are nothing for this viewer. */
  skip(message) {
    const record = this.records.get(message.stream);
    if (!record || record.phase !== 'joined' || message.to <= record.top) return;
    if (message.offset > record.top + 1) return this.mend(record);
    record.top = message.to;
    if (record.stale) record.held.push({ offset: message.to, event: null });
    else record.position.offset = message.to;
  }

  /** The server's checked positions: it sends a ping behind all earlier items, so one that is ahead of us means a loss. */
  ping(positions) {
    for (const [stream, offset] of Object.entries(positions ?? {})) {
      const record = this.records.get(stream);
      if (record?.phase === 'joined' && offset > record.top) this.mend(record);
    }
  }

  resync(message) {
    const record = this.records.get(message.stream);
    if (!record) return;
    record.phase = 'joined';
    this.restartFrom(record, message);
  }

  /** The socket is gone; held items go with it and come back in the replay. */
  disconnected() {
    this.requests.clear();
    for (const record of this.records.values()) {
      if (record.phase !== 'refused') record.phase = 'waiting';
      record.held = [];
      record.top = record.position?.offset ?? 0;
    }
  }

  /** name -> offset handled so far, for pong and ack. */
  offsets() {
    const offsets = {};
    for (const record of this.records.values()) {
      if (record.phase === 'joined' && record.position) offsets[record.stream] = record.position.offset;
    }
    return offsets;
  }

  // -- inside --

  join(record, answer) {
    record.phase = 'joined';
    if (answer.recovered && record.position) {
      record.top = record.position.offset;
      if (record.stale) this.load(record);
    } else {
      this.restartFrom(record, answer);
    }
  }

  restartFrom(record, { epoch, offset }) {
    record.position = { epoch, offset };
    record.top = offset;
    record.held = [];
    record.stale = true;
    this.load(record);
  }

  /** A hole, or a ping ahead of us: ask again from the last item handled. */
  mend(record) {
    record.gaps += 1;
    if (record.gaps > GAPS_BEFORE_RELOAD) {
      record.gaps = 0;
      record.position = null; // joining without a position makes the answer a fresh start
    }
    this.subscribe(record);
  }

  refuse(record, code) {
    record.phase = 'refused';
    this.onRefused(record.stream, code);
  }

  /** Re-reads run one after the other: an older answer must never land on top of a newer one. */
  async load(record, attempt = 0) {
    if (record.loading) {
      record.again = true;
      return;
    }
    record.loading = true;
    record.again = false;
    let failed = false;
    try {
      await this.reload(record.stream);
    } catch {
      failed = true;
    }
    record.loading = false;
    if (this.records.get(record.stream) !== record) return;
    if (record.phase !== 'joined') return; // still stale: the next join loads again
    if (record.again) this.load(record);
    else if (failed) this.clock.setTimeout(() => this.retry(record, attempt), jitter(this.random, attempt, RELOAD_RETRY_S) * 1000);
    else this.release(record);
  }

  retry(record, attempt) {
    if (this.records.get(record.stream) === record && record.stale && record.phase === 'joined') this.load(record, attempt + 1);
  }

  release(record) {
    record.stale = false;
    const held = record.held;
    record.held = [];
    for (const message of held) this.handle(record, message);
  }

  handle(record, message) {
    if (record.position) record.position.offset = message.offset;
    record.gaps = 0;
    if (message.event === null || this.seen.has(message.id)) return;
    this.seen.add(message.id);
    if (this.seen.size > SEEN_LIMIT) this.seen.delete(this.seen.values().next().value);
    this.onEvent(record.stream, message);
  }

  nextId() {
    this.lastRequest += 1;
    return String(this.lastRequest);
  }
}

/** Full jitter: anywhere between at once and 0.5 s x 2^attempt, `most` seconds at most. */
export function jitter(random, attempt, most = 30) {
  return random() * Math.min(most, 0.5 * 2 ** Math.min(attempt, 16));
}
