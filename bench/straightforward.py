"""What one would write for the same question with drgn alone: where every task's root and working directory are.

    python bench/straightforward.py VMCORE VMLINUX > table

(the seconds that the loop took, without opening, go to stderr)

It prints, for every task, what a snapshot has of the task and its ``fs_struct``, and nothing that has to be worked out
(who shares, who borrows, what a path's mount means).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import drgn
from drgn.helpers.linux.fs import d_path
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import task_state_to_char

__all__ = ("COLUMNS", "lines")

COLUMNS = (
    *("task", "pid", "tgid", "ppid", "comm", "state", "flags", "start_time", "mnt_ns"),
    *("fs", "real_fs", "users", "seq", "umask", "in_exec"),
    *(
        "root.mnt",
        "root.dentry",
        "root.fstype",
        "root.path",
        "pwd.mnt",
        "pwd.dentry",
        "pwd.fstype",
        "pwd.path",
    ),
)


def _place(path: drgn.Object) -> tuple[str, str, str, str]:
    fstype = path.mnt.mnt_sb.s_type.name.string_().decode()
    return hex(path.mnt), hex(path.dentry), fstype, d_path(path).decode(errors="replace")


def lines(prog: drgn.Program) -> Iterator[str]:
    """One line a task, tab-separated, in the order of :data:`COLUMNS`."""
    has_real_fs = prog.type("struct task_struct").has_member("real_fs")
    for task in for_each_task(prog):
        row = [
            hex(task),
            str(task.pid.value_()),
            str(task.tgid.value_()),
            str(task.real_parent.tgid.value_()),
            task.comm.string_().decode(errors="replace"),
            task_state_to_char(task),
            hex(task.flags),
            str(task.start_boottime.value_()),
            hex(task.nsproxy.mnt_ns) if task.nsproxy else "-",
        ]
        fs = task.real_fs if has_real_fs else task.fs
        row += [hex(task.fs), hex(fs)]
        if fs:
            seq = fs.seq.seqcount
            row += [
                str(fs.users.value_()),
                str((seq.seqcount.sequence if hasattr(seq, "seqcount") else seq.sequence).value_()),
                f"{fs.umask.value_():04o}",
                str(fs.in_exec.value_()),
                *_place(fs.root),
                *_place(fs.pwd),
            ]
        yield "\t".join(row)


def main() -> None:
    """Print the table of a vmcore."""
    core, vmlinux = sys.argv[1:]
    prog = drgn.Program()
    prog.set_core_dump(core)
    prog.load_debug_info([vmlinux])
    started = time.perf_counter()
    print(*COLUMNS, sep="\t")
    for line in lines(prog):
        print(line)
    sys.stdout.flush()
    print(time.perf_counter() - started, file=sys.stderr)


if __name__ == "__main__":
    main()
