/*
 * The kernel's own account of every task, as text, one line each. The harness's parser is oracle.py.
 *
 *	NX ORACLE BEGIN
 *	K key=value ...			the kernel
 *	T key=value ...			a task (a thread)
 *	M ns pid hex			a line of /proc/PID/mountinfo, for one task of every mount namespace
 *	NX ORACLE END lines
 *
 * Bytes are in hex; `!N` is errno N; `-` is a value the kernel does not give.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"

#define KCMP_FS 3
#define NX_STATX_MNT_ID 0x1000
#define NX_STATX_MNT_ID_UNIQUE 0x4000 /* 6.8 */
#define MAX_NS 256

/* One task for each fs_struct seen, in kcmp's own order, so that a lookup is a binary search. */
static pid_t *fs_reps;
static size_t nr_fs_reps, max_fs_reps;

/* For each mount namespace, the task that sees most of its mounts: a chroot hides those outside of it. */
static struct ns_view {
	unsigned long long ns;
	pid_t pid;
	size_t lines;
	bool is_kthread;
} views[MAX_NS];
static size_t nr_views;
static unsigned long lines;

static void print_hex(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		printf("%02x", (unsigned char)bytes[i]);
}

/* The fs_struct's class: the pid of the first task seen that shares it. Negative: -errno. */
static long fs_class(pid_t pid)
{
	size_t low = 0, high = nr_fs_reps;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		long order = syscall(SYS_kcmp, pid, fs_reps[mid], KCMP_FS, 0, 0);

		if (order == 0)
			return fs_reps[mid];
		if (order < 0)
			return -errno;
		if (order == 1)
			high = mid;
		else
			low = mid + 1;
	}
	if (nr_fs_reps == max_fs_reps) {
		max_fs_reps = max_fs_reps ? 2 * max_fs_reps : 256;
		fs_reps = realloc(fs_reps, max_fs_reps * sizeof(*fs_reps));
		if (!fs_reps)
			abort();
	}
	memmove(fs_reps + low + 1, fs_reps + low, (nr_fs_reps - low) * sizeof(*fs_reps));
	fs_reps[low] = pid;
	nr_fs_reps++;
	return pid;
}

static void print_link(const char *key, const char *path)
{
	static char target[16384];
	ssize_t n = readlink(path, target, sizeof(target));

	printf(" %s=", key);
	if (n < 0)
		printf("!%d", errno);
	else
		print_hex(target, n);
}

/* fstype magic,major:minor,inode,mount id,unique mount id,attributes: through the magic link, so that path text plays no part */
static void print_identity(const char *key, const char *path)
{
	struct statfs fs;
	struct statx st, unique;

	printf(" %s=", key);
	if (statfs(path, &fs) || syscall(SYS_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS | NX_STATX_MNT_ID, &st)) {
		printf("!%d", errno);
		return;
	}
	printf("%lx,%u:%u,%" PRIu64 ",", (unsigned long)fs.f_type & 0xffffffff, st.stx_dev_major,
	       st.stx_dev_minor, (uint64_t)st.stx_ino);
	if (st.stx_mask & NX_STATX_MNT_ID)
		printf("%" PRIu64 ",", (uint64_t)st.stx_mnt_id);
	else
		printf("-,");
	if (!syscall(SYS_statx, AT_FDCWD, path, 0, NX_STATX_MNT_ID_UNIQUE, &unique) &&
	    (unique.stx_mask & NX_STATX_MNT_ID_UNIQUE))
		printf("%" PRIu64 ",", (uint64_t)unique.stx_mnt_id);
	else
		printf("-,");
	printf("%" PRIx64, (uint64_t)(st.stx_attributes & st.stx_attributes_mask));
}

static size_t count_lines(const char *path)
{
	static char buf[1 << 18];
	ssize_t n = read_file(path, buf, sizeof(buf));
	size_t count = 0;

	for (ssize_t i = 0; i < n; i++)
		count += buf[i] == '\n';
	return count;
}

static void remember_view(unsigned long long ns, pid_t pid, const char *task_dir, bool is_kthread)
{
	char path[96];
	size_t i, seen;

	for (i = 0; i < nr_views && views[i].ns != ns; i++)
		;
	if (i == MAX_NS || (i < nr_views && is_kthread && !views[i].is_kthread))
		return;
	snprintf(path, sizeof(path), "%s/mountinfo", task_dir);
	seen = count_lines(path);
	if (i < nr_views && seen <= views[i].lines && (is_kthread || !views[i].is_kthread))
		return;
	views[i] = (struct ns_view){ .ns = ns, .pid = pid, .lines = seen, .is_kthread = is_kthread };
	if (i == nr_views)
		nr_views++;
}

static void print_status_value(const char *key, const char *status, const char *field)
{
	const char *at = strstr(status, field);

	if (at)
		printf(" %s=%.*s", key, (int)strcspn(at + strlen(field), "\n"), at + strlen(field));
	else
		printf(" %s=-", key);
}

