"""CacheFiles (fs/cachefiles): network filesystems' local cache, in a directory of another filesystem.

The daemon that writes to ``/dev/cachefiles`` names the directory, and the kernel looks it up then, from the daemon's
own root. From there on cookies are looked up in kworkers of the workqueue ``fscache`` (``fscache_cookie_worker``), one
name at a time below the cache's directory: no path walk, no borrow. The cache holds the very mount of the directory,
not a clone: where that is unmounted lazily, the cache goes on with a tree that nobody else can see, nor cull.

Not tested: a kworker caught in ``fscache_cookie_worker``, which is too short; on-demand caches of EROFS (6.x).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    Address,
    DeadPlace,
    Expectation,
    Finding,
    GuardedFacts,
    KernelText,
    KernelWord,
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
    everywhere,
    for_each_list_entry,
    incomplete,
    make_path,
    pointer_text,
    walkers,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "Cache", "CachefilesFacts")

_MODULES = ("netfs", "fscache")  # fscache_caches: in netfs since 6.8
_STATES = ("not present", "preparing", "active", "got an I/O error", "withdrawn")
_DEAD_MOUNT = DeadPlace(
    "DEAD-MOUNT",
    Severity.MEDIUM,
    means="The cache's filesystem was unmounted lazily while the cache was bound. The cache goes on "
    "with it, the daemon can cull nothing there by its path, and the filesystem cannot be freed.",
    do="Stop cachefilesd (that withdraws the cache), mount the filesystem, and start it again.",
)
_CACHEFILES_DEAD = 2  # bit 1 of cachefiles_cache.flags


class Cache(Record):
    """``struct fscache_cache``, and the ``struct cachefiles_cache`` behind it."""

    address: Address
    name: KernelText | None
    """Its tag."""
    state: KernelWord | None
    """``enum fscache_cache_state``, in words."""
    objects: int | None
    directory: KernelText | None
    """``rootdirname``, as the daemon named it."""
    store: PathRef | None
    """The directory ``cache`` in it, below the mount that the cache holds."""
    daemon: bool | None
    """``/dev/cachefiles`` is held open for it."""
    dead: bool | None
    """An I/O error ended it (``CACHEFILES_DEAD``)."""


class CachefilesFacts(GuardedFacts):
    caches: list[Cache]


def _caches_head(kernel: PluginKernel) -> drgn.Object:
    for module in _MODULES:
        if kernel.has_module(module):
            try:
                return kernel.variable(module, "fscache_caches", "struct list_head")
            except LookupError:
                continue
    return kernel.variable("", "fscache_caches", "struct list_head")


def _state(cache: drgn.Object) -> str:
    value = int(cache.state)
    return _STATES[value] if 0 <= value < len(_STATES) else str(value)


def _cache(kernel: PluginKernel, cache: drgn.Object, reading: Reading) -> Cache | None:
    from drgn import cast

    if pointer_text(cache.ops.name) != "cachefiles" or not cache.cache_priv.value_():
        return None  # an empty slot, or somebody else's
    own = cast("struct cachefiles_cache *", cache.cache_priv)

    def store() -> PathRef | None:
        return kernel.path_ref(make_path(kernel, own.mnt, own.store)) if own.mnt.value_() else None

    return Cache(
        address=cache.value_(),
        name=reading.get("name", lambda: pointer_text(cache.name)),
        state=reading.get("state", lambda: _state(cache)),
        objects=reading.get("object_count", lambda: int(cache.object_count.counter)),
        directory=reading.get("rootdirname", lambda: pointer_text(own.rootdirname)),
        store=reading.get("mnt", store),
        daemon=reading.get("cachefilesd", lambda: bool(own.cachefilesd.value_())),
        dead=reading.get("flags", lambda: bool(own.flags.value_() & _CACHEFILES_DEAD)),
    )


def collect(kernel: PluginKernel) -> CachefilesFacts:
    """Read ``fscache_caches``."""
    reading = Reading()

    def caches() -> Iterator[Cache]:
        for entry in for_each_list_entry(kernel, "fscache_cache", _caches_head(kernel), "cache_link"):
            if entry.ops.value_():
                cache = _cache(kernel, entry, reading)
                if cache is not None:
                    yield cache

    return CachefilesFacts(caches=reading.get_list("fscache_caches", caches), missing=reading.missing)


def audit(snapshot: Snapshot, facts: CachefilesFacts) -> Iterator[Finding]:
    """Caches that are out of everybody's sight, and workers that walk paths."""
    yield from incomplete(PLUGIN, facts)
    yield from walkers(PLUGIN, snapshot, "Cookies are looked up name by name below the cache's directory.")
    for cache in facts.caches:
        reference = Reference(kind="plugin", address=cache.address, label=f"cache {cache.name}")
        subject = f"cache {cache.name} ({cache.directory}) is on"
        yield from _DEAD_MOUNT.findings(PLUGIN, cache.store, subject, reference)


PLUGIN = Plugin(
    name="cachefiles",
    title="CacheFiles: network filesystems' local cache",
    facts=CachefilesFacts,
    collect=collect,
    audit=audit,
    needs_modules=("cachefiles",),
    built_in="cachefiles_cache_ops",
    speaks_for=(Speaks(workqueue="fscache"), Speaks(work="fscache_cookie_worker")),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
)
