"""The engines that `social up` brings along: a real Valkey as a child, S3 and SQS in a thread, and the data folder.

Owns their start, their end, and what they keep under the data folder (`run/`, `valkey.log`, `objects/`, `lock`). It
never decides which engine is used and never speaks for the product: the caller gets URLs, as from any other engine.
"""

from __future__ import annotations

from db.errors import SocialError


class StartupRefused(SocialError):
    """The service must not start like this. The sentence in `detail` says why, and what to do about it."""

    code = "startup_refused"


class EngineMissing(SocialError):
    """No program of this engine is installed; the caller may fall back to another engine."""

    code = "engine_missing"


class EngineFailed(SocialError):
    """The engine's program is there but did not become ready; `detail` ends with the last words of its log."""

    code = "engine_failed"
