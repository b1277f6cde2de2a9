"""LIO: the SCSI target in the kernel (drivers/target): iSCSI, loopback, FC, and their backstores.

Two things are kept in files below ``db_root`` (``/var/target``): persistent reservations that must survive a loss of
power (``pr/aptpl_SERIAL``) and ALUA states (``alua/``). Commands run on the workqueue ``target_submission``
(``target_queued_submit_work``), so since 7.3 ``__core_scsi3_write_aptpl_to_file()`` borrows init's filesystem,
whoever calls it, and ``core_alua_write_tpg_metadata()`` does in a kernel thread. Files of fileio backstores are
opened by whoever configures them, and stay open. The threads ``iscsi_np``, ``iscsi_trx`` and ``iscsi_ttx`` walk no
path.

Not tested: ALUA metadata written by a kernel thread; fabrics that need hardware.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    Address,
    Borrows,
    DeadPlace,
    Expectation,
    Finding,
    GuardedFacts,
    KernelSetting,
    KernelText,
    Owner,
    PathRef,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    absent,
    array_text,
    borrowers,
    everywhere,
    incomplete,
    pointer_text,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "Backstore", "LioFacts")

_MODULE = "target_core_mod"
_DEAD_FILE = DeadPlace(
    "DEAD-FILE",
    Severity.MEDIUM,
    means="The filesystem was unmounted lazily: initiators go on writing to a file that nobody else can "
    "open, and the filesystem cannot be freed.",
    do="Remove the backstore before its filesystem is unmounted; save the data through the target now.",
)
_BORROW = ("__core_scsi3_write_aptpl_to_file", "core_alua_write_tpg_metadata")


class Backstore(Record):
    """``struct se_device``; LIO's own virtual LUN 0 is one too, without a serial number."""

    address: Address
    backend: KernelText | None
    """``fileio``, ``iblock``, ``rd_mcp`` …"""
    serial: KernelText | None
    aptpl_active: bool | None
    """Its persistent reservations are to survive a loss of power."""
    aptpl_file: KernelSetting | None
    """The file they are in, from init's root."""
    file: PathRef | None
    """What a fileio backstore has open."""
    file_name: KernelText | None
    """What it was told to open."""


class LioFacts(GuardedFacts):
    db_root: KernelText | None
    db_root_now: KernelSetting | None
    """That directory, from init's root. It need not exist before something is written."""
    backstores: list[Backstore]


def _fileio(kernel: PluginKernel, device: drgn.Object, reading: Reading) -> tuple[PathRef | None, str | None]:
    from drgn import container_of

    fileio = reading.get("fd_dev", lambda: container_of(device, "struct fd_dev", "dev"))
    if fileio is None:
        return None, None
    name = reading.get("fd_dev_name", lambda: array_text(fileio.fd_dev_name))

    def opened() -> PathRef | None:
        return kernel.path_ref(fileio.fd_file.f_path) if fileio.fd_file.value_() else None

    return reading.get("fd_file", opened), name


def _backstore(kernel: PluginKernel, device: drgn.Object, db_root: str | None, reading: Reading) -> Backstore:
    backend = reading.get("transport.name", lambda: pointer_text(device.transport.name))
    serial = reading.get("unit_serial", lambda: array_text(device.t10_wwn.unit_serial))
    active = reading.get("pr_aptpl_active", lambda: bool(device.t10_pr.pr_aptpl_active.value_()))
    file, file_name = _fileio(kernel, device, reading) if backend == "fileio" else (None, None)
    aptpl = f"{db_root}/pr/aptpl_{serial}" if active and db_root and serial else None
    return Backstore(
        address=device.value_(),
        backend=backend,
        serial=serial or None,
        aptpl_active=active,
        aptpl_file=reading.look_up(kernel, "APTPL file", aptpl),
        file=file,
        file_name=file_name,
    )


def _backstores(kernel: PluginKernel, db_root: str | None, reading: Reading) -> Iterator[Backstore]:
    idr = kernel.variable(_MODULE, "devices_idr", "struct idr")
    for device in kernel.for_each_idr_entry(idr, "devices_idr", "struct se_device *"):
        yield _backstore(kernel, device, db_root, reading)


def collect(kernel: PluginKernel) -> LioFacts:
    """Read ``db_root`` and ``devices_idr``."""
    reading = Reading()
    db_root = reading.get("db_root", lambda: array_text(kernel.variable(_MODULE, "db_root", "char [4096]")))
    return LioFacts(
        db_root=db_root,
        db_root_now=reading.look_up(kernel, "db_root", db_root),
        backstores=reading.get_list("devices_idr", lambda: _backstores(kernel, db_root, reading)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: LioFacts) -> Iterator[Finding]:
    """Reservations that will not survive, backing files that nobody can see, and who borrows."""
    yield from incomplete(PLUGIN, facts)
    yield from borrowers(PLUGIN, snapshot, _BORROW, "LIO writes its metadata where init would see it.")
    for backstore in facts.backstores:
        name = f"{backstore.backend} backstore {backstore.serial or ''}".rstrip()
        reference = Reference(kind="plugin", address=backstore.address, label=name)
        if backstore.aptpl_active:
            yield from _reservations(facts, backstore, reference)
        subject = f"{name} has {backstore.file_name} open on"
        yield from _DEAD_FILE.findings(PLUGIN, backstore.file, subject, reference)


def _reservations(facts: LioFacts, backstore: Backstore, reference: Reference) -> Iterator[Finding]:
    missing = next(
        (
            where
            for where in (facts.db_root_now, backstore.aptpl_file)
            if where is not None and where.found == "no"
        ),
        None,
    )
    if missing is None:
        return
    says, do = absent(
        missing,
        "Create the directory below db_root where init sees it, and have the initiator register again.",
    )
    yield PLUGIN.finding(
        "APTPL-LOST",
        Severity.HIGH,
        f"{reference.label} promises to keep its reservations, but {missing.path} {says}",
        [reference, Reference(kind="setting", address=None, label="db_root")],
        means="The initiator asked for reservations that survive a loss of power (APTPL). The file that keeps them is "
        "looked up from init's root and is not there: after a power loss two initiators may write at once.",
        do=do,
    )


PLUGIN = Plugin(
    name="lio",
    title="LIO: the SCSI target in the kernel",
    facts=LioFacts,
    collect=collect,
    audit=audit,
    needs_modules=("target_core_mod",),
    built_in="target_queued_submit_work",
    speaks_for=(
        Speaks(workqueue="target_submission"),
        Speaks(workqueue="target_completion"),
        Speaks(workqueue="xcopy_wq"),
        Speaks(threadfn="iscsi_target_login_thread"),
        Speaks(threadfn="iscsi_target_rx_thread"),
        Speaks(threadfn="iscsi_target_tx_thread"),
    ),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
    borrows=(Borrows(_BORROW[0], by_user_tasks=True), Borrows(_BORROW[1])),
)
