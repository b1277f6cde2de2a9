/*
 * switch-root: what a distribution's initramfs does. The disk (/dev/vda, a squashfs) is mounted, moved over the rootfs,
 * entered with chroot, and the init in it runs on as PID 1: this same program, called `init real-root`.
 *
 * There it does, with pauses that a recording can see, what the recorder has events for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"

#define PAUSE_US 250000
#define UNKNOWN_FAMILY 37 /* AF_CAIF: the kernel asks modprobe for net-pf-37 */

static int move_mount_below(const char *dir)
{
	char target[64];

	snprintf(target, sizeof(target), "/new%s", dir);
	return mount(dir, target, NULL, MS_MOVE, NULL) ? -errno : 0;
}

void make_switch_root(void)
{
	static char *const args[] = { "init", "real-root", NULL };

	must(make_dir("/new"), "new");
	must(mount("/dev/vda", "/new", "squashfs", MS_RDONLY, NULL) ? -errno : 0, "mount-root");
	usleep(PAUSE_US);
	must(move_mount_below("/dev"), "move-dev");
	must(move_mount_below("/proc"), "move-proc");
	must(move_mount_below("/sys"), "move-sys");
	if (chdir("/new") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		must(-errno, "switch-root");
	usleep(PAUSE_US);
	fflush(stdout);
	execv("/sbin/init", args);
	must(-errno, "exec");
}

static int enter_run(const char *unused)
{
	(void)unused;
	usleep(PAUSE_US);
	return chroot("/run") || chdir("/") ? -errno : 0;
}

static int leave_shared_fs(const char *unused)
{
	(void)unused;
	usleep(PAUSE_US);
	return unshare(CLONE_FS) ? -errno : 0;
}

static int make_namespace(const char *unused)
{
	(void)unused;
	usleep(PAUSE_US);
	return unshare(CLONE_NEWNS) ? -errno : mount_tmpfs("inside", "/mnt");
}

static int ask_for_module(const char *unused)
{
	(void)unused;
	return socket(UNKNOWN_FAMILY, SOCK_STREAM, 0) < 0 && errno == EAFNOSUPPORT ? 0 : -errno;
}

/* As modprobe in the new root: a helper that lasts long enough to be seen, and finds nothing. */
int run_real_root_helper(void)
{
	usleep(2 * PAUSE_US);
	return 1;
}

void run_real_root(void)
{
	set_comm("real-init");
	must(mount_tmpfs("run", "/run"), "run");
	must(mount_tmpfs("over", "/run"), "over-run");
	usleep(PAUSE_US);
	state_of("chrooted", 0, enter_run, NULL);
	state_of("unsharer", CLONE_FS, leave_shared_fs, NULL);
	state_of("container", 0, make_namespace, NULL);
	state_of("asker", 0, ask_for_module, NULL);
	usleep(PAUSE_US);
}
