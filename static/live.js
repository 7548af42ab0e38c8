/**
 * Owns: one live connection, protocol `social.live.v1`: greeting, pings, backing off, coming back, and an honest word
 * about all that. Never does: touch the DOM or the network directly. `transport` makes a socket (the WebSocket interface)
 * and hears how it went, `clock` has now/setTimeout/clearTimeout and `random` is 0..1: a test can play every path
 * without waiting.
 *
 *   state       leaves on                                   to
 *   stopped     start()                                     connecting
 *   connecting  socket open                                 greeting   (hello goes out)
 *   greeting    welcome                                     live
 *   live        close, silence, lost()                      waiting
 *   connecting, greeting   close, too long without answer   waiting    (transport.failed: it may take another way)
 *   waiting     delay over, wake()                          connecting
 *   any         close 4500-4999                             stopped    (the reason goes to onStopped)
 *
 * What readers are told is coarser (`onStatus`): connecting, live, reconnecting, and offline only after 5 s without a
 * connection, because most losses mend themselves sooner and a flashing banner teaches people to ignore it.
 */

import { StreamBook, jitter } from '/static/live-streams.js';

const OFFLINE_GRACE_MS = 5_000;
const ANSWER_MS = 10_000; // an open socket without a welcome is as good as none
const SILENCE_MARGIN_MS = 10_000; // on top of the ping interval
const STEADY_MS = 10_000; // a connection that lived this long starts the back-off afresh
const WATCH_DEBOUNCE_MS = 250;
const WATCH_LIMIT = 200;
const ACK_EVERY_MS = 5_000;
const TYPING_EVERY_MS = 3_000; // readers forget who writes after 5 s

export class LiveClient {
  constructor({ transport, clock, random, reload, on }) {
    Object.assign(this, { transport, clock, random, on });
    this.book = new StreamBook({
      send: (message) => this.send(message),
      reload,
      onEvent: on.event,
      onRefused: on.refused,
      clock,
      random,
    });
    this.state = 'stopped';
    this.status = null;
    this.socket = null;
    this.attempt = 0;
    this.askedDelay = null;
    this.watching = [];
    this.timers = new Map();
    this.pingMs = 25_000;
    this.acked = '';
    this.typed = { post: null, at: 0 };
  }

  /** `position` of `me` when the feed was read with one; without it the welcome makes the client re-read. */
  start(position) {
    if (this.state !== 'stopped') this.stop(); // else what the page wants already stays wanted
    this.book.add('me', position && { epoch: position.epoch, offset: position.offset });
    this.tell('connecting');
    this.arm('grace', OFFLINE_GRACE_MS, () => this.tell('offline'));
    this.connect();
  }

  stop() {
    this.state = 'stopped';
    for (const name of [...this.timers.keys()]) this.disarm(name);
    this.drop();
    this.book.records.clear();
    this.book.seen.clear();
    this.attempt = 0;
    this.status = null;
  }

  /** Wants a stream besides `me`; its state is asked for by `reload` once the server has joined us. */
  subscribe(stream) {
    this.book.add(stream);
    if (this.state === 'live') this.book.subscribeLate(stream);
  }

  unsubscribe(stream) {
    this.book.remove(stream);
  }

  /** The posts on screen; sent once they have stood still for a moment. */
  watch(posts) {
    this.watching = posts.slice(0, WATCH_LIMIT).sort();
    this.arm('watch', WATCH_DEBOUNCE_MS, () => this.sendWatch());
  }

  /** The reader writes a comment on a post whose stream is subscribed. Called at every key. */
  typing(post) {
    const now = this.clock.now();
    if (this.state !== 'live' || (this.typed.post === post && now - this.typed.at < TYPING_EVERY_MS)) return;
    this.typed = { post, at: now };
    this.send({ type: 'typing', post_id: post });
  }

  /** The page came back (online, visible, restored): do not sit out a back-off, nor trust a socket that has gone quiet. */
  wake() {
    if (this.state === 'waiting') {
      this.attempt = 0;
      this.connect();
    } else if (this.state === 'live' && this.clock.now() - this.heardAt > this.pingMs + SILENCE_MARGIN_MS) {
      this.lost();
    }
  }

  /** The network is known to be gone; the socket may take minutes to notice. */
  lost() {
    if (this.state === 'stopped' || this.state === 'waiting') return;
    this.drop();
    this.wait();
  }

  // -- connection --

