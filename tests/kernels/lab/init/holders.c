/*
 * holders: mounts that were unmounted lazily, each held in one way, and namespaces that no task is in.
 *
 * Every mount h-NAME is a tmpfs of that source on /h-NAME; the task h-NAME holds it. Then mounts whose line in
 * mountinfo has every field that there is.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lab.h"

#define NX_OPEN_TREE_CLONE 1
#define NX_OPEN_TREE_NAMESPACE 2 /* 7.0 */
#define NX_SYS_OPEN_TREE 428
#define NX_SYS_MOUNT_SETATTR 442
#define NX_MOUNT_ATTR_IDMAP 0x00100000

struct nx_mount_attr {
	uint64_t set, clear, propagation, userns_fd;
};

static const char hostile[] = "red\033[31m\nline";

static int open_in(const char *dir, const char *name, int flags)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, flags, 0700);
}

static int hold_root(const char *dir)
{
	return chroot(dir) || chdir("/") ? -errno : 0;
}

static int hold_pwd(const char *dir)
{
	return chdir(dir) ? -errno : 0;
}

/* Three files: one with two descriptors, one by its path alone, one with a name that paints. */
static int hold_files(const char *dir)
{
	int fd = open_in(dir, "opened", O_RDWR | O_CREAT);

	if (fd < 0 || dup2(fd, 40) < 0)
		return -errno;
	if (open_in(dir, ".", O_PATH | O_DIRECTORY) < 0 || open_in(dir, hostile, O_RDWR | O_CREAT) < 0)
		return -errno;
	return 0;
}

static int hold_opened(const char *dir)
{
	return open_in(dir, "opened", O_RDWR | O_CREAT) < 0 ? -errno : 0;
}

static int do_nothing(const char *unused)
{
	(void)unused;
	return 0;
}

/* One descriptor table of two tasks, and a copy of it in a third. */
static int hold_by_tables(const char *dir)
{
	int err = hold_opened(dir);

	if (err)
		return err;
	if (!syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0)) {
		set_comm("h-table-same"); /* spawn()'s pipe would be closed for both */
		sleep_for_ever();
	}
	return spawn("h-table-copy", 0, do_nothing, NULL) < 0 ? -errno : 0;
}

