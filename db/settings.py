"""The configuration: one frozen object, built once at the root from file < environment < flags.

Unknown keys are refused wherever they come from, because a misspelt setting that is silently ignored is found in
production. Secrets are `SecretStr` and never print. Nothing below the root reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from db.errors import SocialError

PREFIX = "SOCIAL_"
# Read by the launcher scripts and the test suite, not by the product.
FOREIGN = {"SOCIAL_CONFIG", "SOCIAL_TEST_ALL", "SOCIAL_TEST_FEED_SEED", "SOCIAL_TEST_FEED_STEPS"}


class SettingsRefused(SocialError):
    """A setting is unknown, malformed, or contradicts another one. `detail` is one line per fault."""

    code = "settings_refused"


class Settings(BaseModel):
    """Everything that differs between a laptop and a fleet. Durations are seconds, sizes are bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # where
    host: str = Field("127.0.0.1", description="Address that the web process listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port that the web process listens on; 0 takes a free one.")
    public_url: str = Field("", description="Scheme and host that browsers use; empty = http://host:port.")
    data: Path = Field(Path("data"), description="Folder of the embedded engines' state.")
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."
    )

    operators: tuple[IPv4Network | IPv6Network, ...] = Field(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        description="Networks that /metrics is shown to; empty = nobody.",
    )
    worker_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port on 127.0.0.1 where a worker process shows /metrics; 0 = none."
    )

    # stores; empty = embedded (`social up` only)
    database_url: SecretStr = Field(SecretStr(""), description="SQLAlchemy URL of the writer.")
    replica_url: SecretStr = Field(SecretStr(""), description="URL of a read replica; empty = the writer.")
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="redis://, rediss:// or unix:// URL of Redis or Valkey; of a cluster redis+cluster://host:port or "
        "rediss+cluster://host:port, any of its nodes.",
    )
    s3_endpoint: str = Field("", description="Endpoint of S3; empty = AWS itself.")
    uploads_bucket: str = Field("social-uploads-bucket", description="Bucket that clients upload into.")
    media_bucket: str = Field("social-media-bucket", description="Bucket that the CDN serves.")

    # sizes
    database_pool: int = Field(10, ge=1, le=200, description="SQL connections per process and engine.")
    redis_pool: int = Field(32, ge=2, le=500, description="Redis connections per process, and node of a cluster.")
    password_threads: int = Field(2, ge=1, le=64, description="Threads that hash passwords (19 MiB each).")
    max_sockets: int = Field(10_000, ge=1, description="Live connections of one process; more are refused with 503.")
    accepts_per_second: int = Field(1000, ge=1, description="New live connections a second; more are refused with 503.")
    max_sockets_per_user: int = Field(40, ge=1, description="Live connections of one user in one process.")

    # times
    session_days: float = Field(30.0, gt=0, description="Days until a sign-in expires.")
    resume_window: float = Field(3600.0, ge=60, le=43_200, description="How long a stream outlives its last listener.")
    stream_items: int = Field(512, ge=16, le=10_000, description="Items that a stream keeps for replay.")
    balancer_check: float = Field(
        0.0, ge=0, le=6, description="Interval of a balancer's health checks, waited for before a drain; 0 = none."
    )
    ping_seconds: int = Field(25, ge=1, le=50, description="Interval of live pings; half a balancer's idle time.")

    # limits per window, in the notation of the `limits` package
    sign_in_per_address: str = Field("30/minute", description="Sign-in attempts of one address.")
    sign_in_per_account: str = Field("10/minute", description="Sign-in attempts on one account.")
    sign_up_per_address: str = Field("20/hour", description="Accounts made from one address.")

    log_json: bool = Field(False, description="JSON log lines (production) instead of coloured ones.")

    @field_validator("trusted_proxies", "operators", mode="before")
    @classmethod
    def _split_networks(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def origin(self) -> str:
        """Scheme and host of the site, without a trailing slash: the only origin whose cookie is believed."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @property
    def secure(self) -> bool:
        """True when browsers reach the site over TLS: cookies then carry `Secure` and the `__Host-` prefix."""
        return self.origin.startswith("https://")


def load(flags: dict[str, Any] | None = None, *, file: Path | None = None) -> Settings:
    """Builds the settings from `file` (TOML; default $SOCIAL_CONFIG) < environment < `flags` (None = not given).

    Raises SettingsRefused naming each unknown or malformed key, and where it stands.
    """
    values: dict[str, Any] = {}
    path = file or (Path(os.environ["SOCIAL_CONFIG"]) if os.environ.get("SOCIAL_CONFIG") else None)
    if path is not None:
        try:
            values.update(tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsRefused(f"The settings file {path} cannot be read: {error}") from error
        _refuse_unknown(values, str(path))
    environment = {
        name.removeprefix(PREFIX).lower(): text
        for name, text in os.environ.items()
        if name.startswith(PREFIX) and name not in FOREIGN
    }
    _refuse_unknown(environment, "the environment", prefix=PREFIX)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    _refuse_unknown(given, "the command line")
    try:
        return Settings(**{**values, **environment, **given})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsRefused(f"Settings refused: {faults}") from error


def _refuse_unknown(values: dict[str, Any], where: str, *, prefix: str = "") -> None:
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        names = ", ".join(f"{prefix}{name.upper()}" if prefix else name for name in unknown)
        raise SettingsRefused(f"Unknown setting in {where}: {names}. `social settings` lists the known ones.")
