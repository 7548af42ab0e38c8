"""A client that does not read costs little, loses nothing silently, and is nobody else's business."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
from urllib.parse import urlsplit

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.checks import check_frame, documents_of
from tests.contract.conftest import newcomer
from tests.people import PATIENCE

QUEUE_LIMIT = 262_144  # bytes that may wait in the process for one socket
ENDS_WITHIN = 30.0  # seconds for a process to end after SIGTERM, as promised
POSTS = 180  # of 20 kB each: far more than the kernel and the queue hold together
TEXT = "\N{SNOWMAN WITHOUT SNOW}\N{GRINNING FACE}" * 2500
TEXT_FRAME, CLOSE, PING = 1, 8, 9


class Stalling:
    """A websocket over a socket with a tiny receive buffer, read only when the test says so."""

    def __init__(self, sock, documents):
        self.sock, self.documents = sock, documents
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    @classmethod
    async def connect(cls, person):
        parts = urlsplit(person.api)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        self = cls(sock, person.documents)
        await self._loop.sock_connect(sock, (parts.hostname, parts.port))
        lines = [f"GET {parts.path}/live HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                 f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
                 f"Authorization: Bearer {person.token}"]  # fmt: skip
        await self._loop.sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._buffer:
            await self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        assert b" 101 " in head, head
        await self.send({"type": "hello"})
        self.welcome = await self.next()
        assert self.welcome["type"] == "welcome"
        return self

    async def send(self, message):
        body = orjson.dumps(message)
        assert len(body) < 126
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(body))
        await self._loop.sock_sendall(self.sock, bytes([0x81, 0x80 | len(body)]) + mask + masked)

    async def next(self, wait=PATIENCE):
        """The next message, or the close code; pings of the protocol are answered."""
        async with asyncio.timeout(wait):
            head = await self._take(2)
            length = head[1] & 0x7F
            if length > 125:
                length = int.from_bytes(await self._take(2 if length == 126 else 8), "big")
            body = await self._take(length)
        if head[0] & 0x0F == CLOSE:
            return int.from_bytes(body[:2], "big")
        assert head[0] == 0x80 | TEXT_FRAME, head
        frame = check_frame(self.documents, orjson.loads(body))
        if frame["type"] == "ping":
            await self.send({"type": "pong"})
        return frame

    async def _take(self, size):
        while len(self._buffer) < size:
            await self._fill()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    async def _fill(self):
        got = await self._loop.sock_recv(self.sock, 65_536)
        if not got:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += got


@pytest.fixture
def stage(start_site, http):
    """Ada writes, Béla stalls, Cleo reads: all friends, on a site of the test's own."""
    opened = []

    async def make(**environment):
        site = start_site("--no-demo", **environment)
        described = await documents_of(http, site.url)
        ada, bela, cleo = [await newcomer(http, site, described, name) for name in ("Ada", "Béla", "Cleo")]
        for friend in (bela, cleo):
            await ada.befriend(friend)
        opened.append(await Stalling.connect(bela))
        return site, ada, opened[0], await cleo.live()

    yield make
    for stalling in opened:
        stalling.sock.close()


async def metric(http, site, name, **labels):
    async with http.get(f"{site.url}/metrics") as answer:
        families = list(text_string_to_metric_families(await answer.text()))
    return sum(s.value for f in families for s in f.samples if s.name == name and labels.items() <= s.labels.items())


async def flood(ada, writers=4):
    """Writes the posts; returns their ids."""
    made = []

    async def write():
        while len(made) < POSTS:
            made.append(None)
            made[made.index(None)] = (await ada.post(TEXT))["id"]

    await asyncio.gather(*(write() for _ in range(writers)))
    return made


class Watch:
    """The largest queue that the process has shown since."""

    def __init__(self, http, site):
        self.largest = 0
        self._task = asyncio.create_task(self._look(http, site))

    async def _look(self, http, site):
        while True:
            self.largest = max(self.largest, await metric(http, site, "social_live_largest_queue_bytes"))
            await asyncio.sleep(0.1)

    async def stop(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.largest


async def read_all(live, wanted):
    """Reads a healthy client's posts until it has all that are wanted; asserts that its log has no hole."""
    got, at = [], None
    while len(got) < wanted:
        frame = await live.next(PATIENCE * 3)
        if frame["type"] == "event" and frame["stream"] == "me":
            assert at in (None, frame["offset"] - 1), "a hole"
            at = frame["offset"]
            if frame["event"] == "post.created":
                got.append(frame["data"]["id"])
        assert frame["type"] != "resync"
    return got


async def test_one_who_reads_again_gets_every_item_or_a_resync_and_nobody_waited_for_him(stage, http):
    site, ada, stalling, live = await stage()
    watch = Watch(http, site)
    reading = asyncio.create_task(read_all(live, POSTS))
    made = await flood(ada)
    assert set(await reading) == set(made)  # all of it, before the other has read a byte
    largest = await watch.stop()
    print(f"largest queue {largest:.0f} bytes")
    assert largest <= QUEUE_LIMIT
    at, got, told, ending = stalling.welcome["streams"]["me"]["offset"], [], 0, asyncio.Event()

    async def mark():
        while not ending.is_set():
            marks.add((await ada.post("a mark"))["id"])
            await asyncio.sleep(1)

    marks = set()
    marking = asyncio.create_task(mark())
    async with asyncio.timeout(40):
        while not marks & set(got):
            frame = await stalling.next()
            assert isinstance(frame, dict), f"closed with {frame}"
            if frame["type"] == "event":
                assert frame["offset"] == at + 1, "a hole"
                at = frame["offset"]
                got.append(frame["data"]["id"])
            elif frame["type"] == "skip":
                assert frame["offset"] == at + 1
                at = frame["to"]
            elif frame["type"] == "resync":
                assert frame["offset"] >= at
                at, told = frame["offset"], told + 1
    ending.set()
    await marking
    posts = [post for post in got if post in set(made)]
    print(f"read {len(posts)} of {POSTS} posts late, {told} resyncs")
    assert len(posts) == len(set(posts))
    assert told or set(posts) == set(made)


async def test_one_who_never_reads_is_closed_and_stays_small_until_then(stage, http):
    site, ada, _stalling, live = await stage(SOCIAL_PING_SECONDS="3")
    watch = Watch(http, site)
    reading = asyncio.create_task(read_all(live, POSTS))
    made = await flood(ada)
    assert set(await reading) == set(made)

    async def alive():
        while True:
            await live.next(30)

    answering = asyncio.create_task(alive())
    codes = {}
    async with asyncio.timeout(50):
        while not sum(codes.values()):
            codes = {c: await metric(http, site, "social_live_closes_total", code=c) for c in ("4000", "4004")}
            await asyncio.sleep(0.2)
        while await metric(http, site, "social_live_sessions") > 1:  # noqa: ASYNC110 - a page has no event
            await asyncio.sleep(0.2)
    largest = await watch.stop()
    print(f"closed by {codes}, largest queue {largest:.0f} bytes")
    assert largest <= QUEUE_LIMIT
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    assert not live.socket.closed


async def test_a_stalled_socket_does_not_hold_up_the_end_of_the_process(stage):
    site, ada, _stalling, live = await stage()
    reading = asyncio.create_task(read_all(live, POSTS))
    await flood(ada)
    await reading
    site.processes[0].send(signal.SIGTERM)
    assert await live.closed() == 4010
    assert await asyncio.to_thread(site.processes[0].wait, ENDS_WITHIN) == 0
