"""``serve``: the app in a browser on this machine."""

from __future__ import annotations

import ipaddress
import shlex
import socket
from pathlib import Path

import click

from explorer.cli.accepting import check_kept_baseline, kept_baseline_option
from explorer.cli.documented import Documented
from explorer.cli.targets import TargetArguments, target_options
from explorer.program import end_starter, own_command
from explorer.wire import PROGRAM

from .open import become_caller_for, fleet_named, reader_words, refuse_pipe

__all__ = ("serve_command",)


class Refused(click.ClickException):
    """Wrong usage, in one line."""

    exit_code = 2


@click.command("serve", cls=Documented, page="docs/screen.md")
@target_options
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="TCP port; 0 takes any that is free.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on: loopback only.")
@kept_baseline_option
def serve_command(arguments: TargetArguments, port: int, host: str, baseline: Path | None) -> int:
    """Browse TARGET in a web browser on this machine; without one, the running kernel. Of a fleet, its targets.

    Prints the address to open. It has a key in it, made anew each time: there is no other log-in, and so nothing but
    loopback is listened on. Every tab that opens it runs the app as a child of its own.
    """
    sockets = listen_on_loopback(host, port)
    words = reader_words(arguments)
    if fleet_named(arguments) is None:
        spec = None
        if arguments.is_named():
            # A name that is wrong is one line here, not a screen there.
            arguments.name()
            spec = arguments.spec()
            refuse_pipe(spec)
        become_caller_for(arguments, [spec], words if spec is not None else ["live", *words])
    check_kept_baseline(baseline)
    try:
        from explorer.tui.web import serve_app
    except ModuleNotFoundError as error:
        raise Refused(
            f"serve needs the package {(error.name or '?').replace('_', '-')}, which is not installed: "
            "pip install 'nullfs-explorer[web]'"
        ) from error
    words = [*own_command(), "open", *words]
    if baseline is not None:
        words.append(f"--baseline={baseline}")
    try:
        return serve_app(words, sockets, _announce, lambda line: click.echo(f"{PROGRAM}: {line}", err=True))
    finally:
        end_starter()


def _announce(url: str) -> None:
    click.echo(f"{url}\nOpen it in a browser on this machine; Ctrl+C ends it.")


def listen_on_loopback(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``.

    What is checked is what is bound: a name is resolved once.

    :raises Refused: if ``host`` is, or resolves to, anything but loopback; or cannot be listened on
    """
    name = host.removeprefix("[").removesuffix("]")
    try:
        if not name:
            raise OSError("an empty address means every address of this machine")
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"--host {shlex.quote(host)} is no address to listen on: {error}") from error
    addresses = {(family, where[0]) for family, _, _, _, where in found}
    others = sorted({str(where) for _, where in addresses if not is_loopback(str(where))})
    if others:
        meant = "" if others == [name] else f" ({others[0]})"
        raise Refused(
            f"--host {host}{meant} is not loopback, and serve listens on nothing else, because it has no log-in: "
            f"whoever reaches it would use the app as you. From elsewhere: ssh -L 8000:127.0.0.1:8000 HERE"
        )
    sockets: list[socket.socket] = []
    try:
        for family, where in sorted(addresses):
            bound = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # One port for all addresses of a name, also where any free one is taken.
            bound.bind((where, sockets[0].getsockname()[1] or port))
            bound.listen()
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise Refused(
            f"cannot listen on port {port} of {host}: {error.strerror}; --port 0 takes a free one"
        ) from error
    return sockets


def is_loopback(address: str) -> bool:
    """Whether a numeric address never leaves this machine."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    # An IPv4 address inside an IPv6 one is no way to name this machine in a browser.
    return found.is_loopback and getattr(found, "ipv4_mapped", None) is None
