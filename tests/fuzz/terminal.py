"""Random bytes into the app's terminal: keys, sequences, pastes, parts of characters, sizes, signals.

A session starts the app in a pseudo-terminal, sends it what a seed says, and ends it in one of the ways there are. It
may end by itself (``q`` is a key) with exit code 0, by a signal with that, never with a traceback; no fault may be
written down, and whatever ended or stopped it, the terminal is as it was found. What is sent is the seed's; when it
arrives between what the app does is the machine's.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.tui.pseudo_terminal import PseudoTerminal

__all__ = ("SESSIONS", "Session", "run_session", "run_sessions")

#: What the mutator is called on the command line.
SESSIONS = "terminal"
_TARGET = Path(__file__).parents[1] / "tui" / "data" / "lively.json.zst"
_BEGIN, _END = b"\x1b[200~", b"\x1b[201~"
_PATIENCE_S = 120.0
#: Seconds after a burst, and bursts of a session.
_PAUSES = (0.0, 0.0, 0.0, 0.005, 0.02, 0.15)
_BURSTS = 60
#: Those that do something, more often than chance would have it; q, which ends a session, is left to chance.
_KEYS = b"tfmsSnoLvdeEicyYCxKTRrXM?!=<>{}[].,+-jkhlgGNabBwzpJF123/AUHVKJZ()*@# \r\t\x7f\x03\x04\x15"
_ENDS = ("quit", "quit", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "hang up")


@dataclass(slots=True)
class Session:
    """What came of one."""

    number: int
    end: str
    sent: int = 0
    stopped: int = 0
    """How often it was, and went on."""
    failures: list[str] = field(default_factory=list)


def _keys(rng: random.Random) -> bytes:
    return bytes(rng.choices(_KEYS, k=rng.randrange(1, 12)))


def _any_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(1, 40))


def _text(rng: random.Random) -> bytes:
    words = (
        "kind:kthread ",
        "root~nullfs",
        "é",
        "日本",
        "🂡",
        "\u202e",
        "\x9b",
        "\\",
        "'",
        '"',
        "(",
        "not ",
        "pid>7",
    )
    text = "".join(rng.choices(words, k=rng.randrange(1, 6))).encode(
        rng.choice(("utf-8", "utf-8", "utf-16-le"))
    )
    return text[: rng.randrange(1, len(text) + 1)]


def _sequence(rng: random.Random) -> bytes:
    begin = rng.choice(
        (b"\x1b[", b"\x1b[", b"\x1b[", b"\x1bO", b"\x1b", b"\x9b", b"\x1b[<", b"\x1b[?", b"\x1b[M")
    )
    parameters = "".join(rng.choices("0123456789;:", k=rng.randrange(12))).encode()
    if rng.random() < 0.05:
        parameters *= rng.randrange(1, 40)
    return begin + parameters + bytes([rng.randrange(0x20, 0x7F)])


def _known(rng: random.Random) -> bytes:
    x, y = rng.randrange(-1, 250), rng.randrange(-1, 90)
    return rng.choice(
        (
            b"\x1b[A",
            b"\x1b[B",
            b"\x1b[5~",
            b"\x1b[6~",
            b"\x1bOP",
            b"\x1b[1;5Q",
            b"\x1b[I",
            b"\x1b[O",
            b"\x1b",
            b"\x1b\x1b",
            f"\x1b[<{rng.choice((0, 1, 2, 32, 35, 64, 65, 66, 4095))};{x};{y}{rng.choice('Mm')}".encode(),
            f"\x1b[<0;{x};{y}M\x1b[<0;{x};{y}m".encode(),
            b"\x1b[M" + rng.randbytes(3),
            f"\x1b[{rng.choice((97, 13, 27, 57441, 55296, 1114112, 0))};{rng.randrange(300)}u".encode(),
            b"\x1b[?2026;2$y",
            b"\x1b[?2048;1$y",
            f"\x1b[48;{rng.choice((0, 1, 24, 99999))};{rng.choice((0, 1, 80, 99999))};0;{rng.randrange(2)}t".encode(),
            b"\x1b[12;40R",
            b"\x1b]52;c;aGVsbG8=\x07",
            b"\x1bP>|a terminal\x1b\\",
            b"\x1b_G\x1b\\",
        )
    )


def _pasted(rng: random.Random) -> bytes:
    inside = b"".join(rng.choice(_PIECES)(rng) for _ in range(rng.randrange(5)))
    if rng.random() < 0.1:
        inside *= rng.randrange(1, 2000)
    end = _END if rng.random() < 0.85 else b""
    return _BEGIN + inside + end + (rng.choice((b"", b"", inside + _END)))


_PIECES: tuple[Callable[[random.Random], bytes], ...] = (
    _keys,
    _keys,
    _any_bytes,
    _text,
    _sequence,
    _known,
    _known,
)


def _bursts(rng: random.Random) -> Iterator[bytes]:
    """What is sent, one write after the other. A slash opens a filter, and is part of a path to write to otherwise."""
    for _ in range(_BURSTS):
        if rng.random() < 0.1:
            yield b"\x1b"
            yield b""
            yield b"/"
        piece = rng.choice((*_PIECES, _pasted))(rng).replace(b"/", b"")
        cut = rng.randrange(len(piece) + 1)
        yield from (piece[:cut], piece[cut:]) if rng.random() < 0.3 else (piece,)


def run_session(seed: int, number: int) -> Session:
    """One session; the same seed and number send the same."""
    rng = random.Random(f"{seed}:{SESSIONS}:{number}")
    session = Session(number, rng.choice(_ENDS))
    with tempfile.TemporaryDirectory(prefix="nullfs-explorer-fuzz-") as home:
        size = (rng.choice((20, 80, 80, 120, 200)), rng.choice((5, 24, 24, 50)))
        terminal = PseudoTerminal(Path(home), str(_TARGET), size=size, environment={"PATH": "/nonexistent"})
        try:
            terminal.until(b"\x1b[?2004h", 0)
            terminal.read(rng.choice((0.0, 0.3, 1.0)))
            _send_all(terminal, rng, session)
            code, expected = _end(terminal, session)
            # ctrl+c and ctrl+\ where the terminal is not the app's: before it, while it is stopped, after it.
            expected += (-signal.SIGINT, -signal.SIGQUIT)
            if code not in expected:
                session.failures.append(
                    f"exit code {code} after {session.end}, not {' or '.join(map(str, expected))}"
                )
            _judge(terminal, session, "after its end")
        except AssertionError as error:
            session.failures.append(str(error)[-1500:])
        finally:
            terminal.close()
        fault = Path(home, "nullfs-explorer", "fault.txt")
        if fault.exists():
            session.failures.append(f"a fault: {fault.read_text()[-1500:]}")
    return session


def _send_all(terminal: PseudoTerminal, rng: random.Random, session: Session) -> None:
    for data in _bursts(rng):
        if terminal.process.poll() is not None:
            return
        chance = rng.random()
        if chance < 0.05:
            terminal.resize(rng.choice((1, 2, 40, 80, 133, 300, 5000)), rng.choice((1, 2, 10, 24, 60, 5000)))
        elif chance < 0.07:
            terminal.process.send_signal(rng.choice((signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)))
        terminal.send(data, lambda: _continue(terminal, session))
        session.sent += len(data)
        terminal.read(rng.choice(_PAUSES) if data else 0.2)
        _continue(terminal, session)


def _continue(terminal: PseudoTerminal, session: Session) -> None:
    """If it has stopped (ctrl+z is a key), see what the terminal is like meanwhile, and let it go on."""
    if terminal.process.poll() is None and _is_stopped(terminal.process.pid):
        terminal.read(0.02)
        _judge(terminal, session, "while it is stopped")
        session.stopped += 1
        os.kill(terminal.process.pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def _judge(terminal: PseudoTerminal, session: Session, when: str) -> None:
    if session.end != "hang up" or "stopped" in when:
        session.failures += [f"{difference} {when}" for difference in terminal.differences()]
    if b"Traceback" in terminal.received:
        session.failures.append(f"a traceback {when}: {terminal.received[-1500:]!r}")


def _end(terminal: PseudoTerminal, session: Session) -> tuple[int, tuple[int, ...]]:
    """End it. (its exit code, what that may be: it may have ended by itself a moment before)"""
    process, number = terminal.process, 0
    deadline = time.monotonic() + _PATIENCE_S
    if session.end == "quit":
        terminal.send(b"    " + _END)  # what is open, is closed
        while process.poll() is None and time.monotonic() < deadline:
            _continue(terminal, session)
            terminal.send(b"\x11")
            terminal.read(0.3)
    elif session.end == "hang up":
        number = signal.SIGHUP
        terminal.hang_up()
        while process.poll() is None and time.monotonic() < deadline:
            if _is_stopped(process.pid):  # a shell that has lost its terminal lets its jobs go on, too
                os.kill(process.pid, signal.SIGCONT)
            time.sleep(0.02)
        assert process.poll() is not None, "it lives on without a terminal"
        return process.returncode, (0, -number)
    else:
        number = signal.Signals[session.end]
        process.send_signal(number)
        while process.poll() is None and time.monotonic() < deadline:
            _continue(terminal, session)
            terminal.read(0.02)
    return terminal.ended(1.0), (0, -number) if number else (0,)


def run_sessions(seed: int, seconds: float, progress: TextIO | None = None) -> list[Session]:
    """Sessions one after the other, for so long; at least one."""
    deadline, done = time.monotonic() + seconds, list[Session]()
    while not done or time.monotonic() < deadline:
        session = run_session(seed, len(done))
        done.append(session)
        if progress is not None:
            for failure in session.failures:
                print(f"FAILED {SESSIONS}: {failure}", file=progress)
                print(
                    f"  again: python -m tests.fuzz --seed {seed} --only {SESSIONS} --case {session.number}",
                    file=progress,
                )
    return done
