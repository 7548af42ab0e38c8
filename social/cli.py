"""`social`: one command line, the same on a laptop and in production.

Each command builds the settings (file < environment < flags), calls one function, and turns a refusal into one
sentence and a non-zero exit. Imports stand inside the commands, so that `--help` stays quick.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from db.errors import SocialError
from db.settings import Settings, load

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Realtime feeds and notifications: `social up` runs everything, the others run one part each.",
)
bench = typer.Typer(no_args_is_help=True, help="Benchmarks: they print figures, and prove nothing by passing.")
app.add_typer(bench, name="bench")
outbox = typer.Typer(no_args_is_help=True, help="The work that commits promised: what waits, what was parked and why.")
app.add_typer(outbox, name="outbox")
people = typer.Typer(no_args_is_help=True, help="Accounts, as operators see them.")
app.add_typer(people, name="people")
trending = typer.Typer(no_args_is_help=True, help="What trends.")
app.add_typer(trending, name="trending")

Config = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML); default $SOCIAL_CONFIG.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
DAY = ["%Y-%m-%d"]
Engines = Annotated[
    str, typer.Option(help="`embedded`: a Valkey and an SQLite file of its own; `system`: a private MariaDB and Redis.")
]
Data = Annotated[Path | None, typer.Option(help="Folder that holds all state of the embedded engines.")]


@app.command()
def up(
    port: Port = None,
    data: Data = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="People, posts and bots to look at.")] = True,
    host: Host = None,
    config: Config = None,
) -> None:
    """Run every part in this process, with embedded engines where no URL is set."""
    from social.up import run

    settings = load({"host": host, "port": port, "data": data}, file=config)
    _logging(settings)
    run(settings, demo=demo)


@app.command()
def web(port: Port = None, host: Host = None, config: Config = None) -> None:
    """Run one edge process: HTTP and live connections."""
    from social.process import run_web

    settings = load({"host": host, "port": port}, file=config)
    _logging(settings)
    run_web(settings)


@app.command()
def worker(config: Config = None) -> None:
    """Run one worker process: the outbox and what is scheduled."""
    from social.process import run_worker

    settings = load(file=config)
    _logging(settings)
    run_worker(settings)


@app.command()
def migrate(config: Config = None) -> None:
    """Bring the database to the newest schema."""
    from db.migrate import migrate as upgrade
    from social.process import require_stores

    settings = load(file=config)
    require_stores(settings, "database_url")
    _run(upgrade(settings.database_url.get_secret_value()))
    typer.echo("The schema is up to date.")


@app.command()
def seed(
    data: Data = None,
    config: Config = None,
) -> None:
    """Fill the configured database with the demo's people, friendships, posts, comments and likes."""
    from social.demo import seed_configured

    settings = load({"data": data}, file=config)
    _logging(settings)
    typer.echo(_run(seed_configured(settings)))


@app.command()
def doctor(config: Config = None) -> None:
    """Check the settings and every store that they name; exit 1 when one is ill."""
    from social.doctor import examine

    findings = _run(examine(load(file=config)))
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.healthy else 'ILL '} {finding.part:<10} {finding.text}")
    if not all(finding.healthy for finding in findings):
        raise typer.Exit(1)


@app.command()
def settings() -> None:
    """List every setting: its variable, its default, what it means."""
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        if isinstance(shown, tuple):
            shown = ",".join(map(str, shown))  # as it is written
        typer.echo(f"SOCIAL_{name.upper():<24} {shown!s:<24} {field.description}")


@app.command()
def why(
    user: Annotated[str, typer.Option(help="Whose feed: a username or an id.")],
    post: Annotated[int, typer.Option(min=1, max=2**53 - 1, help="The post's id.")],
    config: Config = None,
) -> None:
    """Say why a post is, or is not, in somebody's feed; exit 1 when there is no such user or post."""
    from social.why import why as explain

    typer.echo("\n".join(_run(explain(load(file=config), user, post))))


@app.command()
def audit(
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="How much of everything is compared; 1 = all.")] = 0.01,
    config: Config = None,
) -> None:
    """Compare counters with their rows, now; repair what differs."""
    from social.audit import report

    settings = load(file=config)
    _logging(settings)
    typer.echo("\n".join(_run(report(settings, share))))


@people.command()
def disable(username: str, config: Config = None) -> None:
    """Switch an account off: hidden from everybody, its connections closed within a second."""
    from social.people import disable as switch_off

    _run(switch_off(load(file=config), username))


