"""The living demo: people, friendships, posts with comments and likes, and two bots that keep it moving.

Made through the same functions as everything else, so the demo is also the first test. The password is random per
data folder and kept there; a product never ships one that everybody knows.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog

from db import users
from db.errors import SocialError
from db.settings import Settings
from feed import comments, feed_page, friends, likes, posts
from feed.accounts import Accounts, Origin
from feed.objects import Visibility
from feed.passwords import Passwords
from feed.stores import Stores
from social.embedded import StartupRefused

log = structlog.get_logger(__name__)

PEOPLE = {
    "ada": "Ada Moreno",
    "jonas": "Jonas Lindqvist",
    "priya": "Priya Raman",
    "tomas": "Tomás Herrera",
    "yuki": "Yuki Tanaka",
    "zsofi": "Zsófi Kovács",
    "mira_bot": "Mira (bot)",
    "theo_bot": "Theo (bot)",
}
SIGN_INS = ("ada", "jonas")
BOTS = ("mira_bot", "theo_bot")
STRANGERS = {("ada", "yuki"), ("jonas", "zsofi")}  # everybody else is friends; these have something left to do
POSTS: tuple[tuple[str, str, Visibility], ...] = (
    (
        "priya",
        "First tomato of the year. I ate it over the sink, like a person with no manners and no regrets.",
        "friends",
    ),
    ("tomas", "Does anybody have a ladder that reaches a second floor? The kite is still up there.", "friends"),
    (
        "zsofi",
        "Ran ten kilometres along the river this morning. The ducks were not impressed. #running #ducks",
        "public",
    ),
    ("jonas", "New shelf is up, thanks to @tomas. It is level if you tilt your head a little. #diy", "friends"),
    ("yuki", "Open rehearsal on Thursday, half past seven, bring a friend and something warm. #music", "public"),
    ("ada", "Moving day is over. I own far more cables than devices.", "friends"),
    ("mira_bot", "I am a bot and I will be posting small things here, so that you can watch them arrive.", "public"),
    ("theo_bot", "Same here. Open this page twice and like something: the number moves in both.", "public"),
)
SHARES: tuple[tuple[int, str, str, Visibility], ...] = (  # of a post by its number
    (2, "priya", "@zsofi next time I come along. To feed the #ducks, not to run.", "friends"),
    (4, "zsofi", "", "public"),
)
COMMENTS = (
    (0, "ada", "With salt? Please say with salt."),
    (0, "jonas", "Mine are still green and judging me."),
    (1, "zsofi", "I do! It is long, and it wobbles."),
    (3, "priya", "Level is a state of mind."),
    (5, "tomas", "Label them now or never."),
)
SMALL_THINGS = (
    "The coffee machine and I have reached an understanding.",
    "Found a bus ticket from 2019 in a coat I wear every week.",
    "Someone on my street is learning the trumpet. Someone on my street is very brave.",
    "Today's forecast: exactly the weather that you did not dress for.",
    "Sorted the spice drawer. There were four cinnamons.",
    "The neighbour's cat has decided that my balcony is hers now.",
    "Baked bread. It is dense enough to have opinions.",
    "Rode home behind a cyclist with a cello. Nobody overtook.",
    "The library extended its opening hours and I have no excuses left.",
    "My plant has one new leaf and I have told everyone.",
)
REPLIES = (
    "Ha, same here.",
    "Tell me more!",
    "This made my morning.",
    "I needed to read this today.",
    "Pictures, or it is a rumour.",
)
KEPT = 40  # posts of a bot that stay; older ones it deletes, so that a demo left running does not grow for ever
PACE = (3.0, 7.0)  # seconds between two acts of a bot


@dataclass(frozen=True, slots=True)
class SignIns:
    """The demo's people by username, and the one password of this data folder."""

    ids: dict[str, int]
    password: str

    def text(self) -> str:
        """What `social up` prints."""
        return "\n".join(f"sign in as {name} with {self.password}" for name in SIGN_INS)


async def seed(stores: Stores, settings: Settings) -> SignIns:
    """Makes the demo once per database; a second call finds it. Raises StartupRefused when its file was lost."""
    file = settings.data / "demo.json"
    known = file.exists()
    async with stores.sql.read() as connection:
        rows = {name: await users.by_username(connection, name) for name in PEOPLE}
    ids = {name: row.id for name, row in rows.items() if row is not None}
    if len(ids) == len(PEOPLE) and known:
        return SignIns(ids, _password(file))
    if ids and not known:
        raise StartupRefused(f"The demo's people exist but {file} is gone. Start with --no-demo or another --data.")
    signs = await _people(stores, settings, file, ids)
    await _stories(stores, signs.ids)
    return signs


