/* The scenarios: one function each. SKIP is for what this kernel cannot do; FAIL is a fault of the lab. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lab.h"

static void make_healthy(void)
{
	state_of("plain-a", 0, NULL, NULL);
	state_of("plain-b", 0, NULL, NULL);
}

static void make_lively(void)
{
	make_healthy();
	make_lively_fs();
	make_lively_names();
	make_lively_mounts();
	make_lively_kernel(); /* last: from then on /proc/sys/kernel/core_pattern and modprobe are traps */
}

static int enter_dir(const char *dir)
{
	return chdir(dir) ? -errno : 0;
}

/* The tool itself runs in the guest, among tasks of every kind that stay. */
static void make_live(void)
{
	make_healthy();
	make_lively_fs();
	make_lively_names();
	make_lively_mounts();
	make_live_runner();
}

/* The tool among few tasks, with tracefs where a distribution mounts it. */
static void make_walked(void)
{
	make_healthy();
	must(mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL) ? -errno : 0, "tracefs");
	make_live_runner();
}

/* A sibling that holds PID 1's own fs_struct. */
static void make_shared_init(void)
{
	make_healthy();
	state_of("init-share", CLONE_FS, NULL, NULL);
}

/* PID 1 in a directory of its namespace, without moving a mount there: /jail shows all that / does. */
static void make_chrooted_init(void)
{
	make_healthy();
	must(make_dir("/jail"), "jail");
	must(mount("/", "/jail", NULL, MS_BIND | MS_REC, NULL) ? -errno : 0, "jail-bind");
	if (chroot("/jail") || chdir("/"))
		printf("NX FAIL chroot %d\n", errno);
	state_of("follower", 0, NULL, NULL);
}

/* All but PID 1 and two more see another root than the kernel. */
static void make_distribution(void)
{
	make_healthy();
	make_distribution_states();
}

/* PID 1 leaves userspace_init_fs to a sibling: what the kernel says VFS: Pid 1 stopped sharing about. */
static void make_abandoned(void)
{
	/* a program that PID 1 has, and that the kernel will not find */
	must(write_file("/proc/sys/kernel/core_pattern", "|/init %p"), "core-pattern");
	must(make_dir("/srv"), "srv");
	state_of("in-srv", 0, enter_dir, "/srv");
	make_shared_init();
	if (unshare(CLONE_FS))
		printf("NX FAIL unshare %d\n", errno);
}

/* States that only the audit's rules are about; see audit.c. */
static void make_audit_states(void)
{
	make_healthy();
	make_audit();
}

/* As abandoned; and in nullfs and failfs somebody looks paths up all the time. */
static void make_lost(void)
{
	make_healthy();
	make_lost_walkers();
	if (unshare(CLONE_FS))
		printf("NX FAIL unshare %d\n", errno);
}

/* Dead mounts by who holds them, namespaces without tasks, every field of mountinfo; see holders.c. */
static void make_held(void)
{
	make_healthy();
	make_holders();
}

const struct scenario scenarios[] = {
	{ "healthy", make_healthy },
	{ "lively", make_lively },
	{ "live", make_live },
	{ "walked", make_walked },
	{ "shared-init", make_shared_init },
	{ "abandoned", make_abandoned },
	{ "audit", make_audit_states },
	{ "chrooted-init", make_chrooted_init },
	{ "distribution", make_distribution },
	{ "lost", make_lost },
	{ "holders", make_held },
	/* does not return: the init of /dev/vda goes on */
	{ "switch-root", make_switch_root },
	{ "pivot-root", make_pivot_root },
	/* the harness gives it the kernel that comes next */
	{ "kexec", make_kexec },
	/* the crash kernel's: writes the dumps of the one that died */
	{ "kdump", make_kdump },
	/* many tasks (nx.tasks=N): crowd are processes, threads are one process's */
	{ "crowd", make_crowd },
	{ "threads", make_many_threads },
	/* many processes of some threads each, in many mount namespaces */
	{ "sprawl", make_sprawl },
	/* unpack: a healthy guest after a big initramfs; the harness stops it while the kernel unpacks */
	{ "unpack", make_healthy },
	/* the rest of these is made by the harness, in shell */
	{ "shell", make_healthy },
	{ "devices", make_healthy },
	{ "walker", make_healthy },
	{ "ksmbd", make_healthy },
	{ "lio", make_healthy },
	{ "btrfs", make_healthy },
	{ "nfsd", make_healthy },
	{ "pnfs", make_healthy },
	{ "layers", make_healthy },
	{ NULL, NULL },
};
