"""The sitemap: every path on one page."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from feed.accounts import Device, SignedIn
from feed.feed_page import FeedPage
from feed.friends import FriendRequest, Friendship
from feed.likes import Liked
from feed.objects import Comment, Post, PostVersion, User
from feed.pages import MOST, Page
from feed.trending import Trending
from realtime.api import admin, documents, friends, me, operations, posts, sessions, users
from realtime.edge import EDGE
from realtime.endpoint import Route, endpoint
from realtime.live.events import serve_events
from realtime.problems import NoUpgrade

BASE = "/api/v1"
STATIC = Path(__file__).parent.parent / "static"
# The client routes these itself; each answers the same page.
PAGES = (
    "/",
    "/people",
    "/friends",
    "/search",
    "/tags/{tag}",
    r"/users/{id:\d+}",
    r"/posts/{id:\d+}",
    "/settings",
)

ROUTES = (
    Route("POST", "/users", users.sign_up, "Sign up", users.SignUp, SignedIn, 201, True, errors=(409, 429)),
    Route("GET", "/users", users.search, "Search people by name", reply=Page[User], paged=True, query=("q",)),
    Route("GET", "/users/{id}", users.show, "A person", reply=User, errors=(404,)),
    Route(
        "GET",
        "/users/{id}/posts",
        users.list_posts,
        "A person's visible posts, newest first",
        reply=Page[Post],
        paged=True,
        errors=(404,),
    ),
    Route("POST", "/sessions", sessions.open_session, "Sign in", sessions.SignIn, SignedIn, 201, True, errors=(429,)),
    Route("GET", "/sessions", sessions.list_sessions, "Devices that are signed in", reply=Page[Device]),
    Route("DELETE", "/sessions/current", sessions.end_current, "Sign out", status=204),
    Route("DELETE", "/sessions/{id}", sessions.end, "Sign a device out", status=204, errors=(404,)),
    Route("GET", "/me", me.show, "The caller", reply=me.Me),
    Route("PATCH", "/me", me.change, "Change one's profile", me.ChangeMe, me.Me, errors=(404,)),
    Route("DELETE", "/me", me.erase, "End one's account and remove everything", me.Erase, status=204),
    Route(
        "POST",
        "/me/password",
        me.change_password,
        "Change one's password; other sign-ins end",
        me.ChangePassword,
        status=204,
    ),
    Route("GET", "/me/export", me.export, "All that the caller owns, as JSON in a ZIP", reply=bytes),
    Route(
        "GET",
        "/friends",
        friends.list_friends,
        "Friends, and who of them is online",
        reply=Page[User],
        paged=True,
        live=True,
    ),
    Route(
        "PUT",
        "/friends/{id}",
        friends.ask,
        "Ask for friendship, or accept when asked",
        reply=Friendship,
        errors=(404, 409),
    ),
    Route("DELETE", "/friends/{id}", friends.remove, "Unfriend, withdraw or decline", status=204, errors=(404,)),
    Route(
        "GET",
        "/friend-requests",
        friends.list_requests,
        "Open requests in both directions",
        reply=Page[FriendRequest],
        paged=True,
    ),
    Route("GET", "/blocks", friends.list_blocks, "Those whom the caller blocks", reply=Page[User], paged=True),
    Route("PUT", "/blocks/{id}", friends.block, "Block a person", status=204, errors=(404,)),
    Route("DELETE", "/blocks/{id}", friends.unblock, "Take a block back", status=204, errors=(404,)),
    Route("POST", "/posts", posts.create, "Write a post", posts.NewPost, Post, 201, creates=True, errors=(404,)),
    Route(
        "GET",
        "/posts",
        posts.search,
        "Visible posts, newest first, by `q` (all of its words, the last one perhaps unfinished) or by `tag`",
        reply=Page[Post],
        paged=True,
        query=("q", "tag"),
    ),
    Route("GET", "/posts/{id}", posts.show, "A post", reply=Post, errors=(404,)),
    Route("PATCH", "/posts/{id}", posts.change, "Edit one's own post", posts.ChangePost, Post, errors=(403, 404)),
    Route("DELETE", "/posts/{id}", posts.delete, "Delete one's own post", status=204, errors=(403, 404)),
    Route(
        "POST",
        "/posts/{id}/shares",
        posts.share,
        "Share a post: an ordinary post with `shared`, which each viewer sees only if that one may",
        posts.NewShare,
        Post,
        201,
        creates=True,
        errors=(404,),
    ),
    Route(
        "GET",
        "/posts/{id}/history",
        posts.history,
        "What the edits of one's own post replaced, newest first",
        reply=Page[PostVersion],
        paged=True,
        errors=(403, 404),
    ),
    Route(
        "GET",
        "/posts/{id}/comments",
        posts.list_comments,
        "Comments, oldest first",
        reply=Page[Comment],
        paged=True,
        errors=(404,),
    ),
    Route(
        "POST",
        "/posts/{id}/comments",
        posts.comment,
        "Comment on a post",
        posts.NewComment,
        Comment,
        201,
        creates=True,
        errors=(404,),
    ),
    Route(
        "PATCH",
        "/comments/{id}",
        posts.change_comment,
        "Edit one's own comment",
        posts.NewComment,
        Comment,
        errors=(403, 404),
    ),
    Route("DELETE", "/comments/{id}", posts.delete_comment, "Delete a comment", status=204, errors=(403, 404)),
    Route("PUT", "/posts/{id}/like", posts.like, "Like a post", reply=Liked, errors=(404,)),
    Route("DELETE", "/posts/{id}/like", posts.unlike, "Take a like back", reply=Liked, errors=(404,)),
    Route(
        "GET", "/posts/{id}/likes", posts.list_likes, "Who likes a post", reply=Page[User], paged=True, errors=(404,)
    ),
    Route(
        "POST",
        "/live/typing",
        posts.typing,
        "Tell that the caller is writing a comment",
        posts.TypingOn,
        status=204,
        errors=(404,),
    ),
    Route(
        "GET",
        "/feed",
        posts.feed,
        "Posts of the viewer and friends, newest first; `order=top`: by rank, frozen for 10 min",
        reply=FeedPage,
        paged=True,
        live=True,
        query=("order",),
        validated=True,
    ),
    Route("GET", "/trending", posts.trends, "What trends, and why", reply=Trending, limited=MOST),
)


def mount(app: web.Application) -> None:
    """Adds every path to the application."""
    for route in ROUTES:
        app.router.add_route(route.method, BASE + route.path.replace("{id}", r"{id:[1-9]\d{0,15}}"), endpoint(route))
    app.router.add_get(f"{BASE}/live", live, allow_head=False)
    app.router.add_get(f"{BASE}/live/events", live_events, allow_head=False)
    app.router.add_get("/livez", operations.livez)
    app.router.add_get("/readyz", operations.readyz)
    app.router.add_get("/metrics", operations.metrics)
    app.router.add_route("*", f"{BASE}/admin/analytics", admin.analytics)
    app.router.add_route("*", "/admin", admin.page)
    app.router.add_get("/openapi.json", documents.openapi)
    app.router.add_get("/asyncapi.json", documents.asyncapi)
    app.router.add_get("/docs", documents.reference)
    for path in PAGES:
        app.router.add_get(path, page)
    app.router.add_get("/favicon.ico", favicon)
    app.router.add_static("/static/", STATIC)


async def live(request: web.Request) -> web.StreamResponse:
    """The websocket."""
    asked = request.headers.get("Upgrade", ""), request.headers.get("Sec-WebSocket-Version", "")
    if (asked[0].casefold(), asked[1]) != ("websocket", "13"):
        raise NoUpgrade("This path speaks the websocket protocol; ask for an upgrade.")
    return await request.app[EDGE].gateway.handle(request)


async def live_events(request: web.Request) -> web.StreamResponse:
    """The same streams as server-sent events."""
    return await serve_events(request.app[EDGE].gateway, request)


async def page(_request: web.Request) -> web.FileResponse:
    """The client; it reads the path itself."""
    return web.FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


async def favicon(_request: web.Request) -> web.FileResponse:
    """Browsers ask for it by this name."""
    return web.FileResponse(STATIC / "favicon.svg", headers={"Cache-Control": "max-age=86400"})
