"""Carries out the schedule: one method per kind of fault, each returns when its cause is gone."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from social.chaos.ledger import Books, Clock, Strike
from social.chaos.proxy import DOWN, Link
from social.chaos.schedule import Fault
from social.chaos.site import Part, Site, SystemSite

T = TypeVar("T")

LOST_SHARE = 0.4  # of the publishes during an F9 fault meet it
COMMIT_SHARE = 0.3  # of the COMMITs during F17 are not answered
MARK_SHARE = 0.3  # of the workers' COMMITs do not arrive in F17's other half
CLIENT_SHARE = 0.4  # of the live connections go silent in F26, are slow in F30
CUT_EVERY = 0.3  # seconds between two cuts of the workers' MySQL connections
FLAP_EVERY = 1.0  # seconds between two cuts of the clients in F27
SLOW_RATE = 400.0  # bytes per second that a slow client takes in F30
BROWN_OUT = (0.1, 0.2)  # seconds of latency and jitter per chunk in F23: a write of ten round trips takes 1.5 s
NOISE = b"noise\n" + b"x" * 65_536  # a message of no known kind: an inbox ignores it, a full buffer does not
NOISES = 200  # of these exceed every kernel buffer on the way and the limit of F8
BUFFER_LIMITS = ("pubsub 64kb 32kb 1", "pubsub 32mb 8mb 60")  # during F8, and Redis's own default after it


class Blow(NamedTuple):
    """What a fault hit: one part, or '' for all; and what there is to say about it."""

    part: str = ""
    note: str = ""


class Nemesis:
    """Strikes a site and writes down what it did."""

    def __init__(self, site: Site, books: Books, clock: Clock, say: Callable[[str], None]) -> None:
        self._say = say
        self._redis_room = asyncio.Lock()
        self._site = site
        self._books = books
        self._clock = clock
        self._acts: dict[str, Callable[[Fault, random.Random], Awaitable[Blow]]] = {
            "kill-edge": lambda f, _: self._end(_one(site.edges, f), signal.SIGKILL),
            "kill-worker": lambda f, _: self._end(_one(site.workers, f), signal.SIGKILL),
            "kill-all": lambda f, _: self._end(_one(site.edges, f), signal.SIGKILL),
            "terminate-edge": lambda f, _: self._end(_one(site.edges, f), signal.SIGTERM),
            "terminate-all": lambda f, _: self._end(_one(site.edges, f), signal.SIGTERM),
            "freeze-edge": lambda f, _: self._freeze(_one(site.edges, f), f),
            "freeze-worker": lambda f, _: self._freeze(_one(site.workers, f), f),
            "redis-restart": self._redis_restart,
            "redis-flush": self._redis_flush,
            "redis-freeze": self._redis_freeze,
            "kill-subscribers": self._kill_subscribers,
            "output-buffer": self._output_buffer,
            "publish-drop": lambda f, dice: self._publishes(f, dice, "dropped"),
            "publish-twice": lambda f, dice: self._publishes(f, dice, "twice"),
            "publish-late": lambda f, dice: self._publishes(f, dice, "late"),
            "publish-swap": lambda f, dice: self._publishes(f, dice, "swapped"),
            "deaf-edge": lambda f, _: self._silence(f),
            "stalled-edge": lambda f, _: self._stall(f),
            "deaf-inbox": self._deaf_inbox,
            "mysql-kill": self._mysql_kill,
            "commit-unanswered": self._commits,
            "mark-lost": self._marks,
            "mysql-connections-killed": self._connections_killed,
            "edge-mysql-cut": self._edge_cut,
            "worker-mysql-cut": self._worker_cut,
            "mysql-slow": self._mysql_slow,
            "clients-vanish": self._vanish,
            "clients-flap": self._flap,
            "clients-slow": self._slow,
        }

    async def run(self, faults: Sequence[Fault]) -> None:
        """Strikes at the planned times; a fault that healed late puts off nobody but itself. Raises EngineFailed."""
        await asyncio.gather(*map(self._strike, faults))

    async def _strike(self, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, fault.at - self._clock()))
        began = self._clock()
        try:
            blow = await self._acts[fault.kind.name](fault, random.Random(fault.dice))  # noqa: S311 - replayable
        except (RedisError, OSError) as error:
            # two faults met, and the other one was first; what is not done excuses nothing
            self._say(f"{began:7.1f} s not done: {fault.kind.name}, {error}")
            return
        self._books.strikes.append(Strike(fault, began, self._clock(), blow.part, blow.note))
        what = f"{fault.kind.number:<4} {fault.kind.name:<25} {blow.part} {blow.note}"
        self._say(f"{began:7.1f} - {self._clock():5.1f} s  {what}")

    # --- processes ---------------------------------------------------------------------------------------------------

    async def _end(self, part: Part, number: signal.Signals) -> Blow:
        await part.end(number)
        return Blow(part.name)

    async def _freeze(self, part: Part, fault: Fault) -> Blow:
        part.send(signal.SIGSTOP)
        await asyncio.sleep(fault.lasts)
        part.send(signal.SIGCONT)
        return Blow(part.name)

    @asynccontextmanager
    async def _redis_alone(self) -> AsyncIterator[Redis]:
        """A client of a Redis that answers; faults that speak to it wait for each other."""
        async with self._redis_room:
            await self._site.redis_answers()
            async with self._site.redis() as client:
                yield client

    # --- Redis -------------------------------------------------------------------------------------------------------

    async def _redis_restart(self, fault: Fault, _dice: random.Random) -> Blow:
        async with self._redis_alone():
            await self._site.restart_redis(fault.lasts)
        return Blow()

    async def _redis_flush(self, _fault: Fault, _dice: random.Random) -> Blow:
        async with self._redis_alone() as client:
            await client.flushall()
        return Blow()

    async def _redis_freeze(self, fault: Fault, _dice: random.Random) -> Blow:
        async with self._redis_alone() as client:
            process = int((await client.info("server"))["process_id"])
            os.kill(process, signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.lasts)
            finally:
                os.kill(process, signal.SIGCONT)
        return Blow()

    async def _kill_subscribers(self, fault: Fault, dice: random.Random) -> Blow:
        killed = 0
        async with self._redis_alone() as client:
            for _ in range(dice.randint(1, 3)):
                killed += int(await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))  # type: ignore[no-untyped-call]
                await asyncio.sleep(fault.lasts / 3)
        return Blow(note=f"{killed} killed")

    async def _output_buffer(self, fault: Fault, _dice: random.Random) -> Blow:
        """A subscriber stops reading and a flood comes: Redis has to drop it."""
        edge = _one(self._site.edges, fault)
        async with self._redis_alone() as client:
            before = await _subscribers(client)
            await client.config_set("client-output-buffer-limit", BUFFER_LIMITS[0])
            with self._not_reading(edge):
                for channel in await client.pubsub_channels("inbox:*"):
                    for _ in range(NOISES):
                        await client.publish(channel, NOISE)
                await asyncio.sleep(fault.lasts)
                dropped = before - await _subscribers(client)
            await client.config_set("client-output-buffer-limit", BUFFER_LIMITS[1])
        return Blow(edge.name, f"{len(dropped)} subscriptions dropped")

    @contextmanager
    def _not_reading(self, edge: Part) -> Iterator[None]:
        proxy = self._site.redis_links.get(edge.name)
        if proxy is None:
            edge.send(signal.SIGSTOP)
        else:
            proxy.stall(DOWN)
        try:
            yield
        finally:
            if proxy is None:
                edge.send(signal.SIGCONT)
            else:
                proxy.flow(DOWN)

    # --- publishes and partitions ------------------------------------------------------------------------------------

    async def _publishes(self, fault: Fault, dice: random.Random, fate: str) -> Blow:
        proxies = [self._site.redis_links[edge.name] for edge in self._site.edges]
        for proxy in proxies:
            proxy.fate = lambda: fate if dice.random() < LOST_SHARE else "passed"
        await asyncio.sleep(fault.lasts)
        for proxy in proxies:
            proxy.fate = lambda: "passed"
        met = sum(1 for publish in self._books.publishes if publish.fate == fate)
        return Blow(note=f"{met} so far")

    async def _silence(self, fault: Fault) -> Blow:
        """One way, Redis -> edge: bytes vanish, and the connections with them."""
        edge = _one(self._site.edges, fault)
        proxy = self._site.redis_links[edge.name]
        proxy.silent.add(DOWN)
        await asyncio.sleep(fault.lasts)
        proxy.silent.discard(DOWN)
        return Blow(edge.name)

    async def _stall(self, fault: Fault) -> Blow:
        """One way, Redis -> edge: bytes wait until it is over."""
        edge = _one(self._site.edges, fault)
        with self._not_reading(edge):
            await asyncio.sleep(fault.lasts)
        return Blow(edge.name)

    async def _deaf_inbox(self, fault: Fault, _dice: random.Random) -> Blow:
        """Only the subscription dies, without a word: everything else works."""
        edge = _one(self._site.edges, fault)
        links = [link for link in self._site.redis_links[edge.name].links if link.publishes is not None]
        for link in links:
            link.silent = True
        return Blow(edge.name, f"{len(links)} subscriptions")

    # --- MySQL -------------------------------------------------------------------------------------------------------

    @property
    def _system(self) -> SystemSite:
        assert isinstance(self._site, SystemSite)  # noqa: S101 - the schedule has asked
        return self._site

    async def _mysql_kill(self, fault: Fault, _dice: random.Random) -> Blow:
        self._system.mariadb.kill()
        await asyncio.sleep(fault.lasts)
        await self._system.mariadb.start_again()
        return Blow()

    async def _commits(self, fault: Fault, _dice: random.Random) -> Blow:
        return await self._mysql("cut_commits", COMMIT_SHARE, fault.lasts, self._site.edges)

    async def _marks(self, fault: Fault, _dice: random.Random) -> Blow:
        """The workers' effects are in Redis, the marks that say so never reach MySQL: what was done is done again."""
        return await self._mysql("lost_commits", MARK_SHARE, fault.lasts, self._site.workers)

    async def _mysql_slow(self, fault: Fault, _dice: random.Random) -> Blow:
        for proxy in self._site.mysql_links.values():
            proxy.latency, proxy.jitter = BROWN_OUT
        await asyncio.sleep(fault.lasts)
        for proxy in self._site.mysql_links.values():
            proxy.latency = proxy.jitter = 0.0
        return Blow()

    async def _connections_killed(self, _fault: Fault, _dice: random.Random) -> Blow:
        return Blow(note=f"{await asyncio.to_thread(self._system.mariadb.kill_connections)} killed")

    async def _edge_cut(self, fault: Fault, _dice: random.Random) -> Blow:
        """A firewall forgets an edge's connections to MySQL, most of them idle: RST instead of a close."""
        edge = _one(self._site.edges, fault)
        cut = self._site.mysql_links[edge.name].cut()
        await asyncio.sleep(CUT_EVERY)  # requests that were under way on one of them have met the fault
        return Blow(edge.name, f"{cut} cut")

    async def _worker_cut(self, fault: Fault, dice: random.Random) -> Blow:
        """Again and again a worker loses MySQL between its effects in Redis and its mark."""
        cut, until = 0, self._clock() + fault.lasts
        while self._clock() < until:
            await asyncio.sleep(CUT_EVERY * dice.uniform(0.5, 1.5))
            cut += sum(self._site.mysql_links[worker.name].cut() for worker in self._site.workers)
        return Blow(note=f"{cut} cut")

    async def _mysql(self, what: str, value: float, lasts: float, parts: Sequence[Part]) -> Blow:
        proxies = [self._site.mysql_links[part.name] for part in parts]
        for proxy in proxies:
            setattr(proxy, what, value)
        await asyncio.sleep(lasts)
        for proxy in proxies:
            setattr(proxy, what, 0.0)
        return Blow()

    # --- clients -----------------------------------------------------------------------------------------------------

    def _some_sockets(self, dice: random.Random) -> list[Link]:
        sockets = [link for front in self._site.fronts for link in front.links if link.live]
        return [link for link in sockets if dice.random() < CLIENT_SHARE]

    async def _vanish(self, fault: Fault, dice: random.Random) -> Blow:
        links = self._some_sockets(dice)
        for link in links:
            link.silent = True
        return Blow(note=f"{len(links)} connections")

    async def _flap(self, fault: Fault, _dice: random.Random) -> Blow:
        front, until, cut = _one(self._site.fronts, fault), self._clock() + fault.lasts, 0
        while self._clock() < until:
            cut += front.cut()
            await asyncio.sleep(FLAP_EVERY)
        return Blow(front.name, f"{cut} cut")

    async def _slow(self, fault: Fault, dice: random.Random) -> Blow:
        links = self._some_sockets(dice)
        for link in links:
            link.rate = SLOW_RATE
        await asyncio.sleep(fault.lasts)
        for link in links:
            link.rate = 0.0
        return Blow(note=f"{len(links)} connections")


async def _subscribers(client: Redis) -> set[str]:
    return {str(each["id"]) for each in await client.client_list(_type="pubsub")}


def _one(things: Sequence[T], fault: Fault) -> T:
    return things[fault.target % len(things)]
