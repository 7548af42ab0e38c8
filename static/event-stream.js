/**
 * Owns: the format of server-sent events: bytes in, however they are cut, events out.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 * Never does: fetch anything, know what an event means.
 */

const LONGEST = 4_000_000; // characters of one event; whoever sends more is not our server

export class EventStreamParser {
  constructor() {
    this.decoder = new TextDecoder(); // keeps the bytes of a cut character, drops a byte order mark
    this.line = ''; // the line that has no end yet
    this.afterReturn = false; // a line feed that follows belongs to the line end before it
    this.id = '';
    this.retry = null; // milliseconds that the server asks for before the client comes back
    this.clear();
  }

  /** `bytes` (Uint8Array) -> the events that they complete: [{type, data, id}]. Throws RangeError on an endless event. */
  push(bytes) {
    const text = this.decoder.decode(bytes, { stream: true });
    if (!text) return [];
    const rest = this.afterReturn && text.startsWith('\n') ? text.slice(1) : text;
    this.afterReturn = text.endsWith('\r');
    const lines = (this.line + rest).split(/\r\n|\r|\n/);
    this.line = lines.pop();
    const events = [];
    for (const line of lines) {
      if (line) this.take(line);
      else this.dispatch(events);
    }
    if (this.size + this.line.length > LONGEST) throw new RangeError('an event without end');
    return events;
  }

  take(line) {
    const colon = line.indexOf(':');
    if (colon === 0) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') {
      this.data.push(value);
      this.size += value.length;
    } else if (field === 'event') {
      this.type = value;
    } else if (field === 'id' && !value.includes('\0')) {
      this.id = value;
    } else if (field === 'retry' && /^[0-9]+$/.test(value)) {
      this.retry = Number(value);
    }
  }

  dispatch(events) {
    if (this.data.length) events.push({ type: this.type || 'message', data: this.data.join('\n'), id: this.id });
    this.clear();
  }

  clear() {
    this.data = [];
    this.size = 0;
    this.type = '';
  }
}
