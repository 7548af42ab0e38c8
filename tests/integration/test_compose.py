"""What docker-compose.yml promises: a start in order, no open store, no default password.

Without Docker the file is read as YAML; where `docker compose` exists, it has to take the file as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from db.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
HEALTHY = {"condition": "service_healthy"}
DONE = {"condition": "service_completed_successfully"}
ONE_SHOT = {"migrate"}
WITHOUT_A_PORT = {"worker"}  # nobody calls it, so nobody can ask it how it is
SECRETS = {"MYSQL_PASSWORD", "MYSQL_ROOT_PASSWORD", "VALKEY_PASSWORD"}


def test_every_service_that_stays_says_how_it_is() -> None:
    for name in SERVICES.keys() - ONE_SHOT - WITHOUT_A_PORT:
        check = SERVICES[name]["healthcheck"]
        assert check["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert {"interval", "timeout", "retries", "start_period"} <= check.keys(), name


def test_nothing_starts_before_what_it_needs() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"mysql": HEALTHY}
    assert SERVICES["proxy"]["depends_on"] == {"web": HEALTHY}
    for name in ("web", "worker"):
        assert SERVICES[name]["depends_on"] == {
            "migrate": DONE,
            "mysql": HEALTHY,
            "valkey": HEALTHY,
            "objects": HEALTHY,
        }


def test_the_engines_are_set_up_as_the_product_needs_them() -> None:
    mysql, valkey = SERVICES["mysql"]["command"], SERVICES["valkey"]["command"]
    assert {"--transaction-isolation=READ-COMMITTED", "--innodb-lock-wait-timeout=3"} <= set(mysql)
    pairs = dict(zip(valkey[1::2], valkey[2::2], strict=True))
    assert (pairs["--save"], pairs["--appendonly"], pairs["--maxmemory-policy"]) == ("", "no", "noeviction")
    assert SERVICES["web"]["deploy"]["replicas"] == 2
    assert "version" not in FILE


def test_no_secret_has_a_default_and_each_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for secret in SECRETS:
        uses = re.findall(rf"\$\{{{secret}([^}}]*)\}}", TEXT)
        assert uses, secret
        assert all(use.startswith(":?") for use in uses), secret
        assert f"\n{secret}=\n" in example
    optional = set(re.findall(r"\$\{(\w+):?-", TEXT))
    assert optional == set(re.findall(r"^#(\w+)=", example, re.MULTILINE))


def test_every_setting_that_it_gives_is_one_that_the_product_knows() -> None:
    given = {name for name in FILE["x-app"]["environment"] if name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in given} <= Settings.model_fields.keys()


def test_the_stores_are_reached_from_inside_only() -> None:
    assert FILE["networks"]["stores"]["internal"] is True
    for name in ("mysql", "valkey"):
        assert SERVICES[name]["networks"] == ["stores"]
        assert "ports" not in SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["objects"]["ports"])


def test_our_own_containers_run_without_rights_on_a_root_that_cannot_be_written() -> None:
    for name in ("web", "worker", "migrate", "proxy", "valkey"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert "\nUSER 10001:10001\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_proxy_waits_longer_than_two_pings() -> None:
    conf = (ROOT / "infra" / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    waits = re.search(r"proxy_read_timeout (\d+)s;", conf)
    assert waits
    assert int(waits[1]) > 2 * Settings().ping_seconds


def compose(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith((PREFIX, "AWS_"))}
    return subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "-f", ROOT / "docker-compose.yml", *words],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_docker_compose_takes_the_file_and_asks_for_the_passwords() -> None:
    if shutil.which("docker") is None or compose("version").returncode:
        # Debian has no such package, so --all cannot ask for it; the file's structure is checked above all the same.
        pytest.skip("docker compose is not installed")
    refused = compose("config", "-q")
    assert refused.returncode != 0
    assert "Copy .env.example to .env and set" in refused.stderr
    taken = compose("config", "-q", **dict.fromkeys(SECRETS, "x"))
    assert (taken.returncode, taken.stderr) == (0, "")
