"""What the domain refuses, and why. Each class is one HTTP status (mapped in `realtime.problems`)."""

from __future__ import annotations

from db.errors import SocialError


class NotFound(SocialError):
    """Absent, or not for this viewer: the two answer alike."""

    code = "not_found"

    def __init__(self, what: str = "page") -> None:
        super().__init__(f"There is no such {what}, or you may not see it.")


class Fault(SocialError):
    """One wrong field: `pointer` is its JSON pointer."""

    code = "invalid"

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer = pointer


class Invalid(SocialError):
    """Fields that were understood but cannot be accepted; all faults at once."""

    code = "invalid"

    def __init__(self, faults: list[Fault], detail: str = "Some fields need a change. See `errors`.") -> None:
        super().__init__(detail)
        self.faults = faults


class Conflict(SocialError):
    """The state does not allow this: a taken username, a friend limit. `pointer` where one field is to blame."""

    code = "conflict"

    def __init__(self, detail: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.pointer = pointer


class Unauthenticated(SocialError):
    """No valid sign-in came with the request."""

    code = "unauthenticated"

    def __init__(self, detail: str = "Sign in to do this.", *, code: str | None = None) -> None:
        super().__init__(detail, code=code)


class Forbidden(SocialError):
    """Signed in, visible, but not allowed."""

    code = "forbidden"


class Disabled(SocialError):
    """The account is switched off by the operators."""

    code = "account_disabled"

    def __init__(self) -> None:
        super().__init__("This account is disabled. Write to the operators of this site if you think that is wrong.")


class TooMany(SocialError):
    """A rate limit; `retry_after` is in seconds."""

    code = "rate_limited"
    temporary = True

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many attempts. Wait {retry_after} seconds and try again.")
        self.retry_after = retry_after


class Busy(SocialError):
    """This process has no room for more of this now; `retry_after` is in seconds."""

    code = "busy"
    temporary = True

    def __init__(self, detail: str, retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
