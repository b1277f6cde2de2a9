/* audit: states that the audit's rules are about and the lively scenario has not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"

#define NX_UNSHARE_EMPTY_MNTNS 0x00100000
#define NX_SYS_FCHROOT 472
#define NX_FD_FAILFS_ROOT (-10004)

static int enter_root(const char *dir)
{
	return chroot(dir) || chdir("/") ? -errno : 0;
}

/* The namespace gets a root of its own, and its maker stays on the nullfs below. */
static int stay_at_the_bottom(const char *unused)
{
	(void)unused;
	if (unshare(NX_UNSHARE_EMPTY_MNTNS))
		return -errno;
	return mount("lab", "/", "tmpfs", 0, NULL) ? -errno : 0;
}

/* A switch_root that forgets the chroot: the new root covers the old one, in which the task stays. */
static int cover_own_root(const char *unused)
{
	(void)unused;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	return mount("lab", "/", "tmpfs", 0, NULL) ? -errno : 0;
}

/* And with a root below the one that is covered: a directory of it, a mount on it. */
static int enter_covered(const char *dir)
{
	int err = cover_own_root(NULL);

	return err ? err : enter_root(dir);
}

/* The same, done whole. */
static int enter_new_root(const char *dir)
{
	int err;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	err = make_dir(dir);
	if (!err)
		err = mount_tmpfs("lab", dir);
	if (err)
		return err;
	if (chdir(dir) || mount(dir, "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return -errno;
	return 0;
}

/* A root that is a bind mount, a cwd on another mount below it: inside, though their texts have nothing in common. */
static int work_below_bind_root(const char *dir)
{
	return chroot(dir) || chdir("/below") ? -errno : 0;
}

/* A path whose text begins with the root's, and which is not below it. */
static int leave_root_for_sibling(const char *unused)
{
	int sibling = open("/jail-too", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)unused;
	if (sibling < 0)
		return -errno;
	return chroot("/jail") || fchdir(sibling) ? -errno : 0;
}

static int run_interpreted(const char *script)
{
	char *const argv[] = { (char *)script, NULL };
	char *const envp[] = { NULL };

	execve(script, argv, envp);
	return -errno;
}

/* The kernel opens the interpreter in the middle of execve(), and nobody answers. */
static void make_stuck_exec(void)
{
	static const char script[] = "#!/f/interpreter\n";
	int fd = open("/script", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	int err = fd < 0 ? -errno : 0;
	pid_t pid;

	if (!err && write(fd, script, sizeof(script) - 1) != sizeof(script) - 1)
		err = -EIO;
	if (fd >= 0)
		close(fd);
	if (!err)
		err = make_dir("/f");
	if (!err)
		err = mount_unserved_fuse("/f");
	must(err, "stuck-exec");
	pid = spawn_blocking("in-exec", run_interpreted, "/script");
	state("in-exec", wait_for_state(pid, 'D') ? pid : -1);
}

/* Sharing an fs_struct ends with sharing the namespace: the kernel gives the leaver a copy. */
static int leave_namespace(const char *unused)
{
	(void)unused;
	return unshare(CLONE_NEWNS) ? -errno : 0;
}

static int lead_split(const char *unused)
{
	(void)unused;
	return spawn("split-b", CLONE_FS, leave_namespace, NULL) < 0 ? -errno : 0;
}

/* The other way in, with the fs_struct still shared. */
static int join_namespace(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return setns(fd, CLONE_NEWNS) ? -errno : 0;
}

static void make_split(pid_t elsewhere)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", elsewhere);
	state_of("split-a", 0, lead_split, NULL);
	/* each of these shares PID 1's fs_struct, and is refused: SKIP with EINVAL */
	state_of("fs-clone-mnt", CLONE_FS | CLONE_NEWNS, NULL, NULL);
	state_of("fs-clone-user", CLONE_FS | CLONE_NEWUSER, NULL, NULL);
	state_of("fs-setns-mnt", CLONE_FS, join_namespace, path);
}

static int enter_dir(const char *dir)
{
	return chdir(dir) ? -errno : 0;
}

/* A task of this namespace that works in the tree of another. */
static void make_visitor(pid_t container)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/root", container);
	state_of("visitor", 0, enter_dir, path);
}

/* A system in a namespace of its own, in which all are but PID 1 and two more. */
static int lead_distribution(const char *dir)
{
	static const char *const names[] = { "distro-a", "distro-b", "distro-c" };
	int err = enter_new_root(dir);

	for (size_t i = 0; !err && i < sizeof(names) / sizeof(names[0]); i++)
		err = spawn(names[i], 0, enter_dir, "/") < 0 ? -errno : 0;
	return err;
}

void make_distribution_states(void)
{
	state_of("distro", CLONE_NEWNS, lead_distribution, "/new");
}

void make_audit(void)
{
	pid_t elsewhere;

	must(make_dir("/jail"), "jail");
	must(make_dir("/jail-too"), "jail-too");
	must(make_dir("/tree"), "tree");
	must(make_dir("/tree/below"), "tree-below");
	must(make_dir("/bound"), "bound");
	must(mount("/tree", "/bound", NULL, MS_BIND, NULL) ? -errno : 0, "bind");
	must(mount_tmpfs("lab", "/bound/below"), "below");
	state_of("inside", 0, work_below_bind_root, "/bound");
	state_of("jailed", 0, enter_root, "/jail");
	state_of("beside", 0, leave_root_for_sibling, NULL);
	must(make_dir("/gone"), "gone");
	must(mount_tmpfs("lab", "/gone"), "gone-mount");
	state_of("gone-a", 0, enter_root, "/gone");
	state_of("gone-b", 0, enter_root, "/gone");
	must(umount2("/gone", MNT_DETACH) ? -errno : 0, "gone-detach");
	state_of("ns-bottom", 0, stay_at_the_bottom, NULL);
	elsewhere = state_of("overmounted", CLONE_NEWNS, cover_own_root, NULL);
	state_of("covered-dir", CLONE_NEWNS, enter_covered, "/jail");
	state_of("covered-mount", CLONE_NEWNS, enter_covered, "/bound/below");
	make_visitor(state_of("switched", CLONE_NEWNS, enter_new_root, "/new"));
	make_split(elsewhere);
	make_stuck_exec();
}

static void __attribute__((noreturn)) ask_again_and_again(void)
{
	for (;;)
		access("/nowhere/to/be/found", F_OK);
}

static int ask_in_failfs(const char *unused)
{
	(void)unused;
	if (syscall(NX_SYS_FCHROOT, NX_FD_FAILFS_ROOT, 0))
		return -errno;
	ask_again_and_again();
}

/* One that shares PID 1's fs_struct and goes into nullfs with it; one that lives in failfs. */
void make_lost_walkers(void)
{
	pid_t pid = syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		set_comm("lost-nullfs");
		ask_again_and_again();
	}
	state("lost-nullfs", pid);
	state("lost-failfs", spawn_blocking("lost-failfs", ask_in_failfs, NULL));
}