struct stat_line {
	char state;
	int ppid;
	unsigned long flags;
	unsigned long long start;
	char *comm;
	size_t comm_len;
};

/* /proc/PID/stat: the comm is whatever is between the first '(' and the last ')'. */
static bool parse_stat(char *buf, struct stat_line *out)
{
	char *open = strchr(buf, '('), *close = strrchr(buf, ')');

	if (!open || !close || close < open)
		return false;
	out->comm = open + 1;
	out->comm_len = close - open - 1;
	/* state ppid pgrp session tty tpgid flags, 12 more, starttime */
	return sscanf(close + 1,
		      " %c %d %*d %*d %*d %*d %lu %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		      &out->state, &out->ppid, &out->flags, &out->start) == 4;
}

static void print_mnt_ns(const char *dir, pid_t tid, bool is_kthread)
{
	char path[96], link[64];
	unsigned long long ns;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/ns/mnt", dir);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0) {
		printf(" mnt_ns=!%d", errno);
		return;
	}
	link[n] = '\0';
	if (sscanf(link, "mnt:[%llu]", &ns) != 1) {
		printf(" mnt_ns=!%d", EINVAL);
		return;
	}
	printf(" mnt_ns=%llu", ns);
	remember_view(ns, tid, dir, is_kthread);
}

static void print_task(pid_t tgid, pid_t tid)
{
	static char stat_buf[4096], status[8192];
	char dir[64], path[96];
	struct stat_line st;
	long class;

	snprintf(dir, sizeof(dir), "/proc/%d/task/%d", tgid, tid);
	snprintf(path, sizeof(path), "%s/stat", dir);
	if (read_file(path, stat_buf, sizeof(stat_buf)) < 0 || !parse_stat(stat_buf, &st))
		return; /* it ended since the directory was read */
	snprintf(path, sizeof(path), "%s/status", dir);
	if (read_file(path, status, sizeof(status)) < 0)
		status[0] = '\0';
	lines++;
	printf("T pid=%d tgid=%d ppid=%d state=%c flags=%lx start=%llu comm=", tid, tgid, st.ppid, st.state,
	       st.flags, st.start);
	print_hex(st.comm, st.comm_len);
	print_status_value("umask", status, "\nUmask:\t");
	print_status_value("kthread", status, "\nKthread:\t"); /* 6.11 */
	print_mnt_ns(dir, tid, st.flags & 0x00200000 /* PF_KTHREAD */);
	class = fs_class(tid);
	if (class < 0)
		printf(" fs=!%ld", -class);
	else
		printf(" fs=%ld", class);
	snprintf(path, sizeof(path), "%s/root", dir);
	print_link("root", path);
	print_identity("root_id", path);
	snprintf(path, sizeof(path), "%s/cwd", dir);
	print_link("cwd", path);
	print_identity("cwd_id", path);
	putchar('\n');
}

static void for_each_number(const char *dir, void (*visit)(pid_t, pid_t), pid_t parent)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			visit(parent, atoi(entry->d_name));
	if (d)
		closedir(d);
}

static void print_process(pid_t unused, pid_t tgid)
{
	char dir[64];

	(void)unused;
	snprintf(dir, sizeof(dir), "/proc/%d/task", tgid);
	for_each_number(dir, print_task, tgid);
}

static void print_file(const char *key, const char *path)
{
	char buf[4096];
	ssize_t n = read_file(path, buf, sizeof(buf));

	printf(" %s=", key);
	if (n < 0)
		printf("!%zd", -n);
	else
		print_hex(buf, n && buf[n - 1] == '\n' ? n - 1 : n);
}

static void print_mountinfo(const struct ns_view *view)
{
	static char buf[1 << 18];
	char path[64];
	char *save = NULL;

	/* a tid has a directory of its own in /proc, which readdir does not list */
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", view->pid);
	if (read_file(path, buf, sizeof(buf)) < 0)
		return;
	for (char *line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		printf("M %llu %d ", view->ns, view->pid);
		print_hex(line, strlen(line));
		putchar('\n');
		lines++;
	}
}

void print_oracle(void)
{
	nr_fs_reps = nr_views = 0;
	lines = 1;
	printf("NX ORACLE BEGIN\nK");
	print_file("release", "/proc/sys/kernel/osrelease");
	print_file("cmdline", "/proc/cmdline");
	print_file("boot_id", "/proc/sys/kernel/random/boot_id");
	print_file("uptime", "/proc/uptime");
	printf(" hz=%ld\n", sysconf(_SC_CLK_TCK));
	for_each_number("/proc", print_process, 0);
	for (size_t i = 0; i < nr_views; i++)
		print_mountinfo(&views[i]);
	printf("NX ORACLE END %lu\n", lines);
}
