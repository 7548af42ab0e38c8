"""The metrics as a whole: names, units, help, and a size that does not grow with what clients write."""

from __future__ import annotations

import re
from typing import Any

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from feed import metrics

OURS = [family for family in metrics.REGISTRY.collect() if family.name.startswith("social_")]
# What a name may end with that is no unit: a plain number of things that are there now.
COUNTED = {"sessions", "subscriptions", "streams", "pending", "parked"}
FORBIDDEN_LABELS = re.compile(r"user|session|address|ip|path|url|id$|stream|token|name")


def families() -> dict[str, Any]:
    body, _ = metrics.page()
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def test_what_is_not_ours_is_of_the_process_and_the_interpreter() -> None:
    foreign = {name.partition("_")[0] for name in families() if not name.startswith("social_")}
    assert foreign == {"process", "python"}


@pytest.mark.parametrize("family", OURS, ids=lambda family: family.name)
def test_names_have_one_form_and_base_units(family: Any) -> None:
    assert re.fullmatch(r"social(_[a-z]+)+", family.name), family.name
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|kilobytes|percent)(_|$)", family.name)
    assert len(family.documentation) > 10
    assert family.documentation.endswith(".")
    last = family.name.rpartition("_")[2]
    if family.type == "gauge":
        assert last in {"seconds", "bytes"} | COUNTED
    elif family.type == "histogram":
        assert last == "seconds"
    else:
        assert family.type in ("counter", "info")  # the format adds `_total` and `_info`
        assert not family.name.endswith("_total_total")


def test_every_metric_is_declared_with_labels_that_are_few() -> None:
    declared = [value for value in vars(metrics).values() if hasattr(value, "_labelnames")]
    assert len(declared) > 20
    for metric in declared:
        assert not [name for name in metric._labelnames if FORBIDDEN_LABELS.search(name)], metric


def test_the_package_s_global_registry_is_not_used() -> None:
    assert not [family for family in prometheus_client.REGISTRY.collect() if family.name.startswith("social_")]


def test_a_page_has_all_of_it_and_no_times_of_birth() -> None:
    body, content_type = metrics.page()
    assert content_type.startswith("text/plain; version=")
    named = {f"{family.name}_info" if family.type == "info" else family.name for family in OURS}
    assert named <= families().keys()
    assert b"_created" not in body
    assert b'social_build_info{python="' in body


def test_methods_that_a_client_invents_are_one_series() -> None:
    def series() -> int:
        return len(families()["social_http_requests"].samples)

    metrics.answered("BREW", "/coffee", 405, 0.01)
    before = series()
    for number in range(100):
        metrics.answered(f"BREW{number}", "/coffee", 405, 0.01)
    assert series() == before
    value = metrics.REGISTRY.get_sample_value
    labels = {"method": "other", "route": "/coffee", "status": "4xx"}
    assert value("social_http_requests_total", labels) == 101


def test_an_upgrade_is_counted_and_not_timed() -> None:
    metrics.answered("GET", "/upgrade", 101, 3600.0)
    value = metrics.REGISTRY.get_sample_value
    assert value("social_http_requests_total", {"method": "GET", "route": "/upgrade", "status": "1xx"}) == 1
    assert value("social_http_request_seconds_count", {"route": "/upgrade"}) is None
