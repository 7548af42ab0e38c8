"""Every metric of the product, on one page. What happens elsewhere is counted here: `metrics.LIVE_RESYNCS.inc()`.

Names begin with `social_` and end with their base unit (`_seconds`, `_bytes`) or, for counters, `_total`. Labels take
few values, all known beforehand: never an id, an address or a raw path. The registry is our own, so that a test or a
library that uses the package's global one meets nothing of ours. In `social up` the edge and the worker share it.
"""

from __future__ import annotations

import math
import platform
from importlib.metadata import PackageNotFoundError, version

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

# a time of birth for each series would double the page
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
prometheus_client.ProcessCollector(registry=REGISTRY)
prometheus_client.PlatformCollector(registry=REGISTRY)
prometheus_client.GCCollector(registry=REGISTRY)

# Upper bounds in seconds.
HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
DELIVERY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
JOB_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
PROBE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

OTHER = "other"  # the label of what is not among the known values
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"social_{name}", text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"social_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"social_{name}", text, labels, buckets=buckets, registry=REGISTRY)


# --- live connections ------------------------------------------------------------------------------------------------

LIVE_SESSIONS = _gauge("live_sessions", "Live connections that are open.")
LIVE_SUBSCRIPTIONS = _gauge("live_subscriptions", "Subscriptions of all live connections.")
LIVE_STREAMS = _gauge("live_streams", "Streams that have a subscription in this process.")
LIVE_QUEUE = _gauge("live_queue_bytes", "Bytes that wait in this process for all sockets together.")
LIVE_LARGEST_QUEUE = _gauge("live_largest_queue_bytes", "Bytes that wait in this process for the slowest socket.")
LIVE_GAPS = _counter("live_gaps_total", "Holes that were seen between two offsets of a stream.")
LIVE_RESYNCS = _counter("live_resyncs_total", "Resyncs that clients were told.", "reason")
LIVE_REPLAYS = _counter(
    "live_replays_total", "Joins from a position: replayed from memory, from the log, not_recovered.", "result"
)
LIVE_CLOSES = _counter("live_closes_total", "Connections closed, by the code of their close frame.", "code")
LIVE_REFUSED = _counter("live_refused_total", "Connections that were not taken.", "reason")
COMMIT_TO_FRAME = _histogram(
    "live_commit_to_frame_seconds", "From an event's time to its frame's queueing here.", DELIVERY_BUCKETS
)

# --- the way from Redis ----------------------------------------------------------------------------------------------

INBOX_MESSAGES = _counter("inbox_messages_total", "Messages read from this node's channel.")
INBOX_DEAF = _counter("inbox_deaf_total", "Times that this node's channel was found silent and subscribed anew.")
INBOX_PROBE = _histogram(
    "inbox_probe_seconds", "From the publishing of a probe to this node's hearing of it.", PROBE_BUCKETS
)
REVOCATIONS_POLL_AGE = _gauge("revocations_poll_age_seconds", "Time since revocations were last read.")

# --- feeds -----------------------------------------------------------------------------------------------------------

FEED_READS = _counter(
    "feed_reads_total",
    "Reads of feeds by their timeline: warm; built for it; read beside somebody who builds it; workers are behind.",
    "timeline",
)

# --- the process -----------------------------------------------------------------------------------------------------

LOOP_LAG = _histogram("event_loop_lag_seconds", "How late a short sleep woke up.", LAG_BUCKETS)
HTTP_REQUESTS = _counter("http_requests_total", "Requests answered.", "method", "route", "status")
HTTP_SECONDS = _histogram("http_request_seconds", "Time until the answer was made.", HTTP_BUCKETS, "route")

# --- the schedule ----------------------------------------------------------------------------------------------------

SCHEDULED_RUNS = _counter("scheduled_runs_total", "Runs of scheduled jobs: done, put_off, failed.", "job", "result")
SCHEDULED_SECONDS = _histogram("scheduled_run_seconds", "How long the runs took.", JOB_BUCKETS, "job")
USAGE_LOST = _counter("usage_lost_total", "People and deliveries that the daily figures will lack: memory was full.")

# --- the outbox: one for all processes, so take the largest over them, never the sum ---------------------------------

OUTBOX_OLDEST = _gauge("outbox_oldest_seconds", "Age of the oldest pending row; NaN while it is not known.")
OUTBOX_PENDING = _gauge("outbox_pending", "Rows that wait; NaN while it is not known.")
OUTBOX_PARKED = _gauge("outbox_parked", "Rows that an operator has to look at; NaN while it is not known.")


# --- the auditor ------------------------------------------------------------------------------------------------------

AUDIT_CHECKED = _counter("audit_checked_total", "Objects compared with the rows that they are derived from.", "kind")
AUDIT_DRIFT = _counter("audit_drift_total", "Objects that were found to be wrong.", "kind")


def outbox_seen(*, oldest: float, pending: float, parked: float) -> None:
    """Sets what a look at the outbox found: seconds and counts."""
    OUTBOX_OLDEST.set(oldest)
    OUTBOX_PENDING.set(pending)
    OUTBOX_PARKED.set(parked)


def outbox_unknown() -> None:
    """Takes back what the last look found: an old number would look like a good one."""
    outbox_seen(oldest=math.nan, pending=math.nan, parked=math.nan)


def scheduled(job: str, result: str, seconds: float) -> None:
    """Counts a run of a scheduled job that ended as `done`, `put_off` (a store did not answer) or `failed`."""
    SCHEDULED_RUNS.labels(job, result).inc()
    SCHEDULED_SECONDS.labels(job).observe(seconds)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Counts an HTTP answer. `route` is a template of the sitemap. An upgrade (101) lasts for hours: not timed."""
    known = method if method in METHODS else OTHER
    HTTP_REQUESTS.labels(known, route, f"{status // 100}xx").inc()
    if status != 101:
        HTTP_SECONDS.labels(route).observe(seconds)


def page() -> tuple[bytes, str]:
    """(the registry in Prometheus' text format, its content type)."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def _version() -> str:
    try:
        return version("social-realtime")
    except PackageNotFoundError:  # run from a checkout
        return "unknown"


outbox_unknown()
Info("social_build", "What runs here.", registry=REGISTRY).info(
    {"version": _version(), "python": platform.python_version()}
)
