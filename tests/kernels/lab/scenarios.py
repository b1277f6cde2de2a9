"""What each scenario of ``init/scenarios.c`` needs from the harness: modules, memory, files of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.kernels.lab.errors import LabError

__all__ = ("SCENARIOS", "Scenario", "find_scenario")


@dataclass(frozen=True)
class Scenario:
    """To add one: a C function, its entry in ``scenarios[]``, and an entry here.

    ``modules`` are loaded at boot with what they depend on (``qemu_fw_cfg`` always comes first); ``params`` gives
    a module its parameters; ``spare_modules`` only lie in ``/modules`` for the scenario to load by itself.
    ``files``: path in the guest -> file of this machine.
    """

    name: str
    modules: tuple[str, ...] = ()
    spare_modules: tuple[str, ...] = ()
    params: dict[str, str] = field(default_factory=dict)
    memory_mb: int = 256
    files: dict[str, Path] = field(default_factory=dict)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("healthy"),
        Scenario("lively", modules=("fuse",)),  # a module in 6.1, built in from 6.12 on
        Scenario("live", modules=("virtio_blk", "squashfs"), memory_mb=512),
        Scenario("shared-init"),
        Scenario("abandoned"),
        Scenario("unpack", memory_mb=512),
    )
}


def find_scenario(name: str) -> Scenario:
    """The scenario ``name``.

    :raises LabError: there is none.
    """
    try:
        return SCENARIOS[name]
    except KeyError:
        raise LabError(f"no scenario {name}; there are {', '.join(SCENARIOS)}") from None
