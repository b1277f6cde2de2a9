/*
 * lively: tasks that the kernel makes or holds: usermodehelpers, coredumpers, io_uring's workers. The trick behind
 * the stuck ones is a FUSE filesystem that nobody serves.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"

#define MODPROBE "/proc/sys/kernel/modprobe"

static int use_io_uring(const char *unused)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 1 };

	(void)unused;
	return syscall(SYS_io_uring_setup, 4, &params) < 0 ? -errno : 0;
}

/* suid_dumpable 2: a process that changed its user dumps as root, and so through init's root, not its own. */
static int crash_in_jail_as_user(const char *unused)
{
	const struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };

	(void)unused;
	setrlimit(RLIMIT_CORE, &any);
	if (chroot("/jail") || chdir("/") || setresuid(1000, 1000, 1000))
		_exit(4);
	return raise(SIGSEGV);
}

static int crash_as_root(const char *unused)
{
	const struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };

	(void)unused;
	setrlimit(RLIMIT_CORE, &any);
	return raise(SIGSEGV);
}

/* A socket family that is a module: the kernel runs modprobe, and this task waits for it. */
static int ask_for_module(const char *unused)
{
	(void)unused;
	socket(AF_X25, SOCK_SEQPACKET, 0);
	return 0;
}

static int ask_for_other_module(const char *unused)
{
	(void)unused;
	socket(AF_PPPOX, SOCK_STREAM, 0);
	return 0;
}

static void make_stuck_on_fuse(void)
{
	pid_t pid;
	int err = make_dir("/f");

	if (!err)
		err = mount_unserved_fuse("/f");
	if (err) {
		errno = -err;
		state("fuse", -1);
		return;
	}
	must(write_file("/proc/sys/fs/suid_dumpable", "2"), "suid_dumpable");
	must(write_file("/proc/sys/kernel/core_pattern", "/f/core"), "core_pattern");
	pid = spawn_blocking("borrower", crash_in_jail_as_user, NULL);
	state("borrower", wait_for_state(pid, 'D') ? pid : -1);
	pid = spawn_blocking("crasher", crash_as_root, NULL);
	state("crasher", wait_for_state(pid, 'D') ? pid : -1);
	/* a helper that has not reached exec yet: still the kernel's own thread of execution, with a copy of init's fs */
	must(write_file(MODPROBE, "/f/modprobe"), "modprobe-fuse");
	pid = spawn_blocking("umh-asker-fuse", ask_for_other_module, NULL);
	/* only when it looks its program up may modprobe be written again: the kernel reads it late */
	state("umh-asker-fuse", wait_for_stuck_helper() > 0 && wait_for_state(pid, 'D') ? pid : -1);
}

static void make_waiting_helper(void)
{
	pid_t pid;

	must(link("/init", "/umh-sleeper") ? -errno : 0, "link-helper");
	must(write_file(MODPROBE, "/umh-sleeper"), "modprobe");
	pid = spawn_blocking("umh-asker", ask_for_module, NULL);
	state("umh-sleeper", wait_for_comm("umh-sleeper"));
	state("umh-asker", wait_for_state(pid, 'D') ? pid : -1);
	/* or whatever asks for a module next would wait for ever too */
	must(write_file(MODPROBE, "/sbin/modprobe"), "modprobe-reset");
}

void make_lively_kernel(void)
{
	state_of("io-uring", 0, use_io_uring, NULL);
	make_stuck_on_fuse();
	make_waiting_helper();
}
