"""``serve``: the real program in a real browser; and who is refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from explorer.cli.commands.serve import is_loopback
from explorer.codec import load_baseline, load_snapshot
from explorer.tui.web.server import AppServer, is_ours
from tests.conftest import Run
from tests.fleets import make_snapshots
from tests.tui.browser import Browser, open_browser
from tests.tui.conftest import SAVED
from tests.tui.test_terminal import ROOT, environment

COMMAND = (sys.executable, "-m", "explorer")
PATIENCE_S = 30.0
#: The page's terminal is nobody's but its script's; this takes hold of it when it is made.
HOOK = """
Object.defineProperty(Object.prototype, "fitAddon", {configurable: true, set(value) {
  Object.defineProperty(this, "fitAddon", {value, writable: true, configurable: true});
  window.shown = this;
}});
"""
#: What the terminal in the page shows, as text.
SCREEN = """(() => {
  const buffer = window.shown?.terminal?.buffer?.active;
  if (!buffer) return "";
  const lines = [];
  for (let at = 0; at < window.shown.terminal.rows; at++)
    lines.push(buffer.getLine(at)?.translateToString(true, 0, window.shown.terminal.cols) ?? "");
  return lines.join("\\n");
})()"""


class Served:
    """``serve`` as a process, and the address that it printed."""

    def __init__(self, home: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", *words],
            env=environment(home),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.url

    def children(self) -> list[int]:
        """The apps, one for a tab."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path / "home", str(SAVED))
    yield server
    server.end(signal.SIGKILL)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_browser(home: Path, steps: Callable[[Browser], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with open_browser(home, (1200, 720)) as browser:
            for domain in ("Page", "Network", "Runtime", "Log"):
                await browser(f"{domain}.enable")
            await browser("Page.addScriptToEvaluateOnNewDocument", source=HOOK)
            await steps(browser)

    asyncio.run(run())


def test_a_browser_shows_the_app_obeys_its_keys_and_loads_nothing_from_elsewhere(
    served: Served, tmp_path: Path
) -> None:
    async def steps(browser: Browser) -> None:
        await browser("Page.navigate", url=served.url)
        overview = await browser.until(SCREEN, lambda text: "ISOLATED" in text and "q Quit" in text)
        assert "userspace_init_fs" in overview and "╭" in overview
        await browser.until("document.querySelector('canvas') !== null", bool)
        before = await browser.picture()
        await browser.press("t")
        tasks = await browser.until(SCREEN, lambda text: "FS_STRUCT" in text)
        assert "ISOLATED" not in tasks
        await asyncio.sleep(0.3)  # for the fade and the canvas
        after = await browser.picture()
        assert min(len(before), len(after)) > 20_000 and before != after
        for name, picture in (("overview", before), ("tasks", after)):
            (tmp_path / f"{name}.png").write_bytes(picture)
        await browser(
            "Emulation.setDeviceMetricsOverride", width=900, height=500, deviceScaleFactor=1, mobile=False
        )
        narrow = await browser.until(SCREEN, lambda text: "q Quit" in text and len(text.split("\n")) < 35)
        assert "FS_STRUCT" in narrow
        assert len(served.children()) == 1
        complaints = [each["entry"] for each in browser.seen("Log.entryAdded")]
        assert not [each for each in complaints if each["level"] == "error"], complaints
        assert not browser.seen("Runtime.exceptionThrown")
        await browser.press("q")
        await browser.until("document.body.classList.contains('-closed')", bool)
        asked = [found["request"]["url"] for found in browser.seen("Network.requestWillBeSent")]
        assert asked and all(url.startswith((served.url, "data:")) for url in asked), asked

    in_browser(tmp_path / "profile", steps)
    wait_until(lambda: not served.children())


def test_a_fleet_in_a_browser_opens_a_target_and_comes_back_from_it(tmp_path: Path) -> None:
    files, fleet = tmp_path / "files", tmp_path / "fleet"
    files.mkdir()
    make_snapshots(files, 4, {"saved": load_snapshot(SAVED)})
    run = [*COMMAND, "fleet", "run", str(files), "-o", str(fleet), "--keep-snapshots", "--workers", "1"]
    subprocess.run(run, env=environment(tmp_path / "home"), cwd=ROOT, check=True, capture_output=True)
    server = Served(tmp_path / "home", str(fleet))

    async def steps(browser: Browser) -> None:
        await browser("Page.navigate", url=server.url)
        # A detail is drawn a moment before the rows are.
        await browser.until(SCREEN, lambda text: all(f"host-0000{number}" in text for number in range(4)))
        await browser.press("Enter")
        opened = await browser.until(SCREEN, lambda text: text.lstrip().startswith("overview"))
        assert "ABANDONED" in opened and "host-00002" not in opened
        await browser.press("Backspace")
        await browser.until(SCREEN, lambda text: "host-00002" in text)

    try:
        in_browser(tmp_path / "profile", steps)
    finally:
        server.end(signal.SIGKILL)


def test_another_site_in_the_same_browser_gets_no_app(served: Served, tmp_path: Path) -> None:
    """Even if it knew the key."""

    async def steps(browser: Browser) -> None:
        socket = served.url.replace("http:", "ws:") + "ws?width=80&height=24"
        await browser("Page.navigate", url="data:text/html,elsewhere")
        script = f"""new Promise(tell => {{
            const socket = new WebSocket("{socket}");
            socket.onopen = () => tell("open"); socket.onerror = () => tell("refused");
        }})"""
        assert await browser.ask(script) == "refused"
        assert not served.children()

    in_browser(tmp_path / "profile", steps)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_app_outlives_the_server(served: Served, number: signal.Signals) -> None:
    async def open_two() -> None:
        async with connect(served.url) as one, connect(served.url) as two:
            for socket in (one, two):
                async for message in socket:
                    if b"ISOLATED" in bytes(message.data):
                        break
            apps.extend(served.children())
            code = await asyncio.to_thread(served.end, number)
            assert code == (-9 if number is signal.SIGKILL else 0)

    apps: list[int] = []
    asyncio.run(open_two())
    assert len(apps) == 2
    wait_until(lambda: all(map(gone, apps)))


def test_a_tab_that_is_closed_takes_its_app_with_it(served: Served) -> None:
    async def open_and_close() -> None:
        async with connect(served.url) as socket:
            await socket.receive()
            assert len(served.children()) == 1
            for nonsense in (
                "",
                "[]",
                "{}",
                '["resize"]',
                '["resize", {"width": "x", "height": -1}]',
                "[" * 9999,
            ):
                await socket.send_str(nonsense)
            await socket.send_json(["resize", {"width": 10**9, "height": 10**9}])
            await socket.send_json(["ping", "7"])
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    assert message.json() == ["pong", "7"]
                    break

    asyncio.run(open_and_close())
    wait_until(lambda: not served.children())
    assert served.process.poll() is None


@asynccontextmanager
async def connect(url: str, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    origin = "/".join(url.split("/")[:3])
    async with aiohttp.ClientSession() as session:
        address = url.replace("http:", "ws:") + "ws?width=80&height=24"
        async with session.ws_connect(
            address, headers={"Origin": origin, **headers}, max_msg_size=0
        ) as socket:
            yield socket


async def ask(url: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status


def test_who_does_not_know_the_key_or_comes_under_another_name_is_refused(served: Served) -> None:
    root = "/".join(served.url.split("/")[:3])
    cases: list[tuple[str, dict[str, str], int]] = [
        (served.url, {}, 200),
        (f"{served.url}static/css/xterm.css", {}, 200),
        (f"{root}/", {}, 403),
        (f"{root}/wrong/", {}, 403),
        (f"{root}/wrong/ws", {}, 403),
        (f"{root}/static/css/xterm.css", {}, 403),
        (served.url, {"Host": "evil.example"}, 403),
        (served.url, {"Host": "127.0.0.1.evil.example"}, 403),
        (served.url, {"Host": "localhost:9999"}, 200),
        (served.url, {"Origin": "http://evil.example"}, 403),
        (served.url, {"Origin": "null"}, 403),
        (f"{served.url}ws", {}, 403),
        (f"{served.url}ws", {"Origin": "null"}, 403),
    ]
    for url, headers, code in cases:
        assert asyncio.run(ask(url, **headers)) == code, (url, headers)
    assert not served.children()


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "", "::ffff:127.0.0.1", "[::]", "0"]
)
def test_an_address_that_others_could_reach_is_refused_in_one_line(run: Run, host: str) -> None:
    result = run("serve", str(SAVED), "--port", "0", "--host", host)
    assert result.returncode == 2
    assert not result.stdout and len(result.stderr.splitlines()) == 1
    assert "--host" in result.stderr and ("loopback" in result.stderr or "every address" in result.stderr)


def test_a_port_that_is_taken_is_one_line(run: Run, served: Served) -> None:
    port = served.url.split(":")[2].split("/")[0]
    result = run("serve", str(SAVED), "--port", port)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1 and port in result.stderr


def test_without_the_extra_it_says_what_to_install(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "textual_serve.py").write_text("raise ModuleNotFoundError(name='textual_serve')")
    path = f"{tmp_path / 'hidden'}{os.pathsep}{ROOT}"
    result = run("serve", "sample", "--port", "0", env={"PYTHONPATH": path})
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "pip install 'nullfs-explorer[web]'" in result.stderr


def test_a_hostile_target_is_an_argument_and_no_command(tmp_path: Path) -> None:
    name = tmp_path / "$(touch owned) `touch owned`; touch owned #'\" \n.json.zst"
    name.write_bytes(SAVED.read_bytes())
    server = Served(tmp_path / "home", str(name))

    async def look() -> None:
        async with connect(server.url) as socket:
            async for message in socket:
                if b"ISOLATED" in bytes(message.data):
                    return

    try:
        asyncio.run(asyncio.wait_for(look(), PATIENCE_S))
    finally:
        server.end(signal.SIGTERM)
    assert not list(ROOT.glob("owned*")) and not (tmp_path / "owned").exists()


def test_what_is_accepted_in_a_browser_goes_into_the_file_that_was_named(tmp_path: Path) -> None:
    path = tmp_path / "--known; by 'all'.json"
    server = Served(tmp_path / "home", str(SAVED), "--baseline", str(path))

    async def accept() -> None:
        async with connect(server.url) as socket:
            async for message in socket:
                if b"ISOLATED" in bytes(message.data):
                    break
            await socket.send_json(["stdin", "n"])
            while not path.exists():  # the findings may not be there yet
                await socket.send_json(["stdin", "a"])
                await asyncio.sleep(0.5)

    try:
        asyncio.run(asyncio.wait_for(accept(), PATIENCE_S))
    finally:
        server.end(signal.SIGTERM)
    assert load_baseline(path).format == "nullfs-explorer baseline"


def test_a_file_that_is_no_baseline_is_refused_before_anything_is_served(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("somebody's notes")
    result = run("serve", SAVED, "--port", "0", "--baseline", "notes.json")
    assert (result.returncode, result.stdout) == (2, "")
    assert "notes.json is not JSON" in result.stderr and result.stderr.count("\n") == 1


def test_what_counts_as_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.3.2.1", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "fe80::1%lo", "::ffff:10.0.0.1", "x", "")))
    assert all(map(is_ours, ("127.0.0.1", "127.0.0.1:80", "localhost:8000", "[::1]:8000")))
    assert not any(
        map(is_ours, ("", "evil", "localhost.evil", "a@localhost", "localhost:80/x", "[", "localhost\x00"))
    )


def test_two_servers_have_different_keys() -> None:
    keys = {AppServer(["true"]).key for _ in range(3)}
    assert len(keys) == 3 and min(map(len, keys)) > 20


_BAD = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "CONNECT": b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a path without an end": b"GET " + b"/" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "a header that is none": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\x1b]0;x\x07\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nx",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    "chunks that are none": b"POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an absolute address": b"GET http://elsewhere/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a key of another alphabet": b"GET /\xff\xe9/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "half a request": b"GET / HT",
}


def test_nobody_without_the_key_fills_the_operators_terminal(served: Served) -> None:
    """Each twenty times over: some short lines, no traceback, nothing of what was sent."""
    host, port = served.url.removeprefix("http://").split("/")[0].split(":")
    for request in list(_BAD.values()) * 20:
        with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), 10) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass
    assert served.end(signal.SIGTERM) == 0
    assert served.process.stdout is not None
    said = served.process.stdout.read().splitlines()
    assert said.pop(0).startswith("Open it in a browser")
    assert 2 <= len(said) <= 5, said
    assert all(line.startswith("nullfs-explorer: serve: ") and len(line) < 100 for line in said), said
    assert said[-1].endswith("requests were refused") and int(said[-1].split()[2]) >= 20
    assert not [line for line in said if "\x1b" in line or "elsewhere" in line]
