/**
 * Owns: talking HTTP to /api/v1 and turning every failure into one `Problem`.
 * Never does: touch the DOM, keep a token (the session cookie is HttpOnly), decide what a failure means for a page.
 */

const BASE = '/api/v1';
const TIMEOUT_MS = 20_000; // longer than the server's own limits: a reply that is merely slow still counts
const PATIENCE_S = 5; // a read that is asked to wait this long at most simply waits, once

/** Anything that kept a request from succeeding. `kind` says whose turn it is: 'network' and 'timeout' may be sent again. */
export class Problem extends Error {
  constructor({ kind = 'http', status = 0, code = kind, title = '', detail = '', errors = [], requestId = '', retryAfter = null }) {
    super(detail || title || code);
    Object.assign(this, { kind, status, code, title, detail, errors, requestId, retryAfter });
  }

  /** True when the same request, sent again unchanged, may well succeed. */
  get temporary() {
    return this.kind !== 'http' || this.status === 429 || this.status >= 500;
  }

  /** Text for the field at a JSON pointer such as "/username", or ''. */
  field(pointer) {
    return this.errors.find((one) => one.pointer === pointer)?.detail ?? '';
  }
}

/** A key for one submission; not crypto.randomUUID, which plain-HTTP origins on a LAN do not have. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * `fetch` and `sleep` are handed in so that tests need no network and no waiting.
 * `onSignedOut` is called for every 401 except those of the sign-in form itself.
 */
export function createApi({ fetch, sleep, onSignedOut }) {
  let life = new AbortController(); // of the current sign-in

  async function request(method, path, options = {}) {
    const { body, key, signal, keepalive = false, quiet = false, patient = method === 'GET' } = options;
    const response = await send(method, path, { body, key, signal, keepalive });
    if (response.ok) return reply(response);
    const problem = await toProblem(response);
    if (patient && problem.temporary && problem.retryAfter !== null && problem.retryAfter <= PATIENCE_S) {
      await sleep(problem.retryAfter * 1000);
      return request(method, path, { ...options, patient: false });
    }
    if (problem.status === 401 && !quiet) onSignedOut();
    throw problem;
  }

  /** `keepalive`: the browser sees it through even when the page is left. */
  async function send(method, path, { body, key, signal, keepalive }) {
    const headers = { Accept: 'application/json' };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (key) headers['Idempotency-Key'] = key;
    const limit = AbortSignal.timeout(TIMEOUT_MS);
    const given = signal ? AbortSignal.any([signal, life.signal]) : life.signal;
    try {
      return await fetch(BASE + path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: 'same-origin',
        cache: 'no-store',
        keepalive,
        signal: AbortSignal.any([given, limit]),
      });
    } catch (error) {
      if (given.aborted) throw new Problem({ kind: 'aborted' });
      throw new Problem({ kind: limit.aborted ? 'timeout' : 'network' });
    }
  }

  return {
    request,
    get: (path, options) => request('GET', path, options),
    post: (path, body, options) => request('POST', path, { ...options, body }),
    put: (path, body, options) => request('PUT', path, { ...options, body }),
    patch: (path, body, options) => request('PATCH', path, { ...options, body }),
    delete: (path, options) => request('DELETE', path, options),
    pages,

    /** Another person (or nobody) is signed in: no answer meant for the one before may land in their state. */
    reset() {
      life.abort();
      life = new AbortController();
    },
  };

  /**
   * Reads a list from its start until `enough(items)` or its end, at most `most` pages.
   * -> {items, next, position}, the position of the first page: later pages can only be newer.
   */
  async function pages(path, enough, most = 5) {
    let items = [];
    let cursor = null;
    let position = null;
    for (let page = 0; page < most; page += 1) {
      const data = await request('GET', withQuery(path, cursor === null ? {} : { cursor }));
      position ??= data.position ?? null;
      items = items.concat(data.items);
      cursor = data.next;
      if (cursor === null || enough(items)) break;
    }
    return { items, next: cursor, position };
  }
}

/** Adds query parameters to a path that may already have some. */
export function withQuery(path, values) {
  const query = new URLSearchParams(values).toString();
  if (!query) return path;
  return path + (path.includes('?') ? '&' : '?') + query;
}

async function reply(response) {
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch {
    // The connection broke inside the body: the server may have acted, so this counts as a lost reply.
    throw new Problem({ kind: 'network', requestId: response.headers.get('X-Request-Id') ?? '' });
  }
}

async function toProblem(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // A proxy's HTML page is no use to a reader; the status alone decides the text.
  }
  return new Problem({
    status: response.status,
    code: body.code ?? `http_${response.status}`,
    title: body.title ?? '',
    detail: body.detail ?? '',
    errors: Array.isArray(body.errors) ? body.errors : [],
    requestId: body.instance ?? response.headers.get('X-Request-Id') ?? '',
    retryAfter: seconds(response.headers.get('Retry-After')),
  });
}

function seconds(header) {
  const value = Number.parseFloat(header ?? '');
  return Number.isFinite(value) ? value : null;
}