static int hold_mapping(const char *dir)
{
	int fd = open_in(dir, "mapped", O_RDWR | O_CREAT);

	if (fd < 0 || ftruncate(fd, 4096))
		return -errno;
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
		return -errno;
	close(fd);
	/* pages enough of their own that the tree of mappings has more than one level */
	for (int i = 0; i < 200; i++)
		if (mmap(NULL, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			return -errno;
	return 0;
}

static int bind_socket(const char *dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	return fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

/* A file whose only descriptor is on its way through a socket: nobody finds it. */
static int send_away(const char *dir)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	int pair[2], fd = open_in(dir, "opened", O_RDWR | O_CREAT);

	if (fd < 0 || socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
		return -errno;
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	if (sendmsg(pair[0], &message, 0) != 1)
		return -errno;
	close(fd);
	return 0;
}

/* An open mountinfo remembers the root of the task it is about. */
static int hold_by_mountinfo(const char *dir)
{
	int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (outside < 0 || proc < 0 || chroot(dir))
		return -errno;
	if (openat(proc, "self/mountinfo", O_RDONLY) < 0 || fchdir(outside) || chroot(".") || chdir("/"))
		return -errno;
	close(outside);
	close(proc);
	return 0;
}

static int copy_file(const char *from, const char *to)
{
	static char buffer[1 << 16];
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	ssize_t got;

	if (in < 0 || out < 0)
		return -errno;
	while ((got = read(in, buffer, sizeof(buffer))) > 0)
		if (write(out, buffer, got) != got)
			return -errno;
	close(in);
	close(out);
	return got < 0 ? -errno : 0;
}

static int run_program(const char *path)
{
	char *const argv[] = { (char *)path, NULL };
	char *const envp[] = { NULL };

	execve(path, argv, envp);
	return -errno;
}

static void mount_of(const char *name, char *dir, size_t size)
{
	snprintf(dir, size, "/%s", name);
	must(make_dir(dir), name);
	must(mount(name, dir, "tmpfs", 0, "size=8m") ? -errno : 0, name);
}

static void dead_mount(const char *name, state_fn hold)
{
	char dir[64];

	mount_of(name, dir, sizeof(dir));
	state_of(name, 0, hold, dir);
	must(umount2(dir, MNT_DETACH) ? -errno : 0, name);
}

static void make_dead_program(void)
{
	char dir[64];
	pid_t pid;

	mount_of("h-exe", dir, sizeof(dir));
	must(copy_file("/init", "/h-exe/h-exe-prog"), "h-exe-copy");
	pid = spawn_blocking("h-exe", run_program, "/h-exe/h-exe-prog");
	state("h-exe", wait_for_comm("h-exe-prog") == pid ? pid : -1);
	must(umount2(dir, MNT_DETACH) ? -errno : 0, "h-exe-detach");
}

/* Unmounted by rmdir() in another namespace: what is mounted below stays connected, and is held by its parent. */
static int hold_connected(const char *dir)
{
	char below[96];

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("h-upper", dir, "tmpfs", 0, NULL))
		return -errno;
	snprintf(below, sizeof(below), "%s/below", dir);
	if (make_dir(below) || mount("h-lower", below, "tmpfs", 0, NULL))
		return -errno;
	return open_in(dir, "opened", O_RDWR | O_CREAT) < 0 ? -errno : 0;
}

static void make_connected(void)
{
	must(make_dir("/h-connected"), "h-connected");
	state_of("h-connected", CLONE_NEWNS, hold_connected, "/h-connected");
	must(rmdir("/h-connected") ? -errno : 0, "h-connected-rmdir");
}

static int hold_tree(const char *path)
{
	return syscall(NX_SYS_OPEN_TREE, AT_FDCWD, path, NX_OPEN_TREE_CLONE) < 0 ? -errno : 0;
}

/* --- namespaces that no task is in --- */

static int mount_own(const char *name)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	return mount(name, "/tmp", "tmpfs", 0, NULL) ? -errno : 0;
}

static pid_t start_keeper(const char *name, char *path, size_t size)
{
	pid_t pid = spawn(name, CLONE_NEWNS, mount_own, name);

	snprintf(path, size, "/proc/%d/ns/mnt", pid);
	return pid;
}

static char target[64];

static int hold_open(const char *path)
{
	return open(path, O_RDONLY) < 0 ? -errno : 0;
}

static int hold_tree_namespace(const char *unused)
{
	(void)unused;
	return syscall(NX_SYS_OPEN_TREE, AT_FDCWD, "/", NX_OPEN_TREE_NAMESPACE) < 0 ? -errno : 0;
}

static void make_namespaces(void)
{
	pid_t pid = start_keeper("ns-bound", target, sizeof(target));
	int fd;

	must(make_dir("/h-ns"), "h-ns");
	must(mount("h-ns", "/h-ns", "tmpfs", 0, NULL) ? -errno : 0, "h-ns-mount");
	must(mount(NULL, "/h-ns", NULL, MS_PRIVATE, NULL) ? -errno : 0, "h-ns-private");
	fd = open("/h-ns/bound", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd < 0 ? -errno : 0, "h-ns-file");
	close(fd);
	must(mount(target, "/h-ns/bound", NULL, MS_BIND, NULL) ? -errno : 0, "h-ns-bind");
	end_child(pid);
	pid = start_keeper("ns-opened", target, sizeof(target));
	state_of("h-ns-opened", 0, hold_open, target);
	end_child(pid);
	pid = start_keeper("ns-mountinfo", target, sizeof(target));
	snprintf(target, sizeof(target), "/proc/%d/mountinfo", pid);
	state_of("h-ns-mountinfo", 0, hold_open, target);
	end_child(pid);
	state_of("h-ns-tree", 0, hold_tree_namespace, NULL);
}

/* --- every field of mountinfo --- */

static int user_namespace(const char *unused)
{
	(void)unused;
	return unshare(CLONE_NEWUSER) ? -errno : 0;
}

static int map_ids(const char *dir)
{
	struct nx_mount_attr attributes = { .set = NX_MOUNT_ATTR_IDMAP };
	char path[64];
	pid_t pid = spawn("idmapper", 0, user_namespace, NULL);
	int user, tree;

	if (pid < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	if (write_file(path, "0 1000 1000\n"))
		return -EIO;
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	if (write_file(path, "0 1000 1000\n"))
		return -EIO;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	user = open(path, O_RDONLY | O_CLOEXEC);
	tree = syscall(NX_SYS_OPEN_TREE, AT_FDCWD, dir, NX_OPEN_TREE_CLONE);
	if (user < 0 || tree < 0)
		return -errno;
	attributes.userns_fd = user;
	if (syscall(NX_SYS_MOUNT_SETATTR, tree, "", 0x1000, &attributes, sizeof(attributes)))
		return -errno;
	if (syscall(429 /* move_mount */, tree, "", AT_FDCWD, "/p-idmapped", 4))
		return -errno;
	close(user);
	close(tree);
	end_child(pid);
	return 0;
}

static int slave_and_shared(const char *dir)
{
	return mount(NULL, dir, NULL, MS_SLAVE, NULL) || mount(NULL, dir, NULL, MS_SHARED, NULL) ? -errno : 0;
}

static int only_slave(const char *dir)
{
	return mount(NULL, dir, NULL, MS_SLAVE, NULL) ? -errno : 0;
}

/* A namespace whose mount is a slave and shared, and one below it whose mount is that one's slave. */
static int propagate(const char *dir)
{
	int err = slave_and_shared(dir);

	if (err)
		return err;
	return spawn("p-third", CLONE_NEWNS, only_slave, dir) < 0 ? -errno : 0;
}

static void bind_over(const char *from, const char *to, unsigned long how)
{
	must(make_dir(to), to);
	must(mount(from, to, NULL, MS_BIND, NULL) ? -errno : 0, to);
	if (how)
		must(mount(NULL, to, NULL, how, NULL) ? -errno : 0, to);
}

static void make_fields(void)
{
	int fd, err;

	must(make_dir("/p-shared"), "p-shared");
	must(mount("p \t\\#", "/p-shared", "tmpfs", MS_NOATIME | MS_NODIRATIME, "size=1m") ? -errno : 0, "p-mount");
	must(mount(NULL, "/p-shared", NULL, MS_SHARED, NULL) ? -errno : 0, "p-make-shared");
	must(make_dir("/p-shared/deep"), "p-deep");
	must(make_dir("/p-shared/deep/under ground"), "p-under");
	bind_over("/p-shared", "/p-peer", 0);
	bind_over("/p-shared/deep/under ground", "/p-slave", MS_SLAVE);
	bind_over("/p-slave", "/p-both", MS_SHARED);
	bind_over("/p-shared/deep", "/p-unbindable", MS_UNBINDABLE);
	must(make_dir("/p-shared/gone"), "p-gone");
	bind_over("/p-shared/gone", "/p-deleted", MS_PRIVATE);
	must(rmdir("/p-shared/gone") ? -errno : 0, "p-rmdir");
	fd = open("/p-shared/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd < 0 ? -errno : 0, "p-file");
	close(fd);
	fd = open("/p-onto", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd < 0 ? -errno : 0, "p-onto");
	close(fd);
	must(mount("/p-shared/file", "/p-onto", NULL, MS_BIND, NULL) ? -errno : 0, "p-bind-file");
	bind_over("/p-shared", "/p-flags", MS_PRIVATE);
	must(mount(NULL, "/p-flags", NULL,
		   MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_STRICTATIME | 256 /* nosymfollow */,
		   NULL) ? -errno : 0,
	     "p-flags-remount");
	must(make_dir("/p-idmapped"), "p-idmapped");
	err = map_ids("/p-peer");
	errno = -err;
	state("p-idmapped", err ? -1 : 1);
	state_of("p-second", CLONE_NEWNS, propagate, "/p-shared");
}

void make_holders(void)
{
	dead_mount("h-root", hold_root);
	dead_mount("h-pwd", hold_pwd);
	dead_mount("h-files", hold_files);
	dead_mount("h-table", hold_by_tables);
	dead_mount("h-map", hold_mapping);
	dead_mount("h-socket", bind_socket);
	dead_mount("h-sent", send_away);
	dead_mount("h-mountinfo", hold_by_mountinfo);
	make_dead_program();
	make_connected();
	state_of("h-tree", 0, hold_tree, "/tmp");
	make_namespaces();
	make_fields();
}

/* --- what the kernel itself says of it: NX HELD pid how number mnt_id link-in-hex, a line each --- */

static void print_held(pid_t pid, const char *how, const char *number, long mnt_id, const char *path)
{
	char target[4096];
	ssize_t n = readlink(path, target, sizeof(target));

	printf("NX HELD %d %s %s %ld ", pid, how, number, mnt_id);
	for (ssize_t i = 0; i < n; i++)
		printf("%02x", (unsigned char)target[i]);
	putchar('\n');
}

/* statx() through the magic link */
static long mount_of_link(const char *path)
{
	struct statx st;

	if (syscall(SYS_statx, AT_FDCWD, path, 0, 0x1000 /* STATX_MNT_ID */, &st) || !(st.stx_mask & 0x1000))
		return -1;
	return st.stx_mnt_id;
}

static void held_descriptor(pid_t pid, const char *number)
{
	char path[96], text[1024], *at;

	/* fdinfo, not statx(): a descriptor may be of a socket or a pipe */
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, number);
	if (read_file(path, text, sizeof(text)) < 0 || !(at = strstr(text, "mnt_id:")))
		return;
	snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, number);
	print_held(pid, "fd", number, strtol(at + strlen("mnt_id:"), NULL, 10), path);
}

static void held_mapping(pid_t pid, const char *range)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%s", pid, range);
	print_held(pid, "map", "-", mount_of_link(path), path);
}

static void each_entry(pid_t pid, const char *what, void (*visit)(pid_t, const char *))
{
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			visit(pid, entry->d_name);
	if (dir)
		closedir(dir);
}

int list_held(char **argv)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	(void)argv;
	while (proc && (entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);
		char path[64];

		if (pid <= 0 || pid == getpid())
			continue;
		each_entry(pid, "fd", held_descriptor);
		snprintf(path, sizeof(path), "/proc/%d/exe", pid);
		if (mount_of_link(path) >= 0)
			print_held(pid, "exe", "-", mount_of_link(path), path);
		each_entry(pid, "map_files", held_mapping);
	}
	if (proc)
		closedir(proc);
	fflush(stdout);
	return 0;
}