  connect() {
    this.disarm('reconnect');
    this.state = 'connecting';
    this.askedDelay = null;
    let socket;
    try {
      socket = this.transport.open();
    } catch {
      return this.wait();
    }
    this.socket = socket;
    socket.onopen = () => this.socket === socket && this.greet();
    socket.onmessage = (frame) => this.socket === socket && this.receive(frame.data);
    socket.onclose = (close) => this.socket === socket && this.closed(close.code);
    this.arm('answer', this.transport.openWithin, () => this.lost());
  }

  greet() {
    this.state = 'greeting';
    this.arm('answer', ANSWER_MS, () => this.lost());
    this.send({ type: 'hello', resume: this.book.resume() });
  }

  closed(code) {
    this.drop();
    if (code >= 4500 && code <= 4999) {
      this.state = 'stopped';
      for (const name of [...this.timers.keys()]) this.disarm(name);
      this.tell('stopped');
      this.on.stopped(code);
    } else {
      this.wait();
    }
  }

  wait() {
    if (this.state !== 'live') this.transport.failed();
    this.state = 'waiting';
    if (this.status !== 'offline') {
      this.tell(this.status === 'connecting' ? 'connecting' : 'reconnecting');
      if (!this.timers.has('grace')) this.arm('grace', OFFLINE_GRACE_MS, () => this.tell('offline'));
    }
    const delay = this.askedDelay ?? jitter(this.random, this.attempt) * 1000;
    this.attempt += 1;
    this.arm('reconnect', delay, () => this.connect());
  }

  drop() {
    const socket = this.socket;
    this.socket = null;
    this.disarm('answer');
    this.disarm('silence');
    this.disarm('steady');
    this.book.disconnected();
    if (socket && socket.readyState < 2) socket.close(1000);
  }

  // -- frames --

  receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    this.heard();
    const handler = HANDLERS.get(message.type);
    if (handler) handler(this, message); // a type from a later version of the protocol is not an error
  }

  heard() {
    this.heardAt = this.clock.now();
    this.arm('silence', this.pingMs + SILENCE_MARGIN_MS, () => this.lost());
  }

  welcome(message) {
    this.state = 'live';
    this.pingMs = (message.ping_seconds ?? 25) * 1000;
    this.disarm('answer');
    this.disarm('grace');
    this.arm('steady', STEADY_MS, () => { this.attempt = 0; });
    this.transport.welcomed();
    this.on.welcomed();
    this.on.user(typeof message.user === 'object' ? message.user?.id : message.user);
    this.tell('live');
    this.watched = '';
    this.book.welcomed(message.streams ?? {});
    this.sendWatch();
  }

  send(message) {
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(message));
  }

  sendWatch() {
    const wanted = this.watching.join();
    if (this.state !== 'live' || wanted === this.watched) return;
    this.watched = wanted;
    this.send({ type: 'watch', id: this.book.nextId(), posts: this.watching });
  }

  ackSoon() {
    if (!this.timers.has('ack')) this.arm('ack', ACK_EVERY_MS, () => this.ack());
  }

  ack() {
    const streams = this.book.offsets();
    const text = JSON.stringify(streams);
    if (text === this.acked || text === '{}') return;
    this.acked = text;
    this.send({ type: 'ack', streams });
  }

  // -- small tools --

  tell(status) {
    if (status === this.status) return;
    this.status = status;
    this.on.status(status);
  }

  arm(name, delay, action) {
    this.disarm(name);
    this.timers.set(name, this.clock.setTimeout(() => {
      this.timers.delete(name);
      action();
    }, delay));
  }

  disarm(name) {
    if (!this.timers.has(name)) return;
    this.clock.clearTimeout(this.timers.get(name));
    this.timers.delete(name);
  }
}

const HANDLERS = new Map([
  ['welcome', (live, message) => live.welcome(message)],
  ['subscribed', (live, message) => live.book.subscribed(message)],
  ['event', (live, message) => { live.book.event(message); live.ackSoon(); }],
  ['skip', (live, message) => live.book.skip(message)],
  ['resync', (live, message) => live.book.resync(message)],
  ['counts', (live, message) => live.on.counts(message.posts ?? {})],
  ['presence', (live, message) => live.on.presence(message.users ?? {})],
  ['typing', (live, message) => live.on.typing(message.post_id, message.user_id)],
  ['ping', (live, message) => {
    live.send({ type: 'pong', streams: live.book.offsets() });
    live.book.ping(message.streams);
  }],
  ['error', (live, message) => live.book.failed(message)],
  ['bye', (live, message) => { live.askedDelay = message.reconnect_in_ms ?? null; }],
]);
