"""The app in a browser: every tab runs it as a child, and textual-serve's terminal shows what it draws.

There is no log-in. What stands for one: the sockets are loopback's; the address has a key in it, which neither other
users of the machine nor other sites in the same browser know; and a request is answered only if its ``Host`` is a
name of loopback (a site that rebinds its own name to 127.0.0.1 sends its own name) and its ``Origin`` is this server.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import shlex
import signal
import socket
import string
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import textual_serve
from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from explorer.program import inherited_fds

from .complaints import Complaints

__all__ = ("AppServer", "serve_app")

_STATIC = Path(textual_serve.__file__).parent / "static"
_HOSTS = ("127.0.0.1", "::1", "localhost")
_MAX_TABS = 16
_MAX_MESSAGE = 1 << 20
_MAX_CELLS = 1000
_END_S = 5.0
_HEADERS = {
    # The terminal sets styles from its script; nothing is loaded from anywhere else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "font-src 'self'; img-src data:; connect-src 'self' ws://{host}; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tab(AppService):
    """The app behind one tab: a child, started without a shell."""

    def __init__(self, words: Sequence[str], websocket: web.WebSocketResponse) -> None:
        super().__init__(
            shlex.join(words),
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=self._close,
            download_manager=DownloadManager(),
        )
        self._words = words
        self._websocket = websocket

    async def _close(self) -> None:
        await self._websocket.close()

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        environment = self._build_environment(width, height)
        environment["TEXTUAL_DRIVER"] = "explorer.tui.web.driver:BrowserDriver"
        fds, said = inherited_fds()
        self._process = await asyncio.create_subprocess_exec(
            *self._words, stdin=pipe, stdout=pipe, stderr=pipe, env=environment | said, pass_fds=fds
        )
        self._stdin = self._process.stdin
        return self._process

    async def obey(self, text: str) -> None:
        """One message of the page: ``[kind, data]``. What is not understood is left out."""
        try:
            kind, *data = json.loads(text)
            if kind == "stdin":
                await self.send_bytes(str(data[0]).encode("utf-8", "replace"))
            elif kind == "resize":
                await self.set_terminal_size(cells(data[0]["width"], 80), cells(data[0]["height"], 24))
            elif kind == "ping":
                await self._websocket.send_json(["pong", str(data[0])])
            elif kind in ("focus", "blur"):
                await (self.focus() if kind == "focus" else self.blur())
        except (ValueError, TypeError, LookupError, RecursionError):
            return

    async def end(self) -> None:
        """End the child: asked to, then made to."""
        process = self._process
        if process is None:
            return
        try:
            await asyncio.wait_for(self.stop(), _END_S)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), _END_S)
                except TimeoutError:
                    process.kill()
                    await process.wait()


class AppServer:
    """Serves one command line of the app under one key."""

    def __init__(self, words: Sequence[str], key: str | None = None) -> None:
        self.key = key or secrets.token_urlsafe(16)
        self._words = tuple(words)
        self._tabs: set[web.WebSocketResponse] = set()
        self._page = string.Template((files(__package__) / "page.html").read_text("utf-8"))

    def make_app(self) -> web.Application:
        """The routes: a page, its websocket, and textual-serve's own static files, all behind the key."""
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_MESSAGE)
        app.router.add_get("/{key}/", self._index)
        app.router.add_get("/{key}/page.js", self._script)
        app.router.add_get("/{key}/ws", self._websocket)
        app.router.add_static(f"/{self.key}/static", _STATIC)
        app.on_shutdown.append(self._close_tabs)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        origin = request.headers.get("Origin")
        if not is_ours(host) or (origin is not None and origin != f"http://{host}"):
            raise web.HTTPForbidden(text="This is not the address that nullfs-explorer printed.\n")
        key = request.path.partition("/")[2].partition("/")[0]  # of "OPTIONS *" and CONNECT there is none
        if not hmac.compare_digest(key.encode("utf-8", "replace"), self.key.encode()):
            raise web.HTTPForbidden(
                text="Open the whole address that nullfs-explorer printed: it has a key.\n"
            )
        response = await handler(request)
        if not response.prepared:
            for name, value in _HEADERS.items():
                response.headers[name] = value.replace("{host}", host)
        return response

    async def _index(self, request: web.Request) -> web.Response:
        size = min(40, cells(request.query.get("fontsize"), 16))
        # Host has been checked: nothing of the request gets into the page unchecked.
        values: Mapping[str, object] = {"host": request.host, "key": self.key, "size": size}
        return web.Response(text=self._page.substitute(values), content_type="text/html")

    async def _script(self, request: web.Request) -> web.Response:
        text = (files(__package__) / "page.js").read_text("utf-8")
        return web.Response(text=text, content_type="text/javascript")

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        if request.headers.get("Origin") is None:
            raise web.HTTPForbidden(text="A browser says where it comes from.\n")
        if len(self._tabs) >= _MAX_TABS:
            raise web.HTTPServiceUnavailable(text=f"{_MAX_TABS} tabs are open already.\n")
        websocket = web.WebSocketResponse(heartbeat=15, max_msg_size=_MAX_MESSAGE)
        await websocket.prepare(request)
        self._tabs.add(websocket)
        tab = Tab(self._words, websocket)
        try:
            await tab.start(cells(request.query.get("width"), 80), cells(request.query.get("height"), 24))
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    await tab.obey(message.data)
        finally:
            self._tabs.discard(websocket)
            await tab.end()
        return websocket

    async def _close_tabs(self, app: web.Application) -> None:
        for websocket in list(self._tabs):
            await websocket.close()


def is_ours(host: str) -> bool:
    """Whether a ``Host`` header names loopback. Any port: it may be forwarded by ssh."""
    try:
        return urlsplit(f"//{host}").hostname in _HOSTS and not set(host) - _HOST_CHARACTERS
    except ValueError:
        return False


_HOST_CHARACTERS = set(string.ascii_letters + string.digits + ".:[]")


def cells(value: Any, otherwise: int) -> int:
    """A number of terminal cells that a browser sent, within reason."""
    try:
        return max(1, min(int(value), _MAX_CELLS))
    except (TypeError, ValueError, OverflowError):
        return otherwise


def serve_app(
    words: Sequence[str],
    sockets: Sequence[socket.socket],
    announce: Callable[[str], None],
    say: Callable[[str], None],
) -> int:
    """Serve until a signal ends it; the exit code.

    :param words: the command line of the app
    :param sockets: bound and listening, on loopback
    :param announce: told the address to open, once it works
    :param say: told, in a line, of what was refused
    """
    complaints = Complaints(say)

    async def run() -> None:
        server = AppServer(words)
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: complaints.add(type(context.get("exception")).__name__)
        )
        runner = web.AppRunner(
            server.make_app(), access_log=None, logger=complaints.logger(), shutdown_timeout=_END_S
        )
        await runner.setup()
        for bound in sockets:
            await web.SockSite(runner, bound).start()
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        host, port = sockets[0].getsockname()[:2]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/{server.key}/")
        await ended.wait()
        await runner.cleanup()

    # The children must not take the terminal's size for the tab's.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    asyncio.run(run())
    if complaints.count > 1:
        say(f"serve: {complaints.count} requests were refused")
    return 0
