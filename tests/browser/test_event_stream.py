"""The event stream, played in the page: its format, cut anywhere, and the socket and the choice built on it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page

STATIC = Path(__file__).parents[2] / "static"
PARSE = """async (rounds) => {
  const { EventStreamParser } = await import('/static/event-stream.js');
  return rounds.map((pieces) => {
    const parser = new EventStreamParser();
    const events = pieces.flatMap((piece) => parser.push(Uint8Array.from(piece)));
    return { events, retry: parser.retry };
  });
}"""
TEXTS = ["", "x", " two words", "a:b", '{"name":"Béla"}', "日本語", "👩‍🚀", "id: 7", "\ufeffmark"]

# An EventSocket with a server that the test plays in place of PLAY: `say` is a word of the page's, `answer` the head of
# the server's answer, and `pass(ms)` lets the timers ring that were set for so long or shorter.
SOCKET = """async () => {
  const { EventSocket } = await import('/static/live-events.js');
  const requests = [];
  const heard = [];
  const encoder = new TextEncoder();
  const fetch = (url, { headers, signal }) => new Promise((resolve, reject) => {
    const request = { url, last: headers['Last-Event-ID'] ?? null, over: false };
    const body = new ReadableStream({ start: (controller) => { request.controller = controller; } });
    request.answer = (status, init = {}) => resolve(new Response(status === 200 ? body : init.body ?? '', {
      status, headers: { 'Content-Type': 'text/event-stream', ...init.headers } }));
    request.send = (message, id = '') => {
      request.controller.enqueue(encoder.encode(`id: ${id}\\ndata: ${JSON.stringify(message)}\\n\\n`));
    };
    signal.addEventListener('abort', () => {
      request.over = true;
      const gone = new DOMException('cut', 'AbortError');
      reject(gone);
      try { request.controller.error(gone); } catch { /* ended already */ }
    });
    requests.push(request);
  });
  const timers = new Map();
  const clock = {
    now: () => 0,
    setTimeout: (task, ms) => { timers.set(task, ms); return task; },
    clearTimeout: (task) => timers.delete(task),
  };
  const pass = (most) => {
    for (const [task, ms] of [...timers]) if (ms <= most && timers.delete(task)) task();
  };
  const typed = [];
  const socket = new EventSocket({ fetch, clock, type: (post) => typed.push(post) });
  socket.onmessage = ({ data }) => heard.push(JSON.parse(data));
  socket.onclose = ({ code }) => heard.push({ type: 'closed', code });
  await new Promise((resolve) => { socket.onopen = resolve; });
  const until = async (ready) => {
    for (let n = 0; !ready(); n += 1) {
      if (n > 1000) throw new Error(`${ready}: ${JSON.stringify({ heard, requests })}`);
      await new Promise((resolve) => { setTimeout(resolve, 5); });
    }
  };
  const say = (message) => socket.send(JSON.stringify(message));
  await (PLAY)({ requests, heard, until, say, pass });
  return { heard, typed, requests: requests.map(({ url, last, over }) => ({ url, last, over })) };
}"""

# A Transport whose clock and HTTP PLAY plays.
TRANSPORT = """async () => {
  const { Transport } = await import('/static/live-transport.js');
  const world = { now: 1_000_000, http: true, kept: new Map() };
  const storage = {
    getItem: (key) => world.kept.get(key) ?? null,
    setItem: (key, value) => world.kept.set(key, value),
    removeItem: (key) => world.kept.delete(key),
  };
  const page = () => new Transport({
    ways: { websocket: () => 'websocket', events: () => 'events' },
    probe: async () => world.http, clock: { now: () => world.now }, storage,
  });
  return (PLAY)({ world, page });
}"""


@pytest_asyncio.fixture
async def page(open_page) -> AsyncIterator[Page]:
    """An empty page that can import the client's modules; no server of ours is behind it."""

    async def empty(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Modules</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", empty)
    app.router.add_static("/static/", STATIC)
    async with TestServer(app) as server:
        yield await open_page(str(server.make_url("/")))


def playing(stage: str, play: str) -> str:
    return stage.replace("PLAY", play)


def stream(dice: random.Random) -> tuple[bytes, list[dict[str, str]], int | None]:
    """(bytes, the events in them, the last `retry`): built from the format's rules, not by reading the bytes."""
    last, retry = "", None
    events: list[dict[str, str]] = []
    lines: list[str] = []
    for _ in range(dice.randrange(1, 6)):
        data: list[str] = []
        kind = ""
        for _ in range(dice.randrange(0, 5)):
            text = dice.choice(TEXTS)
            match dice.randrange(6):
                case 0:
                    lines.append(f":{text}")
                case 1:
                    last = text
                    lines.append(f"id: {text}")
                case 2:
                    retry = dice.randrange(10_000)
                    lines += [f"retry: {retry}", "retry: soon"]
                case 3:
                    kind = text
                    lines.append(f"event: {text}")
                case 4:
                    data.append("")
                    lines.append("data")
                case _:
                    data.append(text)
                    lines.append(f"data: {text}")
        lines.append("")
        if data:
            events.append({"type": kind or "message", "data": "\n".join(data), "id": last})
    raw = "".join(line + dice.choice(["\n", "\r", "\r\n"]) for line in lines)
    # Two line ends in a row that read as one would be another stream: "\r" before an empty line that ends with "\n".
    if raw.replace("\r\n", "\n").replace("\r", "\n").count("\n") != len(lines):
        raw = "".join(line + "\r\n" for line in lines)
    unfinished = "data: never sent"
    return (b"\xef\xbb\xbf" if dice.random() < 0.2 else b"") + (raw + unfinished).encode(), events, retry


def cut(raw: bytes, dice: random.Random) -> list[list[int]]:
    """The bytes in pieces of random size, down to one, some of them empty."""
    most = dice.choice([1, 3, 20, 1000])
    pieces, at = [], 0
    while at < len(raw):
        size = dice.randrange(most + 1)
        pieces.append(list(raw[at : at + size]))
        at += size
    return pieces


async def test_events_are_the_same_wherever_the_bytes_are_cut(page):
    dice = random.Random(20261121)  # noqa: S311 - repeatable
    streams = [stream(dice) for _ in range(400)]
    parsed = await page.evaluate(PARSE, [cut(raw, dice) for raw, _, _ in streams])
    assert sum(len(events) for _, events, _ in streams) > 500
    for (raw, events, retry), found in zip(streams, parsed, strict=True):
        assert found == {"events": events, "retry": retry}, raw


async def test_an_event_without_end_is_an_error(page):
    with pytest.raises(Exception, match="an event without end"):
        await page.evaluate(
            """async () => {
              const { EventStreamParser } = await import('/static/event-stream.js');
              const parser = new EventStreamParser();
              const piece = new Uint8Array(100_000).fill(120);
              for (let n = 0; n < 100; n += 1) parser.push(piece);
            }"""
        )


async def test_what_is_wanted_later_comes_with_another_connection_from_where_the_first_stood(page):
    played = await page.evaluate(
        playing(
            SOCKET,
            """async ({ requests, heard, until, say, pass }) => {
          say({ type: 'hello', resume: { me: { epoch: 'e', offset: 3 } } });
          requests[0].answer(200);
          const top = { epoch: 'e', offset: 4, recovered: true };
          requests[0].send({ type: 'welcome', user: '7', streams: { me: top } }, 'me=e:3');
          requests[0].send({ type: 'event', stream: 'me', offset: 4 }, 'me=e:4');
          await until(() => heard.length === 2);
          say({ type: 'subscribe', id: '1', stream: 'post:5' });
          say({ type: 'subscribe', id: '2', stream: 'post:6', from: { epoch: 'f', offset: 9 } });
          say({ type: 'watch', id: '3', posts: ['5', '8'] });
          say({ type: 'typing', post_id: '5' });
          pass(1000);
          requests[0].send({ type: 'event', stream: 'me', offset: 5 }, 'me=e:5');
          await until(() => heard.length === 3);
          requests[1].answer(200);
          requests[1].send({ type: 'welcome', user: '7', streams: {
            me: { epoch: 'g', offset: 1, recovered: false },
            'post:5': { epoch: 'h', offset: 2, recovered: false },
          } }, 'me=g:1,post:5=h:2');
          requests[1].send({ type: 'bye', code: 4010, reconnect_in_ms: 700 }, 'me=g:1,post:5=h:2');
          await until(() => heard.length === 7);
          requests[1].controller.close();
          await until(() => heard.length === 8);
        }""",
        )
    )
    first, second = played["requests"]
    assert (first["url"], first["last"]) == ("/api/v1/live/events?streams=me", "me=e:3")
    assert second["url"] == "/api/v1/live/events?streams=me,post%3A5,post%3A6&watch=5,8"
    assert second["last"] == "me=e:4,post:6=f:9"
    assert first["over"]
    assert played["typed"] == ["5"]
    assert [(m["type"], m.get("id"), m.get("offset")) for m in played["heard"][:3]] == [
        ("welcome", None, None),
        ("event", None, 4),
        ("event", None, 5),
    ]
    assert played["heard"][3:] == [
        {"type": "resync", "stream": "me", "epoch": "g", "offset": 1},
        {"type": "subscribed", "id": "1", "stream": "post:5", "epoch": "h", "offset": 2, "recovered": False},
        {"type": "error", "id": "2", "code": "forbidden_or_missing", "detail": "post:6"},
        {"type": "bye", "code": 4010, "reconnect_in_ms": 700},
        {"type": "closed", "code": 4010},
    ]


async def test_a_stream_asked_for_again_is_answered_by_the_connection_that_asked(page):
    played = await page.evaluate(
        playing(
            SOCKET,
            """async ({ requests, heard, until, say, pass }) => {
          const joined = { epoch: 'e', offset: 8, recovered: true };
          const welcome = { type: 'welcome', user: '7', streams: { me: joined, 'post:5': joined, 'post:6': joined } };
          const at = { epoch: 'e', offset: 8 };
          say({ type: 'hello', resume: { me: at, 'post:5': at, 'post:6': at } });
          requests[0].answer(200);
          requests[0].send(welcome, 'me=e:8,post:5=e:8,post:6=e:8');
          await until(() => heard.length === 1);
          say({ type: 'unsubscribe', id: '0', stream: 'post:6' });
          say({ type: 'subscribe', id: '1', stream: 'post:5', from: { epoch: 'e', offset: 4 } });
          pass(1000);
          say({ type: 'subscribe', id: '2', stream: 'post:5', from: { epoch: 'e', offset: 2 } });
          requests[0].send({ type: 'ping' }, 'me=e:9,post:5=e:9,post:6=e:9');
          await until(() => heard.length === 2);
          requests[1].answer(200);
          requests[1].send(welcome, 'me=e:9,post:5=e:4');
          requests[1].send({ type: 'ping' }, 'me=e:9,post:5=e:5');
          await until(() => heard.length === 3);
          pass(1000);
          requests[2].answer(200);
          requests[2].send(welcome, 'me=e:9,post:5=e:2');
          await until(() => heard.length === 4);
        }""",
        )
    )
    assert [request["last"] for request in played["requests"]] == [
        "me=e:8,post:5=e:8,post:6=e:8",
        "me=e:8,post:5=e:4",
        "me=e:9,post:5=e:2",
    ]
    assert [(m["type"], m.get("id")) for m in played["heard"]] == [
        ("welcome", None),
        ("ping", None),
        ("ping", None),
        ("subscribed", "2"),
    ]


async def test_somebody_elses_cookie_ends_the_connection(page):
    played = await page.evaluate(
        playing(
            SOCKET,
            """async ({ requests, heard, until, say, pass }) => {
          say({ type: 'hello', resume: {} });
          requests[0].answer(200);
          requests[0].send({ type: 'welcome', user: '7', streams: {} });
          await until(() => heard.length === 1);
          say({ type: 'watch', id: '1', posts: ['5'] });
          pass(1000);
          requests[1].answer(200);
          requests[1].send({ type: 'welcome', user: '8', streams: {} });
          await until(() => heard.length === 2);
        }""",
        )
    )
    assert played["heard"][1] == {"type": "closed", "code": 1006}
    assert all(request["over"] for request in played["requests"])


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        ("401", [{"type": "closed", "code": 4500}]),
        ('403, { body: \'{"code": "account_disabled"}\' }', [{"type": "closed", "code": 4501}]),
        ('403, { body: \'{"code": "not_same_site"}\' }', [{"type": "closed", "code": 4502}]),
        ("403, { body: '<h1>Proxy</h1>' }", [{"type": "closed", "code": 1006}]),
        ("200, { headers: { 'Content-Type': 'text/html' } }", [{"type": "closed", "code": 1006}]),
        (
            "503, { headers: { 'Retry-After': '4' } }",
            [{"type": "bye", "code": 1013, "reconnect_in_ms": 4000}, {"type": "closed", "code": 1013}],
        ),
    ],
)
async def test_refusals_are_close_codes(page, answer, heard):
    played = await page.evaluate(
        playing(
            SOCKET,
            f"""async ({{ requests, heard, until, say }}) => {{
          say({{ type: 'hello', resume: {{}} }});
          requests[0].answer({answer});
          await until(() => heard.at(-1)?.type === 'closed');
        }}""",
        )
    )
    assert played["heard"] == heard


async def test_the_way_changes_only_while_http_works_and_is_tried_again_later(page):
    ways = await page.evaluate(
        playing(
            TRANSPORT,
            """async ({ world, page }) => {
          const seen = [];
          const one = page();
          const fails = async (http) => { world.http = http; seen.push(one.open()); await one.failed(); };
          await fails(false);           // the server is away: nothing is learned
          await fails(false);
          await fails(true);
          await fails(false);           // and what was learned is forgotten
          await fails(true);
          await fails(true);
          seen.push(one.open());
          one.welcomed();
          seen.push(page().open());     // the next page of this tab knows
          world.now += 11 * 60_000;
          await fails(true);            // after some minutes one try
          seen.push(one.open());
          await fails(true);
          await fails(true);            // events do not pass either
          seen.push(one.open());
          return seen;
        }""",
        )
    )
    assert ways == [*["websocket"] * 6, "events", "events", "websocket", *["events"] * 3, "websocket"]
