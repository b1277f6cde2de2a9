"""Secrets planted in every text of a snapshot, encoded, nested and split: nothing of them is in what is written, and
the check, which shares no code with redaction, sees each of them where redaction has overlooked it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from pydantic import BaseModel

from explorer.analysis.redact import Redactor, redact_snapshot
from explorer.analysis.redact.check import words_left
from explorer.analysis.redact.snapshots import _kept_fields
from explorer.model import KERNEL_WORD, Snapshot, kernel_bytes
from explorer.output import redacted as redacted_module
from explorer.output.files import OutputError
from explorer.output.formats import SNAPSHOT_FORMATS
from explorer.output.redacted import redact_and_encode
from explorer.plugin import Plugin, load_plugins
from tests.hostile import hostile_facts

#: What a customer has, and the parts of it that tell: none may stand in an output.
SECRETS = {
    "core.192.168.37.77": ("192.168", "168.37", "37.77"),
    "ip-10-20-30-40.intranet": ("10-20", "20-30", "intranet"),
    "web-192-168-3-4": ("192-168", "168-3", "3-4"),
    "fe80::1ff:5:/export/olga": ("fe80", "1ff", "olga", ":5:"),
    "nfsroot=[fd00::77]:/srv/olga": ("fd00", "77", "olga"),
    "nfsroot=10.11.12.13:/srv,vers=4": ("10.11", "12.13"),
    "ip=10.11.12.13::10.11.12.1:255.255.255.0:db7:eth0:off": ("10.11", "12.1:", "255.255", "db7"),
    "2001:db8::7:/p": ("2001", "db8", ":7:"),
    "00-1a-2b-3c-4d-5e": ("00-1a", "1a-2b", "2b-3c"),
    "001a.2b3c.4d5e": ("001a", "2b3c", "4d5e"),
    "be:ad:fe:00:01:02": ("be:ad", "ad:fe", "00:01", "01:02"),
    "oui-00-1a": ("00-1a",),
    "part-of-.168.37.": ("168.37",),
    "iscsi/10.9.8.7:3260,1-iqn.2024-01": ("10.9.8", "9.8.7", "2024-01"),
    "web\\x2d10\\x2d9.service": ("x2d10", "x2d9"),
    "10_20_30_40": ("10_20", "20_30"),
    "0x0a.0x14.0x1e.0x28": ("0x0a.", "0x14", "0x1e"),
    "::ffff:10.20.30.40": ("10.20", "ffff"),
    "kworker/105:97:150:206": ("105:97", "97:150"),
    "0a141e28": ("0a141e28",),
    "b2xnYTpzZWNyZXQ=": ("b2xnYTpzZWNyZXQ",),
    "%6f%6c%67%61%2Ekey-99-17": ("99-17",),
    "2024-05-17_12:31": ("2024", "05-17", "12:31"),
}


@pytest.fixture(scope="module")
def plugins() -> list[Plugin]:
    return load_plugins(strangers=False).plugins


def plant(value: Any, secrets: Iterator[str]) -> Any:
    """A secret in every text of a record that may be anything: not in one of the kernel's build, or of a few."""
    if isinstance(value, BaseModel):
        kept = _kept_fields(type(value))
        fields = {
            name: each
            for name, field in type(value).model_fields.items()
            if name not in kept and KERNEL_WORD not in field.metadata
            for each in (getattr(value, name),)
        }
        return value.model_copy(update={name: plant(each, secrets) for name, each in fields.items()})
    if type(value) is str:
        return next(secrets)
    if isinstance(value, list | tuple):
        return type(value)([plant(item, secrets) for item in value])
    return value


def planted(snapshot: Snapshot, plugins: list[Plugin]) -> Snapshot:
    secrets = cycle(SECRETS)
    armed: Snapshot = plant(snapshot, secrets)
    armed.log = [f"[    1.000000] said {secret}" for secret in SECRETS] + list(SECRETS)
    armed.plugins = {}
    for plugin in plugins:
        facts = plugin.facts.model_validate(hostile_facts(plugin, cycle(["x"])))
        armed.plugins[plugin.name] = plant(facts, secrets).model_dump(mode="json")
    armed.plugins["stranger"] = {"state": "loaded", "deep": [{secret: [secret]} for secret in SECRETS]}
    return armed


def texts_of(content: str, form: str) -> list[str]:
    return list(SNAPSHOT_FORMATS[form].texts(content))


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_no_part_of_a_planted_secret_is_in_any_text_of_what_is_written(
    isolated: Snapshot, plugins: list[Plugin], form: str
) -> None:
    armed = planted(isolated, plugins)
    _, content = redact_and_encode(armed, plugins, SNAPSHOT_FORMATS[form])
    texts = texts_of(content.decode(), form)
    assert len(texts) > 100
    tells = {tell for each in SECRETS.values() for tell in each}
    found = {
        tell for tell in tells for text in texts if re.search(rf"(?<![0-9A-Za-z]){re.escape(tell)}", text)
    }
    # What was invented may happen to be a few digits of a secret.
    assert {tell for tell in found if len(tell) > 5 or tell.strip("0123456789abcdef.:-")} == set()


@pytest.mark.parametrize("secret", SECRETS)
def test_the_check_sees_each_secret_where_redaction_has_overlooked_it(secret: str) -> None:
    for text in (secret, f"mounted {secret}", f"/srv/{secret}/x", f"[    1.000000] {secret}"):
        assert words_left([kernel_bytes(text)], (), ()), text


@pytest.mark.parametrize("secret", SECRETS)
def test_what_is_redacted_passes_the_check_and_is_as_long_as_before(secret: str) -> None:
    names = Redactor()
    shown = names.text(secret)
    assert len(shown) == len(secret) and shown != secret
    assert names.leaks_in_texts([shown]) == []
    assert names.text(secret) == shown


@pytest.mark.parametrize(
    "text",
    [
        "kworker/0:1-events",
        "kworker/u16:3H",
        "ksoftirqd/11",
        "irq/24",
        "pts/3",
        "kswapd0",
        "mnt:[4026531841]",
        "/proc/1/net/17",
        "0xffff888012345678",
    ],
)
def test_the_kernels_own_numbers_stay(text: str) -> None:
    names = Redactor()
    assert names.text(text).replace(names.text("events"), "events") == text
    assert names.leaks_in_texts([names.text(text)]) == []


def test_an_output_that_a_fault_of_redaction_has_left_a_name_in_is_not_written(
    isolated: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault: redaction takes one name for nothing that it knows."""
    task = isolated.tasks[5].model_copy(update={"comm": "olga-laptop"})
    snapshot = isolated.model_copy(update={"tasks": [*isolated.tasks[:5], task, *isolated.tasks[6:]]})
    real = redact_snapshot

    def forgets(original: Snapshot, *rest: Any) -> Snapshot:
        done = real(original, *rest)
        done.tasks[5] = done.tasks[5].model_copy(update={"comm": "olga-laptop"})
        return done

    monkeypatch.setattr(redacted_module, "redact_snapshot", forgets)
    with pytest.raises(OutputError, match="2 names would be left"):
        redact_and_encode(snapshot, (), SNAPSHOT_FORMATS["json"])


def test_the_check_of_a_slice_sees_an_address_that_redaction_has_replaced_elsewhere() -> None:
    names = Redactor()
    names.text("web-192-168-3-4 on 10")
    assert names.leaks(b"\0web-192-168-3-4\0") == [b"web-192-168-3-4"]
    assert names.leaks(b"\0" + kernel_bytes(names.text("web-192-168-3-4")) + b"\0 10 192 168") == []
