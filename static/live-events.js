/**
 * Owns: the live protocol over server-sent events, `GET /api/v1/live/events`, behind the part of the WebSocket
 * interface that live.js uses. Read with fetch, not EventSource: only so can this page say where it stands.
 * Never does: back off, come back by itself, keep a word between two connections of live.js.
 *
 *   live.js says       here
 *   hello              the first connection, from the positions of `resume`
 *   subscribe, watch   soon another connection; the present one goes on until the new one has its welcome
 *   unsubscribe        the next connection leaves the stream out
 *   typing             POST /live/typing
 *   pong, ack          nothing: there is no way back, the server sees whether its bytes are taken
 *
 *   the server answers      live.js hears
 *   messages                the same messages; a later welcome as `subscribed`, `error`, and `resync` where there is a gap
 *   401                     close 4500
 *   403                     close 4501 (account disabled) or 4502
 *   503                     `bye` with its Retry-After, close 1013
 *   an end after `bye`      close with its code
 *   anything else           close 1006
 */

import { EventStreamParser } from '/static/event-stream.js';

const ADDRESS = '/api/v1/live/events';
const JOIN_MS = 50; // several subscriptions of one moment are one connection
const WATCH_MS = 750; // scrolling goes on; counts may be a little late
const WELCOME_MS = 10_000; // as long as live.js waits for the first welcome
const WATCH_LIMIT = 100; // posts on screen and just before: scrolling back needs no new connection

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 3;

export class EventSocket {
  /** `type(postId)` tells the server that the reader is writing; `clock` as in live.js. */
  constructor({ fetch, clock, type }) {
    Object.assign(this, { fetch, clock, type });
    this.onopen = this.onmessage = this.onclose = null;
    this.readyState = CONNECTING;
    this.places = new Map([['me', null]]); // wanted stream -> "<epoch>:<offset>" of the last item that came, or null
    this.asked = new Map(); // stream -> id of the subscribe that has no answer yet
    this.watched = []; // posts, latest first
    this.user = null;
    this.current = null; // the connection that is read
    this.opening = null; // the one that will take its place
    this.plan = null; // {timer, at} of the next renewal
    queueMicrotask(() => this.ready());
  }

  ready() {
    if (this.readyState !== CONNECTING) return;
    this.readyState = OPEN; // it takes messages; whether the server is there shows after hello
    this.onopen?.();
  }

  send(text) {
    const message = JSON.parse(text);
    SENT.get(message.type)?.(this, message);
  }

  /** Ends it from this side; unlike a WebSocket it does not call `onclose` then, which nobody waits for. */
  close() {
    this.readyState = CLOSED;
    this.forgetPlan();
    for (const connection of [this.current, this.opening]) this.cut(connection);
    this.current = this.opening = null;
  }

  // -- what live.js says --

  hello({ resume }) {
    for (const [stream, at] of Object.entries(resume ?? {})) this.places.set(stream, place(at));
    this.renew();
  }

  subscribe({ id, stream, from }) {
    this.places.set(stream, from ? place(from) : null);
    this.asked.set(stream, id);
    this.renewWithin(JOIN_MS);
  }

  unsubscribe({ stream }) {
    this.places.delete(stream);
    this.asked.delete(stream);
  }

  watch({ posts }) {
    this.watched = [...new Set([...posts, ...this.watched])].slice(0, WATCH_LIMIT);
    const told = (this.opening ?? this.current)?.watched;
    if (!posts.every((post) => told?.has(post))) this.renewWithin(WATCH_MS);
  }

  // -- connections --

  renewWithin(ms) {
    const at = this.clock.now() + ms;
    if (this.plan && this.plan.at <= at) return;
    this.forgetPlan();
    this.plan = { at, timer: this.clock.setTimeout(() => this.renew(), ms) };
  }

  forgetPlan() {
    if (this.plan) this.clock.clearTimeout(this.plan.timer);
    this.plan = null;
  }

  async renew() {
    this.forgetPlan();
    this.cut(this.opening);
    const abort = new AbortController();
    const connection = {
      abort, // what it asked for is noted with it: live.js may want something else by the time of the welcome
      streams: [...this.places.keys()],
      asked: new Map(this.asked),
      watched: new Set(this.watched),
      deadline: this.clock.setTimeout(() => abort.abort(), WELCOME_MS),
      bye: null,
    };
    this.opening = connection;
    let code = 1006;
    try {
      code = await this.follow(connection);
    } catch {
      // Network gone, cut by the deadline, or not an event stream after all: as good as a lost socket.
    }
    this.ended(connection, code);
  }