@people.command()
def enable(username: str, config: Config = None) -> None:
    """Switch a disabled account on again."""
    from social.people import enable as switch_on

    _run(switch_on(load(file=config), username))


@trending.command("refresh")
def refresh_trending(config: Config = None) -> None:
    """Work out what trends now, without waiting for the full hour."""
    from social.schedule import refresh_trending as refresh

    typer.echo(_run(refresh(load(file=config))))


@app.command()
def analytics(
    day: Annotated[datetime | None, typer.Option(formats=DAY, help="One day (UTC).")] = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=DAY, help="First day of a range.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=DAY, help="Last day; default: yesterday.")] = None,
    config: Config = None,
) -> None:
    """Count what days came to, anew; without a day, yesterday."""
    from social.schedule import count_days

    if day is not None and (first is not None or last is not None):
        raise typer.BadParameter("A day or a range, not both.", param_hint="--day")
    if last is not None and first is None:
        raise typer.BadParameter("Say where the range begins.", param_hint="--from")
    days = [moment.date() if moment else None for moment in (day or first, day or last)]
    typer.echo(_run(count_days(load(file=config), *days)))


@app.command()
def chaos(
    seed: Annotated[int | None, typer.Option(help="Repeats a run's schedule; without one a new seed is drawn.")] = None,
    minutes: Annotated[float, typer.Option(min=0.3, max=600, help="How long faults strike.")] = 2.0,
    engines: Annotated[str, typer.Option(help="`embedded` (social up) or `system` (MariaDB, Redis, processes).")] = "",
    fault: Annotated[
        list[str] | None, typer.Option(help="Only this fault, by number or name; may be repeated.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder for logs and ledger, kept whatever happens.")] = None,
) -> None:
    """Break everything, on private engines, while people write and read; exit 1 when anything came through wrong."""
    from social.chaos.run import Plan, execute

    if engines not in ("", "embedded", "system"):
        raise typer.BadParameter(
            "`embedded` or `system`; both, one after the other, without it.", param_hint="--engines"
        )
    chosen = seed if seed is not None else secrets.randbelow(1_000_000)
    failed = False
    for one in (engines,) if engines else ("embedded", "system"):
        plan = Plan(chosen, minutes, one, tuple(fault or ()))
        failed |= not execute(plan, typer.echo, keep=keep / one if keep else None).passed
    if failed:
        raise typer.Exit(1)


@outbox.command("list")
def list_tasks(
    state: Annotated[str, typer.Option(help="`parked` or `pending`.")] = "parked", config: Config = None
) -> None:
    """List the oldest rows: id, aggregate, job, attempts, when it was made, its fault."""
    from social.tasks import listing

    if state not in ("parked", "pending"):
        raise typer.BadParameter("`parked` or `pending`.", param_hint="--state")
    lines = _run(listing(load(file=config), state=state))
    typer.echo("\n".join(lines) if lines else f"Nothing is {state}.")


@outbox.command("retry")
def retry_task(task: Annotated[int, typer.Argument(help="The row's id.")], config: Config = None) -> None:
    """Make a parked or waiting row due now, its attempts forgotten."""
    from social.tasks import change

    _run(change(load(file=config), task, drop=False))


@outbox.command("drop")
def drop_task(task: Annotated[int, typer.Argument(help="The row's id.")], config: Config = None) -> None:
    """Give a parked or waiting row up: it counts as done, and what stands behind it goes on."""
    from social.tasks import change

    _run(change(load(file=config), task, drop=True))


@bench.command()
def hello(
    posts: Annotated[int, typer.Option(min=10, help="Posts to measure.")] = 300,
    pause: Annotated[float, typer.Option(help="Seconds between two posts.")] = 0.02,
) -> None:
    """Commit -> frame in a friend's open socket: one process, embedded engines, p50 and p99."""
    from social.bench.hello import hello as measure

    _logging(load())
    typer.echo(measure(posts=posts, pause=pause))


@bench.command()
def resume(
    clients: Annotated[int, typer.Option(min=1, help="Clients of the node.")] = 5000,
    streams: Annotated[
        Literal["distinct", "shared"], typer.Option(help="Each their own, or one for all.")
    ] = "distinct",
    within: Annotated[float, typer.Option(min=0, help="Seconds over which they come back.")] = 10.0,
    behind: Annotated[int, typer.Option(min=0, help="Items that each has missed.")] = 5,
    engines: Engines = "embedded",
    profile: Annotated[
        Path | None, typer.Option(resolve_path=True, help="Write the node's sampled stacks here, and show their top.")
    ] = None,
) -> None:
    """All clients of a node are cut and come back: how long, and how many SQL statements it costs."""
    from social.bench.resume import run

    _logging(load())
    _bench(run(clients=clients, streams=streams, within=within, behind=behind, engines=engines, profile=profile))


