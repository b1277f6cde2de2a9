/* lively: roots and cwds that only the mount tells apart: stacked, detached, in other namespaces. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"

#define NX_UNSHARE_EMPTY_MNTNS 0x00100000
#define NX_SYS_FCHROOT 472
#define NX_FD_FAILFS_ROOT (-10004)

static int enter_dir(const char *dir)
{
	return chdir(dir) ? -errno : 0;
}

static int enter_root(const char *dir)
{
	return chroot(dir) || chdir("/") ? -errno : 0;
}

static int mount_new_tmpfs(const char *dir)
{
	int err = make_dir(dir);

	return err ? err : mount_tmpfs("lab", dir);
}

/* A new root that old kernels let pivot_root() leave: the initial rootfs itself can only be moved over there. */
static int move_over_root(const char *dir)
{
	int err = mount_new_tmpfs(dir);

	if (err)
		return err;
	if (chdir(dir) || mount(dir, "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return -errno;
	return 0;
}

static int pivot_into(const char *dir)
{
	int err = mount_new_tmpfs(dir);

	if (err)
		return err;
	if (chdir(dir))
		return -errno;
	err = make_dir("old");
	if (err)
		return err;
	if (syscall(SYS_pivot_root, ".", "old"))
		return -errno;
	if (chroot(".") || chdir("/") || umount2("/old", MNT_DETACH) || rmdir("/old"))
		return -errno;
	return 0;
}

static int enter_container(const char *unused)
{
	int err;

	(void)unused;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	err = pivot_into("/ct");
	if (err == -EINVAL) {
		err = move_over_root("/ct-base");
		if (!err)
			err = pivot_into("/ct");
	}
	if (!err)
		err = make_dir("/proc");
	if (!err)
		err = make_dir("/app");
	if (err)
		return err;
	if (spawn("ct-plain", 0, enter_dir, "/app") < 0)
		return -errno;
	if (spawn("ct-pid1", CLONE_NEWPID, enter_dir, "/app") < 0)
		return -errno;
	return spawn("ct-chroot", 0, enter_root, "/app") < 0 ? -errno : 0;
}

static int mount_in_own_ns(const char *dir)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	return mount_tmpfs("own", dir);
}

/* The cwd, and for "root" the root too, stay on mounts of the namespace that was left. */
static int keep_old_mounts(const char *what)
{
	int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (outside < 0)
		return -errno;
	if (unshare(CLONE_NEWNS) || fchdir(outside))
		return -errno;
	if (what[0] == 'r' && chroot("."))
		return -errno;
	close(outside);
	return 0;
}

static int enter_empty_ns(const char *unused)
{
	(void)unused;
	return unshare(NX_UNSHARE_EMPTY_MNTNS) ? -errno : 0;
}

static int enter_failfs(const char *unused)
{
	(void)unused;
	return syscall(NX_SYS_FCHROOT, NX_FD_FAILFS_ROOT, 0) ? -errno : 0;
}

static void make_stacked(void)
{
	must(make_dir("/bind"), "bind");
	must(mount("/srv", "/bind", NULL, MS_BIND, NULL) ? -errno : 0, "bind-mount");
	state_of("cwd-bind", 0, enter_dir, "/bind/data");
	must(mount_new_tmpfs("/roonly"), "ro-tmpfs");
	must(mount("lab", "/roonly", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL) ? -errno : 0,
	     "ro-remount");
	state_of("cwd-mount-ro", 0, enter_dir, "/roonly");
	must(make_dir("/over"), "over");
	must(make_dir("/over/sub"), "over-sub");
	state_of("cwd-under-over", 0, enter_dir, "/over/sub");
	state_of("cwd-overmounted", 0, enter_dir, "/over");
	must(mount_tmpfs("over1", "/over"), "over1");
	state_of("cwd-over-1", 0, enter_dir, "/over");
	must(mount_tmpfs("over2", "/over"), "over2");
	state_of("cwd-over-2", 0, enter_dir, "/over");
}

static void make_detached(void)
{
	must(mount_new_tmpfs("/det-root"), "det-root");
	state_of("detached-root", 0, enter_root, "/det-root");
	must(umount2("/det-root", MNT_DETACH) ? -errno : 0, "detach-root");
	must(mount_new_tmpfs("/det-cwd"), "det-cwd");
	must(mount_new_tmpfs("/det-cwd/below"), "det-below");
	must(make_dir("/det-cwd/below/dir"), "det-dir");
	state_of("detached-cwd", 0, enter_dir, "/det-cwd");
	state_of("detached-below", 0, enter_dir, "/det-cwd/below/dir");
	must(umount2("/det-cwd", MNT_DETACH) ? -errno : 0, "detach-cwd");
}

void make_lively_mounts(void)
{
	make_stacked();
	make_detached();
	state_of("container", CLONE_NEWNS, enter_container, NULL);
	must(make_dir("/own"), "own");
	state_of("ns-plain", CLONE_NEWNS, NULL, NULL);
	state_of("ns-own-mount", CLONE_NEWNS, mount_in_own_ns, "/own");
	state_of("cross-cwd", 0, keep_old_mounts, "cwd");
	state_of("cross-root", 0, keep_old_mounts, "root");
	state_of("empty-ns", 0, enter_empty_ns, NULL);
	state_of("failfs", 0, enter_failfs, NULL);
}
