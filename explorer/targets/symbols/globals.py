"""The C types of the kernel's global variables, which BTF does not have, and the finder that serves them.

BTF describes types, functions and per-CPU variables, but no other globals. The tables here name the type of each
that the kernel-reading code and drgn's helpers ask for by name, as the kernel declares it. Where the declaration
changed over the releases, the alternatives stand newest first, each with what the kernel must have for it to apply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from drgn import FindObjectFlags, Object, Program, SymbolBinding, Type, TypeMember, sizeof

from explorer.targets.symbols.btf import Kind
from explorer.targets.symbols.btf_types import BtfTypes
from explorer.targets.symbols.kallsyms import SymbolTable, TableSymbol

__all__ = ("MODULE_VARIABLES", "VARIABLES", "GlobalFinder")

#: Type, then the variables of that type. ``[NAME]`` is a length that an enumerator gives, ``[*]`` what the symbol's
#: size allows.
_BY_TYPE = {
    "atomic_long_t": "_totalram_pages nr_swap_pages",
    "atomic_long_t [NR_VM_NODE_STAT_ITEMS]": "vm_node_stat",
    "atomic_long_t [NR_VM_NUMA_EVENT_ITEMS]": "vm_numa_event",
    "atomic_long_t [NR_VM_ZONE_STAT_ITEMS]": "vm_zone_stat",
    "atomic_t": "entry_count panic_cpu running_helpers",
    "char *": "log_buf saved_command_line static_command_line",
    "char [128]": "core_pattern",
    "char [2048]": "boot_command_line",
    "char [256]": "fw_path_para modprobe_path",
    "const char * const [5]": "fw_path",
    "const char * const [9]": "task_state_array",
    "const char [*]": "linux_banner",
    "cpumask_var_t": "wq_unbound_cpumask",
    "async_cookie_t": "initramfs_cookie",
    "const struct bus_type": "memory_subsys pci_bus_type",
    "const struct class": "block_class",
    "const struct file_operations": "ns_file_operations",
    "const struct kobj_type": "bus_ktype class_ktype device_ktype driver_ktype module_ktype",
    "const struct sched_class": "dl_sched_class ext_sched_class fair_sched_class idle_sched_class rt_sched_class "
    "stop_sched_class",
    "const struct taint_flag [*]": "taint_flags",
    "const struct trace_print_flags [*]": "gfpflag_names",
    "const unsigned long [65][*]": "cpu_bit_bitmap",
    "enum system_states": "system_state",
    "gate_desc [256]": "idt_table",
    "int": "core_uses_pid hugetlb_max_hstate ipc_mni_shift max_threads nr_threads oops_in_progress panic_on_oops "
    "panic_timeout root_mountflags suid_dumpable sysctl_overcommit_memory sysctl_overcommit_ratio",
    "int [4]": "console_printk",
    "long": "total_swap_pages",
    "nodemask_t [NR_NODE_STATES]": "node_states",
    "pgd_t [512]": "init_top_pgt swapper_pg_dir",
    "rwlock_t": "tasklist_lock",
    "seqlock_t": "mount_lock rename_lock",
    "struct async_domain": "async_dfl_domain",
    "struct blk_major_name *[255]": "major_names",
    "struct cgroup_namespace": "init_cgroup_ns",
    "struct cgroup_root": "cgrp_dfl_root",
    "struct cgroup_subsys *[CGROUP_SUBSYS_COUNT]": "cgroup_subsys",
    "struct char_device_struct *[255]": "chrdevs",
    "struct cpuinfo_x86": "boot_cpu_data",
    "struct cpumask": "__cpu_active_mask __cpu_online_mask __cpu_possible_mask __cpu_present_mask",
    "struct cred": "init_cred",
    "struct css_set": "init_css_set",
    "struct dentry_stat_t": "dentry_stat",
    "struct file_system_type": "dev_fs_type failfs_fs_type fuse_fs_type nullfs_fs_type ramfs_fs_type rootfs_fs_type "
    "shmem_fs_type",
    "struct files_stat_struct": "files_stat",
    "struct files_struct": "init_files",
    "struct firmware_cache": "fw_cache",
    "struct fs_struct": "init_fs",
    "struct hlist_bl_head *": "dentry_hashtable",
    "struct hlist_head": "console_list unmounted",
    "struct hlist_head *": "inode_hashtable mount_hashtable mountpoint_hashtable",
    "struct hlist_head [*]": "bsd_socket_buckets css_set_table uidhash_table unbound_pool_hash",
    "struct hstate [*]": "hstates",
    "struct ida": "mnt_group_ida mnt_id_ida",
    "struct idr": "btf_idr cgroup_hierarchy_idr link_idr map_idr prog_idr worker_pool_idr",
    "struct ipc_namespace": "init_ipc_ns",
    "struct kernfs_node *": "sysfs_root_kn",
    "struct kmem_cache *": "files_cachep filp_cachep fs_cachep inode_cachep mm_cachep mnt_cache names_cachep "
    "nsproxy_cachep sighand_cachep signal_cachep task_group_cache task_struct_cachep thread_stack_cache uts_ns_cache "
    "vm_area_cachep",
    "struct kmem_cache *[*]": "pid_cache",
    "struct kobj_map *": "cdev_map",
    "struct kobject *": "firmware_kobj kernel_kobj",
    "struct kset *": "bus_kset class_kset module_kset slab_kset",
    "struct latched_seq": "clear_seq",
    "struct list_head": "async_global_pending bdi_list cgroup_roots firmware_work_list kthread_create_list "
    "kthreads_hotplug mnt_ns_list modules net_namespace_list notify_list pci_root_buses percpu_counters prune_list "
    "shrinker_list slab_caches super_blocks tree_list vmap_area_list workqueues",
    "struct list_head [8]": "audit_filter_list audit_rules_list",
    "struct maple_tree": "sparse_irqs",
    "struct mem_section **": "mem_section",
    "struct memblock": "memblock",
    "struct mm_struct": "init_mm",
    "struct mnt_namespace": "init_mnt_ns",
    "struct mnt_namespace *": "emptied_ns",
    "struct mod_tree_root": "mod_tree",
    "struct mutex": "wq_pool_mutex",
    "struct net": "init_net",
    "struct nsproxy": "init_nsproxy",
    "struct page *": "mem_map",
    "struct percpu_counter": "nr_files vm_committed_as",
    "struct pglist_data": "contig_page_data",
    "struct pglist_data *[*]": "node_data",
    "struct pid": "init_struct_pid",
    "struct pid *": "cad_pid",
    "struct pid_namespace": "init_pid_ns",
    "struct printk_ringbuffer": "printk_rb_static",
    "struct printk_ringbuffer *": "prb",
    "struct proc_dir_entry": "proc_root",
    "struct rb_root": "vmap_area_root",
    "struct req *": "requests",
    "struct resource": "iomem_resource ioport_resource",
    "struct rw_semaphore": "namespace_sem umhelper_sem",
    "struct semaphore": "console_sem",
    "struct sighand_struct": "init_sighand",
    "struct signal_struct": "init_signals",
    "struct super_block *": "blockdev_superblock",
    "struct swap_info_struct *[*]": "swap_info",
    "struct task_group": "root_task_group",
    "struct task_struct": "init_task",
    "struct task_struct *": "kauditd_task kthreadd_task prune_thread thread",
    "struct time_namespace": "init_time_ns",
    "struct timer_list": "poll_spurious_irq_timer",
    "struct tk_data [TIMEKEEPERS_MAX]": "timekeeper_data",
    "struct tk_fast": "tk_fast_mono",
    "struct user_namespace": "init_user_ns",
    "struct uts_namespace": "init_uts_ns",
    "struct vfsmount *": "bdev_mnt knullfs knullfs_file mnt pipe_mnt shm_mnt sock_mnt",
    "struct vmap_node *": "vmap_nodes",
    "struct workqueue_attrs *[*]": "unbound_std_wq_attrs",
    "struct workqueue_struct *": "async_wq system_bh_highpri_wq system_bh_wq system_dfl_long_wq system_dfl_wq "
    "system_freezable_power_efficient_wq system_freezable_wq system_highpri_wq system_long_wq system_percpu_wq "
    "system_power_efficient_wq system_unbound_wq system_wq",
    "u32": "audit_enabled",
    "u64": "jiffies_64 mnt_id_ctr syslog_seq",
    "unsigned int": "core_pipe_limit cpu_khz d_hash_shift i_hash_mask i_hash_shift m_hash_mask m_hash_shift "
    "mp_hash_mask mp_hash_shift nr_cpu_ids nr_node_ids nr_swapfiles nr_vmap_nodes total_nr_irqs tsc_khz "
    "vmap_zone_size",
    "unsigned int [*]": "nr_swapper_spaces",
    "struct address_space *[*]": "swapper_spaces",
    "unsigned long": "__highest_present_section_nr loops_per_jiffy max_low_pfn max_mapnr max_pfn min_low_pfn "
    "page_offset_base phys_base sysctl_overcommit_kbytes tainted_mask total_forks vmalloc_base vmemmap_base",
    "unsigned long [*]": "__per_cpu_offset",
    "unsigned long [3]": "avenrun",
    "void *": "high_memory",
    "volatile unsigned long": "jiffies",
}

#: Condition (``type.member`` or a type that must exist, ``size N`` for a symbol of at most N bytes, or empty: always)
#: and type.
_ALTERNATIVES = {
    "acpi_disabled": (("", "int"),),
    "file_systems": (("file_system_type.list", "struct hlist_head"), ("", "struct file_system_type *")),
    # Since 4.20 radix_tree_root is a macro for xarray.
    "irq_desc_tree": (("struct xarray", "struct xarray"), ("", "struct radix_tree_root")),
    "mnt_ns_tree": (("struct ns_tree_root", "struct ns_tree_root"), ("", "struct rb_root")),
    "nr_irqs": (("", "unsigned int"),),
    "sections_per_block": (("", "int"),),
    "stack_pools": (("size 63", "void **"), ("", "void *[*]")),
    "stack_slabs": (("", "void *[*]"),),
    "sysctl_hung_task_timeout_secs": (("", "unsigned long"),),
    "tk_core": (("struct tk_data", "struct tk_data"),),
    "usermodehelper_disabled": (("enum umh_disable_depth", "enum umh_disable_depth"), ("", "int")),
    "userspace_init_fs": (("task_struct.real_fs", "struct fs_struct *"), ("", "struct fs_struct")),
}

#: Variable name -> alternatives (condition, type).
VARIABLES: dict[str, tuple[tuple[str, str], ...]] = {
    **{name: (("", spelling),) for spelling, names in _BY_TYPE.items() for name in names.split()},
    **_ALTERNATIVES,
}

#: Module -> variable -> type, or alternatives as above. Names are generic: each is looked up in its own module only.
MODULE_VARIABLES: dict[str, dict[str, str | tuple[tuple[str, str], ...]]] = {
    "btrfs": {"fs_uuids": "struct list_head"},
    "erofs": {
        "erofs_fs_type": "struct file_system_type",
        "erofs_sb_list": "struct list_head",
        "z_erofs_workqueue": "struct workqueue_struct *",
    },
    # Part of netfs since Linux 6.8.
    "fscache": {"fscache_caches": "struct list_head", "fscache_wq": "struct workqueue_struct *"},
    "iscsi_target_mod": {"g_np_list": "struct list_head", "g_tiqn_list": "struct list_head"},
    "ksmbd": {
        "conn_list": (("size 16", "struct list_head"), ("", "struct hlist_head [*]")),
        "iface_list": "struct list_head",
        "ksmbd_break_wq": "struct workqueue_struct *",
        "ksmbd_conn_wq": "struct workqueue_struct *",
        "ksmbd_wq": "struct workqueue_struct *",
        "server_conf": "struct ksmbd_server_config",
        "shares_table": "struct hlist_head [*]",
    },
    "netfs": {"fscache_caches": "struct list_head", "fscache_wq": "struct workqueue_struct *"},
    "nfs": {"nfs_net_id": "unsigned int", "nfsiod_workqueue": "struct workqueue_struct *"},
    "nfsd": {"laundry_wq": "struct workqueue_struct *", "nfsd_net_id": "unsigned int"},
    "nfsv4": {"pnfs_modules_tbl": "struct list_head"},
    "overlay": {"ovl_fs_type": "struct file_system_type"},
    "rnbd_server": {"dev_search_path": "char [*]"},
    "sunrpc": {
        "rpciod_workqueue": "struct workqueue_struct *",
        "xprtiod_workqueue": "struct workqueue_struct *",
    },
    "target_core_mod": {
        "backend_list": "struct list_head",
        "db_root": "char [4096]",
        "devices_idr": "struct idr",
        "g_tf_list": "struct list_head",
        "target_completion_wq": "struct workqueue_struct *",
        "target_submission_wq": "struct workqueue_struct *",
        "xcopy_wq": "struct workqueue_struct *",
    },
}

_OF_MODULES = frozenset(name for variables in MODULE_VARIABLES.values() for name in variables)
_DIMENSIONS = re.compile(r"^(.*?)((?:\[[^\]]*\])*)$")


class GlobalFinder:
    """Finds variables, functions and enumerators of a kernel whose only type information is BTF.

    :param module_symbols: the symbols of a name in the loaded modules: (module, symbol).
    """

    def __init__(
        self,
        types: BtfTypes,
        symbols: SymbolTable,
        module_symbols: Callable[[str], Iterable[tuple[str, TableSymbol]]] | None = None,
    ) -> None:
        self._types = types
        self._symbols = symbols
        self._module_symbols = module_symbols or (lambda name: ())
        self._found: dict[tuple[str, FindObjectFlags], Object] = {}
        self._absent: set[tuple[str, FindObjectFlags]] = set()

    def __call__(
        self, prog: Program, name: str, flags: FindObjectFlags, filename: str | None
    ) -> Object | None:
        """The signature of ``Program.register_object_finder()``; kallsyms has no file names, so any will do."""
        key = (name, flags)
        if key in self._absent:
            return None
        if key not in self._found:
            found = self._find(prog, name, flags)
            if found is None:
                # Helpers probe for names again and again. A module's variable may still come with its module.
                if name not in _OF_MODULES:
                    self._absent.add(key)
                return None
            self._found[key] = found
        return self._found[key]

    def forget_modules(self) -> None:
        """Look again for the variables of modules: they may have been loaded elsewhere, or unloaded."""
        self._found = {key: found for key, found in self._found.items() if key[0] not in _OF_MODULES}

    def _find(self, prog: Program, name: str, flags: FindObjectFlags) -> Object | None:
        found: Object | None = None
        if flags & FindObjectFlags.CONSTANT:
            found = self._types.constant(name)
        if found is None and flags & FindObjectFlags.VARIABLE:
            found = self._variable(prog, name)
        if found is None and flags & FindObjectFlags.FUNCTION:
            found = self._function(prog, name)
        return found

    def _variable(self, prog: Program, name: str) -> Object | None:
        per_cpu = self._types.named(name, Kind.VAR)
        if per_cpu is not None:
            symbol = _pick(self._symbols.find(name))
            return Object(prog, per_cpu, address=symbol.address) if symbol else None
        if name in VARIABLES:
            return self._resolve(prog, VARIABLES[name], self._symbols.find(name))
        return next(
            (
                found
                for module, variables in MODULE_VARIABLES.items()
                if name in variables and (found := self.module_variable(prog, module, name)) is not None
            ),
            None,
        )

    def module_variable(self, prog: Program, module: str, name: str) -> Object | None:
        """A variable of :data:`MODULE_VARIABLES`, looked up within its own module, or built into vmlinux."""
        known = MODULE_VARIABLES.get(module, {}).get(name)
        if known is None:
            return None
        alternatives = (("", known),) if isinstance(known, str) else known
        found = [symbol for owner, symbol in self._module_symbols(name) if owner == module]
        return self._resolve(prog, alternatives, found or self._symbols.find(name))

    def _resolve(
        self, prog: Program, alternatives: tuple[tuple[str, str], ...], symbols: list[TableSymbol]
    ) -> Object | None:
        for condition, spelling in alternatives:
            fitting = [
                (symbol, found)
                for symbol in symbols
                if _applies(prog, condition, symbol.size)
                and (found := _type(prog, spelling, symbol.size)) is not None
                and sizeof(found) <= (symbol.size or sizeof(found))
            ]
            # Files may have statics of the same name: a global one is meant, or the only one.
            best = [pair for pair in fitting if pair[0].binding is SymbolBinding.GLOBAL] or fitting
            if len({symbol.address for symbol, _ in best}) == 1:
                symbol, found = best[0]
                return Object(prog, found, address=symbol.address)
        if symbols and alternatives is VARIABLES["tk_core"]:
            return Object(prog, _tk_core(prog), address=symbols[0].address)
        return None

    def _function(self, prog: Program, name: str) -> Object | None:
        symbol = _pick(self._symbols.find(name))
        function = self._types.named(name, Kind.FUNC) if symbol else None
        return Object(prog, function, address=symbol.address) if symbol and function else None


def _pick(symbols: list[TableSymbol]) -> TableSymbol | None:
    """A global symbol before a static one of the same name."""
    return min(symbols, key=lambda symbol: symbol.binding is not SymbolBinding.GLOBAL, default=None)


def _applies(prog: Program, condition: str, size: int) -> bool:
    if not condition:
        return True
    if condition.startswith("size "):
        return size <= int(condition.removeprefix("size "))
    name, _, member = condition.partition(".")
    try:
        if not member:
            return bool(prog.type(name).is_complete())
        return bool(prog.type(f"struct {name}").has_member(member))
    except LookupError:
        return False


def _type(prog: Program, spelling: str, size: int) -> Type | None:
    """The type of a table entry, or None where this kernel lacks it."""
    match = _DIMENSIONS.match(spelling)
    assert match
    try:
        found = prog.type(match[1].strip())
        lengths = [_length(prog, text) for text in re.findall(r"\[([^\]]*)\]", match[2])]
    except LookupError:
        return None
    known = sizeof(found)
    for length in lengths:
        known *= length or 1
    for length in reversed(lengths):
        found = prog.array_type(found, size // known if length is None else length)
    return found


def _length(prog: Program, text: str) -> int | None:
    if text == "*":
        return None
    return int(text) if text.isdecimal() else int(prog.constant(text).value_())


def _tk_core(prog: Program) -> Type:
    """``tk_core`` before Linux 6.13 is a static of an unnamed struct: a sequence counter, then the timekeeper."""
    seq, timekeeper = prog.type("seqcount_raw_spinlock_t"), prog.type("struct timekeeper")
    start = -(-sizeof(seq) // 8) * 8
    members = [TypeMember(seq, "seq", 0), TypeMember(timekeeper, "timekeeper", start * 8)]
    return prog.struct_type(None, start + sizeof(timekeeper), members)