  cut(connection) {
    if (!connection) return;
    this.clock.clearTimeout(connection.deadline);
    connection.abort.abort();
  }

  /** Reads a connection to its end. -> the close code */
  async follow(connection) {
    const response = await this.fetch(this.address(connection), {
      headers: this.headers(),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: connection.abort.signal,
    });
    if (!response.ok) return this.refusal(response);
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) return 1006;
    const parser = new EventStreamParser();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const event of parser.push(value)) {
        if (this.holds(connection)) this.receive(connection, event);
      }
    }
    if (connection.bye === null && parser.retry !== null) this.deliver({ type: 'bye', code: 1006, reconnect_in_ms: parser.retry });
    return connection.bye ?? 1006;
  }

  address({ streams, watched }) {
    const watch = watched.size ? `&watch=${[...watched].join()}` : '';
    return `${ADDRESS}?streams=${streams.map(encodeURIComponent).join()}${watch}`;
  }

  headers() {
    const known = [...this.places].filter(([, at]) => at !== null).map(([stream, at]) => `${stream}=${at}`);
    const headers = { Accept: 'text/event-stream' };
    if (known.length) headers['Last-Event-ID'] = known.join();
    return headers;
  }

  async refusal(response) {
    if (response.status === 401) return 4500;
    if (response.status === 403) {
      const problem = await response.json().catch(() => ({})); // a proxy's page says nothing that we could use
      return problem.code === 'account_disabled' ? 4501 : problem.code ? 4502 : 1006;
    }
    const seconds = Number.parseFloat(response.headers.get('Retry-After') ?? '');
    if (response.status !== 503 || !Number.isFinite(seconds)) return 1006;
    this.deliver({ type: 'bye', code: 1013, reconnect_in_ms: seconds * 1000 });
    return 1013;
  }

  holds(connection) {
    return connection === this.current || connection === this.opening;
  }

  /** Either of two connections that ends takes the whole with it: live.js comes back, from where it stands. */
  ended(connection, code) {
    if (!this.holds(connection)) return;
    // One connection too many is our own doing while the old one still stands: no reason to stay away.
    const own = connection === this.opening && this.current && code === 4503;
    this.close();
    this.onclose?.({ code: own ? 1006 : code });
  }

  // -- what the server says --

  receive(connection, { data, id }) {
    const message = JSON.parse(data);
    if (message.type === 'welcome') {
      this.welcome(connection, message);
    } else {
      if (message.type === 'bye') connection.bye = message.code;
      this.onmessage?.({ data });
    }
    if (this.holds(connection)) this.note(id);
  }

  /** The new connection takes over. The first welcome is live.js's own; later ones answer what was asked meanwhile. */
  welcome(connection, message) {
    const first = this.user === null;
    if (!first && message.user !== this.user) return this.ended(connection, 1006); // the cookie is somebody else's now
    this.user = message.user;
    this.clock.clearTimeout(connection.deadline);
    this.cut(this.current);
    this.current = connection;
    this.opening = null;
    if (first) this.deliver(message);
    for (const stream of connection.streams) {
      const answer = message.streams[stream];
      const id = connection.asked.get(stream);
      // Given up, or asked for again from elsewhere: then the next connection has the answer.
      if (!this.places.has(stream) || id !== this.asked.get(stream)) continue;
      this.asked.delete(stream);
      if (!answer) this.places.delete(stream);
      if (!first) this.answer(stream, id, answer);
    }
    return undefined;
  }

  answer(stream, id, answer) {
    if (id !== undefined && answer) this.deliver({ type: 'subscribed', id, stream, ...answer });
    else if (id !== undefined) this.deliver({ type: 'error', id, code: 'forbidden_or_missing', detail: stream });
    else if (answer && !answer.recovered) this.deliver({ type: 'resync', stream, epoch: answer.epoch, offset: answer.offset });
  }

  /** An event's id tells where every stream of the connection stands behind it. */
  note(id) {
    for (const part of id.split(',')) {
      const [stream, at] = part.split('=');
      // A stream that was asked for anew starts where live.js says, not where this connection has got to.
      if (at && this.places.has(stream) && !this.asked.has(stream)) this.places.set(stream, at);
    }
  }

  deliver(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

const SENT = new Map([
  ['hello', (socket, message) => socket.hello(message)],
  ['subscribe', (socket, message) => socket.subscribe(message)],
  ['unsubscribe', (socket, message) => socket.unsubscribe(message)],
  ['watch', (socket, message) => socket.watch(message)],
  ['typing', (socket, message) => socket.type(message.post_id)],
]);

function place({ epoch, offset }) {
  return `${epoch}:${offset}`;
}
