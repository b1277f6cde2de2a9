/*
 * switch-root: what a distribution's initramfs does. The disk (/dev/vda, a squashfs) is mounted, moved over the rootfs,
 * entered with chroot, and the init in it runs on as PID 1: this same program, called `init real-root`.
 *
 * There it does, with pauses that a recording can see, what the recorder has events for.
 *
 * pivot-root: the rootfs is exchanged for the disk by pivot_root(2), which kernels with a nullfs below it allow, and
 * then taken away; PID 1 runs on as it is, and leaves userspace_init_fs to a child.
 *
 * kexec: the kernel /next/vmlinuz with /next/initrd takes this one's place.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"

#define PAUSE_US 250000
#define UNKNOWN_FAMILY 37 /* AF_CAIF: the kernel asks modprobe for net-pf-37 */
#define NEXT_CMDLINE "console=ttyS0 loglevel=4 panic=-1 nx.scenario=healthy"

static int move_mount_below(const char *dir)
{
	char target[64];

	snprintf(target, sizeof(target), "/new%s", dir);
	return mount(dir, target, NULL, MS_MOVE, NULL) ? -errno : 0;
}

static void mount_new_root(void)
{
	must(make_dir("/new"), "new");
	must(mount("/dev/vda", "/new", "squashfs", MS_RDONLY, NULL) ? -errno : 0, "mount-root");
	usleep(PAUSE_US);
	must(move_mount_below("/dev"), "move-dev");
	must(move_mount_below("/proc"), "move-proc");
	must(move_mount_below("/sys"), "move-sys");
}

void make_switch_root(void)
{
	static char *const args[] = { "init", "real-root", NULL };

	mount_new_root();
	if (chdir("/new") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		must(-errno, "switch-root");
	usleep(PAUSE_US);
	fflush(stdout);
	execv("/sbin/init", args);
	must(-errno, "exec");
}

void make_pivot_root(void)
{
	mount_new_root();
	/* the new root is where the old one was, and the old one on top of it: no directory is needed for that */
	if (chdir("/new") || syscall(SYS_pivot_root, ".", "."))
		must(-errno, "pivot-root");
	usleep(PAUSE_US);
	must(umount2(".", MNT_DETACH) ? -errno : 0, "umount-old-root");
	usleep(PAUSE_US);
	state_of("init-share", CLONE_FS, NULL, NULL);
	usleep(PAUSE_US);
	must(unshare(CLONE_FS) ? -errno : 0, "unshare");
	usleep(PAUSE_US);
}

void make_kexec(void)
{
	int kernel = open("/next/vmlinuz", O_RDONLY), initrd = open("/next/initrd", O_RDONLY);

	if (kernel < 0 || initrd < 0)
		must(-errno, "open-next");
	must(syscall(SYS_kexec_file_load, kernel, initrd, sizeof(NEXT_CMDLINE), NEXT_CMDLINE, 0UL) ? -errno : 0,
	     "kexec-load");
	printf("NX KEXEC\n");
	fflush(stdout);
	usleep(2 * PAUSE_US);
	must(reboot(RB_KEXEC) ? -errno : 0, "kexec");
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
