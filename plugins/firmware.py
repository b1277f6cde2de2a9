"""The firmware loader: files that drivers ask for by name (drivers/base/firmware_loader).

``fw_get_filesystem_firmware()`` tries the name below each directory of ``fw_path``; the first of these is the module
parameter ``firmware_class.path``. ``kernel_read_file_from_path_initns()`` looks the file up from init's root: since 7.3
it borrows init's filesystem, in whatever task asks, a user task too. ``request_firmware_nowait()`` runs
``request_firmware_work_func`` on the workqueue ``events``; every such request in flight is in ``firmware_work_list``
(7.x), and whatever is being loaded is in ``fw_cache``.

Debian's cloud kernel has no caller of ``request_firmware_nowait()`` that works without hardware (no test_firmware, no
netdevsim), so a stuck firmware request was not made there: the settings and their audit were tested, the requests in
flight only as empty lists.
"""

from __future__ import annotations

from collections.abc import Iterator

from explorer.plugin import (
    Borrows,
    Expectation,
    Finding,
    GuardedFacts,
    KernelSetting,
    KernelText,
    Owner,
    Placement,
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
    for_each_list_entry,
    incomplete,
    pointer_text,
    task_name,
    task_reference,
)

__all__ = ("PLUGIN", "Directory", "FirmwareFacts")

_BORROW = ("kernel_read_file_from_path_initns",)
_DIRECTORIES = 5
#: _request_firmware() asks for the file itself, then for its compressed forms.
_SUFFIXES = ("", ".zst", ".xz")
_FW_STATUS_DONE = 2  # enum fw_status: unknown (while files are tried), loading, done, aborted


class Directory(Record):
    """One entry of ``fw_path`` that is not empty."""

    path: KernelText
    chosen: bool
    """It is the parameter ``firmware_class.path``, not one of the four that are compiled in."""
    now: KernelSetting | None
    """That path, from init's root."""


class FirmwareFacts(GuardedFacts):
    directories: list[Directory]
    requests: list[KernelText] | None
    """Names asked for by ``request_firmware_nowait()`` and not answered yet; ``None`` where the kernel keeps no list
    of them (6.x)."""
    loading: list[KernelText]
    """Names in ``fw_cache`` that are being loaded, by whomever; those that have been stay in it while in use."""


def _directories(kernel: PluginKernel, reading: Reading) -> Iterator[Directory]:
    chosen = array_text(kernel.variable("", "fw_path_para", "char [256]")).partition("\n")[
        0
    ]  # as the kernel does
    if chosen:
        yield Directory(path=chosen, chosen=True, now=reading.look_up(kernel, "fw_path", chosen))
    compiled_in = kernel.variable("", "fw_path", f"char *[{_DIRECTORIES}]")
    for index in range(1, _DIRECTORIES):
        text = pointer_text(compiled_in[index])
        if text:
            yield Directory(path=text, chosen=False, now=reading.look_up(kernel, "fw_path", text))


def _requests(kernel: PluginKernel) -> Iterator[KernelText]:
    head = kernel.variable("", "firmware_work_list", "struct list_head")
    for work in for_each_list_entry(kernel, "firmware_work", head, "list"):
        yield pointer_text(work.name) or ""


def _loading(kernel: PluginKernel) -> Iterator[KernelText]:
    cache = kernel.variable("", "fw_cache", "struct firmware_cache")
    for private in for_each_list_entry(kernel, "fw_priv", cache.head, "list"):
        if int(private.fw_st.status) < _FW_STATUS_DONE:
            yield pointer_text(private.fw_name) or ""


def collect(kernel: PluginKernel) -> FirmwareFacts:
    """Read where firmware is looked for, and what is being loaded."""
    reading = Reading()
    return FirmwareFacts(
        directories=reading.get_list("fw_path", lambda: _directories(kernel, reading)),
        requests=reading.get_list("firmware_work_list", lambda: _requests(kernel))
        if kernel.has_symbol("firmware_work_list")
        else None,
        loading=reading.get_list("fw_cache", lambda: _loading(kernel)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: FirmwareFacts) -> Iterator[Finding]:
    """A chosen directory that init does not have, requests that will fail, walks without a borrow."""
    yield from incomplete(PLUGIN, facts)
    yield from borrowers(
        PLUGIN, snapshot, _BORROW, "The firmware loader looks for a file where init would see it."
    )
    yield from _in_nullfs(snapshot)
    for directory in facts.directories:
        if directory.chosen and directory.now is not None and directory.now.found == "no":
            says, do = absent(
                directory.now,
                "Correct /sys/module/firmware_class/parameters/path, or create the directory.",
            )
            yield PLUGIN.finding(
                "PATH",
                Severity.LOW,
                f"firmware_class.path is {directory.path}, which {says}",
                [Reference(kind="setting", address=None, label="fw_path")],
                means="Firmware is looked for from init's root; in this directory none will be found.",
                do=do,
            )
    wanted = [*_not_tried(snapshot, [*(facts.requests or ()), *facts.loading])]
    lacking = [item.now for item in facts.directories if item.now is not None and item.now.found == "no"]
    if facts.directories and len(lacking) == len(facts.directories) and wanted:
        names = ", ".join(wanted[:3])
        elsewhere = next((now for now in lacking if now.is_only_elsewhere), lacking[0])
        _, do = absent(
            elsewhere,
            "Put the firmware into the initramfs, or load the driver after the root filesystem is mounted.",
        )
        yield PLUGIN.finding(
            "NO-DIRECTORY",
            Severity.MEDIUM,
            f"firmware is asked for ({names}), and no directory for it exists where the kernel looks",
            [Reference(kind="setting", address=None, label="fw_path")],
            means="Every directory that the kernel tries is absent there: the requests will fail.",
            do=do,
        )


def _not_tried(snapshot: Snapshot, names: list[KernelText]) -> Iterator[KernelText]:
    """Those that nobody looks up now: a look-up in flight may be in a directory that was ``fw_path`` when it began."""
    paths = [task.walk.path for task in snapshot.tasks if task.walk is not None and task.walk.path]
    for name in names:
        tried = tuple(f"/{name}{suffix}" for suffix in _SUFFIXES)
        if not any(path.endswith(tried) for path in paths):
            yield name


def _in_nullfs(snapshot: Snapshot) -> Iterator[Finding]:
    """A kernel thread in the variant that does not borrow (``kernel_read_file_from_path()``). Needs stacks."""
    for task in snapshot.tasks:
        if task.kthread is None or task.borrowing or not task.stack:
            continue
        fs = snapshot.fs_by_address.get(task.fs or 0)
        if fs is None or fs.root is None or fs.root.placement is not Placement.NULLFS:
            continue
        if any(frame.function == "kernel_read_file_from_path" for frame in task.stack):
            yield PLUGIN.finding(
                "NO-BORROW",
                Severity.HIGH,
                f"{task_name(task)} reads a file by its path from nullfs",
                [task_reference(task)],
                means="kernel_read_file_from_path() starts at the task's own root, which is empty: it returns ENOENT.",
                do="The caller must use kernel_read_file_from_path_initns(), or borrow with scoped_with_init_fs().",
            )


PLUGIN = Plugin(
    name="firmware",
    title="firmware loader: files that drivers ask for",
    facts=FirmwareFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("fw_path",),
    speaks_for=(Speaks(work="request_firmware_work_func"),),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
    borrows=(Borrows(*_BORROW, by_user_tasks=True),),
)