async def seed_configured(settings: Settings) -> str:
    """`social seed`: the demo in the configured database; returns the sign-ins as text."""
    from social.process import require_stores

    require_stores(settings, "database_url", "redis_url")
    stores = Stores.open(settings)
    try:
        return (await seed(stores, settings)).text()
    finally:
        await stores.close()


async def _people(stores: Stores, settings: Settings, file: Path, ids: dict[str, int]) -> SignIns:
    password = _password(file)
    accounts = Accounts(stores, Passwords(2), session_days=settings.session_days)
    origin = Origin("demo", "127.0.0.1")
    try:
        for username, name in PEOPLE.items():
            if username not in ids:
                made = await accounts.sign_up(
                    username=username, password=password, name=name, email=None, origin=origin
                )
                ids[username] = int(made.user.id)
                opened = await accounts.authenticate(made.token)
                if opened is not None:  # nobody sits at this device
                    await accounts.sign_out(opened.user_id, opened.id)
    finally:
        accounts.close()
    names = sorted(ids)
    for index, a in enumerate(names):
        for b in names[index + 1 :]:
            if (a, b) not in STRANGERS:
                await friends.ask(stores, ids[a], ids[b])
                await friends.ask(stores, ids[b], ids[a])
    await friends.ask(stores, ids["yuki"], ids["ada"])
    return SignIns(ids, password)


def _password(file: Path) -> str:
    """The data folder's own password, made at the first call; readable by its owner only."""
    if file.exists():
        return str(orjson.loads(file.read_bytes())["password"])
    password = secrets.token_urlsafe(9)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(orjson.dumps({"password": password}))
    return password


async def _stories(stores: Stores, ids: dict[str, int]) -> None:
    made = [
        await posts.create(stores, ids[author], words=words, visibility=visibility, media=[], key=None)
        for author, words, visibility in POSTS
    ]
    for index, author, words, visibility in SHARES:
        await posts.share(stores, ids[author], int(made[index].id), words=words, visibility=visibility, key=None)
    for index, author, words in COMMENTS:
        await comments.create(stores, ids[author], int(made[index].id), words=words, key=None)
    for index, post in enumerate(made):
        for liker in sorted(ids)[: 2 + index % 4]:
            try:
                await likes.set_like(stores, ids[liker], int(post.id), active=True)
            except SocialError:
                log.debug("demo_like_skipped", liker=liker)  # a stranger to this author


class Bots:
    """Two friends of everybody who post, comment and like every few seconds."""

    def __init__(self, stores: Stores, signs: SignIns) -> None:
        self._stores = stores
        self._ids = [signs.ids[name] for name in BOTS]
        self._random = random.Random()  # noqa: S311 - a demo
        self._words: list[str] = []

    async def run(self) -> None:
        """Acts for ever."""
        while True:
            await asyncio.sleep(self._random.uniform(*PACE) / len(self._ids))
            await self._act(self._random.choice(self._ids))

    async def _act(self, bot: int) -> None:
        page = await feed_page.recent(self._stores, bot, cursor=None, limit=10)
        others = [post for post in page.items if post.author.id != str(bot)]
        choice = self._random.random()
        if choice < 0.3 or not others:
            words = self._next_words()
            await posts.create(self._stores, bot, words=words, visibility="public", media=[], key=None)
            await self._tidy(bot)
        elif choice < 0.6:
            post = self._random.choice(others[:4])
            await comments.create(self._stores, bot, int(post.id), words=self._random.choice(REPLIES), key=None)
        else:
            post = self._random.choice(others)
            await likes.set_like(self._stores, bot, int(post.id), active=not post.liked)

    def _next_words(self) -> str:
        """Every small thing once before any of them twice."""
        if not self._words:
            self._words = self._random.sample(SMALL_THINGS, len(SMALL_THINGS))
        return self._words.pop()

    async def _tidy(self, bot: int) -> None:
        page = await posts.of_person(self._stores, bot, bot, cursor=None, limit=KEPT + 1)
        for post in page.items[KEPT:]:
            await posts.delete(self._stores, bot, int(post.id))
