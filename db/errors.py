"""The one exception root, and the errors of the stores.

Every error that leaves a layer on purpose is a `SocialError`. It carries what an edge needs to answer with: a stable
snake_case `code`, a sentence that says what to do, and whether the same call may succeed later (`temporary`). The
HTTP status and the live error frame are derived from the class, once, in `realtime.problems`.
"""

from __future__ import annotations


class SocialError(Exception):
    """Root of everything that this product raises on purpose.

    `code` is part of the public contract, `detail` is shown to people: it says what to do next and holds no secret.
    """

    code = "internal"
    temporary = False

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class StoreUnavailable(SocialError):
    """A store did not answer, refused, or timed out. Nothing is known to be written; the caller may try again."""

    code = "store_unavailable"
    temporary = True

    def __init__(self, store: str, cause: str) -> None:
        super().__init__("The service cannot reach one of its stores. Try again in a few seconds.")
        self.store = store
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.store}: {self.cause}"


class OutcomeUnknown(StoreUnavailable):
    """COMMIT was sent and no answer came back: the write may or may not exist. An idempotency key resolves it."""

    code = "outcome_unknown"


class DuplicateKey(SocialError):
    """A unique constraint refused a row; `constraint` is its name where the engine tells it, else ''."""

    code = "duplicate_key"

    def __init__(self, constraint: str) -> None:
        super().__init__("This already exists.")
        self.constraint = constraint


class MissingParent(SocialError):
    """A foreign key refused a row: what it refers to does not exist (any more)."""

    code = "missing_parent"

    def __init__(self, detail: str = "What this refers to does not exist.") -> None:
        super().__init__(detail)


class StoreRefused(SocialError):
    """The store understood the statement and said no for a reason that a second try does not change: our own defect."""

    code = "store_refused"

    def __init__(self, store: str, cause: str) -> None:
        super().__init__("The service made a mistake. It has been recorded.")
        self.store = store
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.store}: {self.cause}"
