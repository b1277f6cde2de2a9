"""What help says beside the keys: the query language with its fields, queries to run at once, the words, the colours.

The words are those of docs/glossary.md, in a line each: one name for each thing.
"""

from __future__ import annotations

from textwrap import wrap

from explorer.analysis.query import FIELDS, FieldType

__all__ = ("QUERIES", "WORDS", "help_colours", "help_queries", "help_words")

#: Key -> a query and what it finds.
QUERIES = {
    "1": ("kind:kernel not placement:nullfs", "kernel threads whose root is not in nullfs"),
    "2": ("borrowing", "who looks paths up through userspace_init_fs now"),
    "3": ("owner:userspace_init_fs", "PID 1, and who shares its fs_struct"),
    "4": ("kind:kernel owner:userspace_init_fs", "kernel threads that share it: a fault on 7.3"),
    "5": ("walking", "path lookups that run, or hang, at this moment"),
    "6": ("state:D waiting>10", "uninterruptible for more than ten seconds"),
    "7": ("placement:detached or pwd:detached", "what keeps a lazily unmounted mount"),
    "8": ("placement:ns-root", "rooted in another mount namespace: containers"),
    "9": ("placement:chroot", "rooted in some other directory"),
    "0": ("mismatch", "fs_structs whose users are not the holders found"),
}
_SYNTAX = (
    ("a b   a and b", "both; binds tighter than or"),
    ("a or b   not a   ( )", "either, the opposite, a group"),
    ("field:value", "equal; text may hold * and ?"),
    ("field!=value", "not equal"),
    ("field~value", "contains, in any case; ^ at the start, $ at the end"),
    ("field<5   <=  >  >=", "for numbers"),
    ("0xffff8880…", "tasks in whose memory, mount or namespace it lies"),
    ("any other word", "free text: the pid, part of a name or path"),
)
WORDS = {
    "task": "a thread: every task_struct, idle tasks and zombies among them",
    "kind": "what sort of task: init, user, kthread, kworker, rescuer, idle, io_worker, usermodehelper",
    "fs_struct": "root, working directory and umask; several tasks may share one",
    "fs, real_fs": "what lookups use now, and what the task owns (7.3 on)",
    "owner": "whose its own fs_struct is: init_fs, userspace_init_fs, shared, private, none (it has exited)",
    "borrowing": "fs is userspace_init_fs, real_fs is not: the task is inside scoped_with_init_fs()",
    "sharers, holders": "the tasks found with an fs_struct; users is the kernel's own count of them",
    "holder": "of a mount or namespace: whatever has a reference to it; count is the kernel's own",
    "placement": "where a root or working directory lies",
    "nullfs": "placement: the kernel's private nullfs, where isolated kernel threads are",
    "nullfs-ns-root": "placement: the bottom mount of a mount namespace, a nullfs",
    "failfs": "placement: the filesystem in which every lookup fails",
    "init-root": "placement: PID 1's own root, wherever userspace_init_fs points",
    "ns-root": "placement: the visible root of another mount namespace",
    "chroot": "placement: any other place in a namespace; of a working directory: not-a-root",
    "detached": "placement: on a lazily unmounted tree, kept by whoever points at it",
    "internal": "placement: another mount of the kernel's own",
    "generation": "which of the four designs a kernel has: legacy, nullfs-rootfs, rfc-v1, isolated",
    "walk": "a path lookup that a task is in at this moment",
    "depth": "of / : how many mounts lie on the root of a namespace, one over the other",
    "source": "the word that mount() was given: a device, an export, a name",
    "verdict": "one sentence about the kernel: ISOLATED, SHARED, ABANDONED",
    "finding": "what a rule found, how severe it is, what it means and what to do",
    "subsystem": "a part of the kernel that a plugin speaks for",
    "snapshot, frame, recording": "one moment; one of a recording's; many moments of one machine",
}
_COLOURS = (
    ("bad, critical, high", "the theme's error colour, and bold: broken now"),
    ("medium, warn", "the warning colour: wrong, or soon to be"),
    ("low, info, muted", "the quiet colours: worth knowing"),
    ("▸", "enter follows it"),
    ("+  ~", "since the reading before: new, changed"),
    ("▲  over", "a mount that covers the one above it"),
    ("a=b  a≠b", "the kernel's count balances with what was found, or not"),
    ("?", "it could not be read: the kernel screen (K) says why"),
    ("-", "there is none"),
)
_TERM = 24


def _pairs(pairs: tuple[tuple[str, str], ...], width: int, term: int = _TERM) -> list[str]:
    lines: list[str] = []
    for name, meaning in pairs:
        first, *more = wrap(meaning, max(20, width - term - 3)) or [""]
        if len(name) > term:
            lines.append(f"  {name}")
            name = ""
        lines.append(f"  {name:<{term}} {first}")
        lines += [f"  {'':<{term}} {line}" for line in more]
    return lines


def help_queries(width: int) -> list[str]:
    """The queries that a key runs, the language, and every field with its values. :param width: in cells"""
    lines = ["a key runs the query, on the tasks"]
    for key, (query, finds) in QUERIES.items():
        lines += [f"  {key}  {query}", f"     {finds}"]
    lines += ["", "how a query is written", *_pairs(_SYNTAX, width), "", "flags and fields"]
    fields = [field for field in FIELDS.values() if field.help]
    fields.sort(key=lambda field: field.type is not FieldType.FLAG)
    pairs = tuple(
        (field.name, field.help + (f": {' '.join(field.choices)}" if field.choices else ""))
        for field in fields
    )
    return [*lines, *_pairs(pairs, width, 16)]


def help_words(width: int) -> list[str]:
    """The glossary. :param width: in cells"""
    return ["one name for each thing", *_pairs(tuple(WORDS.items()), width)]


def help_colours(width: int) -> list[str]:
    """What colours and signs mean; no colour says what no word says. :param width: in cells"""
    return ["nothing is said by colour alone", *_pairs(_COLOURS, width)]
