"""Who sent this request: a bearer token, else the cookie with proof that our own page sent it."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import hdrs, web

from db.settings import Settings
from realtime.problems import BadRequest, NotSameSite

SAFE = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS}
OUR_SITES = ("same-origin", "same-site")
URL_TOKENS = {"token", "access_token", "session"}


def cookie_name(settings: Settings) -> str:
    """`__Host-` binds the cookie to the host, its root path and TLS; browsers refuse it on plain HTTP."""
    return "__Host-session" if settings.secure else "session"


def token_of(request: web.Request, settings: Settings) -> tuple[str | None, bool]:
    """(token, came by cookie). Raises BadRequest for a token in the URL: URLs end up in logs and histories."""
    if URL_TOKENS & set(request.query):
        raise BadRequest("A session token must not stand in a URL. Send it as `Authorization: Bearer`.")
    scheme, _, value = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.casefold() == "bearer" and value.strip():
        return value.strip(), False
    return request.cookies.get(cookie_name(settings)) or None, True


def require_same_site(request: web.Request, settings: Settings, *, proof: bool = True) -> None:
    """Raises NotSameSite unless `Sec-Fetch-Site` or `Origin` proves that our own page sent this.

    Without `proof` it is enough that neither of them says the contrary: a sign-in carries no cookie yet, but a
    foreign page must not sign a visitor in as somebody else.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get(hdrs.ORIGIN)
    foreign = (origin is not None and not _is_ours(origin, request, settings)) or site not in (None, *OUR_SITES)
    if foreign or (proof and origin is None and site is None):
        raise NotSameSite(
            "This request does not prove that it comes from our own page. Send a bearer token instead of the cookie."
        )


def _is_ours(origin: str, request: web.Request, settings: Settings) -> bool:
    """Exact comparison of scheme, host and port. Without a configured site, the host that was asked for is ours:
    cookies are bound to their host, so a name that was rebound to us has none."""
    if settings.public_url:
        return origin == settings.origin
    parts = urlsplit(origin)
    return parts.scheme == "http" and parts.netloc == request.headers.get(hdrs.HOST)