@bench.command()
def feed(
    part: Annotated[
        list[str] | None,
        typer.Option(help="Only `page`, `rebuild`, `fan-out`, `visible`, `beside` or `memory`; may be repeated."),
    ] = None,
    posts: Annotated[int, typer.Option(min=10_000, help="Posts in the database.")] = 200_000,
    pages: Annotated[int, typer.Option(min=100, help="Warm pages; half as many rebuilds.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Of fan-outs, and of small posts beside large ones.")] = 5,
    samples: Annotated[int, typer.Option(min=10, help="Posts of each size that are waited for.")] = 100,
    profile: Annotated[
        Path | None, typer.Option(resolve_path=True, help="Write sampled stacks of one part here, and show their top.")
    ] = None,
) -> None:
    """Pages, rebuilds, fan-out, commit -> visible on a private MariaDB and Redis, beside their bare operations."""
    from social.bench.feed import PARTS, Plan, run

    parts = part or list(PARTS)
    if not PARTS.keys() >= set(parts):
        raise typer.BadParameter(f"One of {', '.join(PARTS)}.", param_hint="--part")
    if profile is not None and len(parts) != 1:
        raise typer.BadParameter("A profile is of one --part.", param_hint="--profile")
    _logging(load())
    plan = Plan(parts, posts=posts, pages=pages, rounds=rounds, samples=samples, profile=profile)
    _bench(run(plan, typer.echo))


@bench.command()
def stalled(
    readers: Annotated[int, typer.Option(min=2, help="Readers of the node.")] = 1000,
    share: Annotated[float, typer.Option(min=0, max=1, help="How many of them stop reading.")] = 0.1,
    rate: Annotated[float, typer.Option(min=0.1, help="Items per second.")] = 4.0,
    size: Annotated[int, typer.Option(min=0, max=7900, help="Bytes of an item's text.")] = 6000,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each phase.")] = 16.0,
    pairs: Annotated[int, typer.Option(min=1, help="Quiet and stalled phases, in turn.")] = 4,
    streams: Annotated[Literal["shared", "distinct"], typer.Option(help="One for all, or each their own.")] = "shared",
    engines: Engines = "embedded",
) -> None:
    """Some readers stop reading: how much later the others get their frames."""
    from social.bench.stalled import run

    _logging(load())
    _bench(
        run(
            readers=readers,
            share=share,
            rate=rate,
            size=size,
            seconds=seconds,
            pairs=pairs,
            streams=streams,
            engines=engines,
        )
    )


@bench.command()
def likes(
    people: Annotated[int, typer.Option(min=1, help="People, each with one like.")] = 10_000,
    at_once: Annotated[int, typer.Option(min=1, help="Requests on their way at any time.")] = 32,
    engines: Engines = "system",
) -> None:
    """Many people like one post as fast as they can: likes/s, counter updates/s, and when the counter is exact."""
    from social.bench.likes import run

    _logging(load())
    _bench(run(count=people, at_once=at_once, engines=engines))


@bench.command("trending")
def bench_trending(
    interactions: Annotated[int, typer.Option(min=1000, help="Likes, comments and shares of the window.")] = 1_000_000,
) -> None:
    """What trends, worked out from nothing and an hour later: seconds, and how many times the bare SQL."""
    from social.bench.trending import run

    _logging(load())
    _bench(run(interactions=interactions))


def main() -> None:
    """The entry point: one sentence for what is refused, a traceback only for our own mistakes."""
    try:
        app()
    except SocialError as error:
        typer.echo(f"social: {error.detail}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        typer.echo(f"social: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
        sys.exit(1)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def _bench(work: Coroutine[Any, Any, str]) -> None:
    """On the loop that the product runs on: the client must not be the slower side."""
    from social.process import loop_run, stop_signal

    async def measure() -> None:
        task = asyncio.ensure_future(work)
        stopped = asyncio.create_task(stop_signal().wait())
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            return typer.echo(task.result())
        task.cancel()  # it takes its engines and folders away
        await asyncio.wait([task])
        return None

    loop_run(measure())


def _logging(settings: Settings) -> None:
    from social.logs import configure

    configure(json=settings.log_json)


if __name__ == "__main__":
    main()
