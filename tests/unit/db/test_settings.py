"""file < environment < flags; what is unknown is refused; what is secret does not print."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from db.settings import FOREIGN, PREFIX, Settings, SettingsRefused, load

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "social.toml"
    path.write_text('host = "file"\nport = 1\nmax_sockets = 11\n', encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load() == Settings()


def test_flags_stand_above_the_environment_and_that_above_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIAL_HOST", "environment")
    monkeypatch.setenv("SOCIAL_PORT", "2")
    settings = load({"host": "flag"}, file=file)
    assert (settings.host, settings.port, settings.max_sockets) == ("flag", 2, 11)


def test_a_flag_that_was_not_given_changes_nothing(file: Path) -> None:
    assert load({"host": None, "port": None}, file=file).host == "file"


def test_a_flag_may_be_zero_or_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIAL_PORT", "5")
    monkeypatch.setenv("SOCIAL_LOG_JSON", "true")
    settings = load({"port": 0, "log_json": False})
    assert (settings.port, settings.log_json) == (0, False)


def test_the_environment_may_name_the_file_and_a_given_one_stands_above_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.toml"
    other.write_text('host = "other"\n', encoding="utf-8")
    monkeypatch.setenv("SOCIAL_CONFIG", str(other))
    assert load().host == "other"
    assert load(file=file).host == "file"


# --- refused ---------------------------------------------------------------------------------------------------------


def test_an_unknown_key_of_the_file_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "social.toml"
    path.write_text("prot = 1\n[section]\nx = 1\n", encoding="utf-8")
    with pytest.raises(SettingsRefused) as caught:
        load(file=path)
    assert all(word in caught.value.detail for word in ("prot", "section", str(path)))


def test_an_unknown_variable_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIAL_PROT", "1")
    with pytest.raises(SettingsRefused, match="SOCIAL_PROT"):
        load()


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(SettingsRefused, match=r"command line: prot"):
        load({"prot": 1})


def test_variables_of_the_launchers_and_of_others_are_not_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIAL_TEST_ALL", "1")
    monkeypatch.setenv("SOCIALITE", "1")
    monkeypatch.setenv("PORT", "1")
    assert load() == Settings()
    assert {"SOCIAL_CONFIG", "SOCIAL_TEST_ALL"} <= FOREIGN


@pytest.mark.parametrize("content", ["port = ", "port = 1\nport = 2", "\u0000"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "social.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsRefused, match="cannot be read"):
        load(file=path)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "social.toml"
    path.write_bytes(b'host = "\xff"\n')
    with pytest.raises(SettingsRefused, match="cannot be read"):
        load(file=path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="cannot be read"):
        load(file=tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70_000),
        ("port", "eighty"),
        ("database_pool", 0),
        ("session_days", 0),
        ("resume_window", 59),
        ("ping_seconds", 51),
        ("stream_items", 1),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "everybody"),
        ("operators", "localhost"),
        ("worker_metrics_port", 70_000),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(SettingsRefused, match=name):
        load({name: value})


def test_every_fault_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIAL_PORT", "x")
    with pytest.raises(SettingsRefused) as caught:
        load({"redis_pool": 1})
    assert "port" in caught.value.detail
    assert "redis_pool" in caught.value.detail


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["database_url", "replica_url", "redis_url"])
def test_a_secret_never_prints(name: str) -> None:
    settings = load({name: f"engine://root:{SECRET}@host/0"})
    assert getattr(settings, name).get_secret_value().count(SECRET) == 1
    for printed in (
        repr(settings),
        str(settings),
        f"{settings}",
        settings.model_dump_json(),
        str(settings.model_dump()),
    ):
        assert SECRET not in printed


def test_every_setting_that_holds_a_url_with_a_password_is_a_secret() -> None:
    urls = {name for name in Settings.model_fields if name.endswith("_url")} - {"public_url"}
    assert urls
    assert {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr} >= urls


def test_a_refusal_does_not_print_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIAL_PORT", SECRET)
    with pytest.raises(SettingsRefused) as caught:
        load()
    assert SECRET not in str(caught.value)


# --- what follows from them ------------------------------------------------------------------------------------------


def test_the_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_proxies_are_a_list_of_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIAL_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8,")
    assert [str(network) for network in load().trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]
    assert load({"trusted_proxies": ""}).trusted_proxies == ()


@pytest.mark.parametrize(
    ("public_url", "origin", "secure"),
    [
        ("", "http://127.0.0.1:8080", False),
        ("http://social.example/", "http://social.example", False),
        ("https://social.example", "https://social.example", True),
    ],
)
def test_the_origin_of_the_site(public_url: str, origin: str, secure: bool) -> None:
    settings = Settings(public_url=public_url)
    assert (settings.origin, settings.secure) == (origin, secure)


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
