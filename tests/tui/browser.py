"""A headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

__all__ = ("Browser", "chromium", "open_browser")

PATIENCE_S = 30.0


def chromium() -> str:
    """Chromium's command. :raises FileNotFoundError: if there is none: a test without it fails, it is not skipped"""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise FileNotFoundError("chromium is missing: tests/host-tools.sh chromium installs it")
    return found


#: Keys that are no character, by their name: their code, and what they type.
_NAMED_KEYS = {"Enter": (13, "\r"), "Backspace": (8, "")}


class Browser:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def listen(self) -> None:
        """Take what the browser sends, until it is closed."""
        async for message in self._socket:
            found = json.loads(message.data)
            if "id" in found:
                self._waiting.pop(found["id"]).set_result(found)
            else:
                self.events.append((found["method"], found["params"]))

    async def __call__(self, method: str, **values: Any) -> dict[str, Any]:
        """One command of the protocol."""
        self._number += 1
        answer = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": values})
        found = await asyncio.wait_for(answer, PATIENCE_S)
        assert "error" not in found, (method, found)
        result: dict[str, Any] = found["result"]
        return result

    async def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, key: str) -> None:
        """Type one character."""
        code, text = _NAMED_KEYS.get(key, (0, key))
        what = {"text": text} if text else {}
        await self("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **what)
        await self("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def picture(self) -> bytes:
        """The page as PNG."""
        answer = await self("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def until(self, script: str, met: Callable[[Any], bool]) -> Any:
        """The value of an expression, as soon as it is as it should be."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not met(found := await self.ask(script)):
            assert asyncio.get_running_loop().time() < deadline, found
            await asyncio.sleep(0.1)
        return found

    def seen(self, method: str) -> list[dict[str, Any]]:
        """What was reported so far."""
        return [values for name, values in self.events if name == method]


@asynccontextmanager
async def open_browser(home: Path, size: tuple[int, int]) -> AsyncIterator[Browser]:
    """A browser with one empty tab of ``size`` pixels, and a profile of its own in ``home``."""
    command = [
        chromium(),
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--remote-debugging-port=0",
        f"--user-data-dir={home}",
        f"--window-size={size[0]},{size[1]}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        "about:blank",
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port = await _port(home / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                tabs = await answer.json()
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                browser = Browser(socket)
                listening = asyncio.create_task(browser.listen())
                yield browser
                listening.cancel()
    finally:
        process.terminate()
        await process.wait()


async def _port(file: Path) -> int:
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not file.exists() or not file.read_text():
        assert asyncio.get_running_loop().time() < deadline, "chromium does not start"
        await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])
