/* lively: every way in which an fs_struct can be owned, shared and placed inside one namespace. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"

static int enter_dir(const char *dir)
{
	return chdir(dir) ? -errno : 0;
}

static int enter_jail(const char *dir)
{
	return chroot(dir) || chdir("/") ? -errno : 0;
}

/* The classic way out of a chroot: the cwd stays outside. */
static int jail_root_only(const char *dir)
{
	return chroot(dir) ? -errno : 0;
}

static int chroot_to_root(const char *unused)
{
	(void)unused;
	return chroot("/") ? -errno : 0;
}

static int set_umask(const char *octal)
{
	umask(strtol(octal, NULL, 8));
	return 0;
}

static int lead_fs_pair(const char *dir)
{
	if (chdir(dir))
		return -errno;
	return spawn("fspair-b", CLONE_FS, NULL, NULL) < 0 ? -errno : 0;
}

static sem_t thread_made;
static int thread_err;

static void *thread_shared(void *unused)
{
	(void)unused;
	set_comm("thr-shared");
	sem_post(&thread_made);
	sleep_for_ever();
}

static void *thread_unshared(void *unused)
{
	(void)unused;
	set_comm("thr-unshared");
	if (unshare(CLONE_FS) || chdir("/srv/data"))
		thread_err = -errno;
	sem_post(&thread_made);
	sleep_for_ever();
}

static int start_thread(void *(*run)(void *))
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, run, NULL);

	if (err)
		return -err;
	sem_wait(&thread_made);
	return thread_err;
}

static int make_threads(const char *unused)
{
	int err;

	(void)unused;
	sem_init(&thread_made, 0, 0);
	err = start_thread(thread_shared);
	return err ? err : start_thread(thread_unshared);
}

/* A thread group whose leader has exited: the leader has no fs_struct, its thread does. */
static int leave_threads_behind(const char *unused)
{
	int err;

	(void)unused;
	sem_init(&thread_made, 0, 0);
	err = start_thread(thread_shared);
	if (!err)
		syscall(SYS_exit, 0);
	return err;
}

static int enter_deleted_dir(const char *dir)
{
	int err = make_dir(dir);

	if (err)
		return err;
	return chdir(dir) || rmdir(dir) ? -errno : 0;
}

static int enter_deleted_root(const char *dir)
{
	int err = make_dir(dir);
	int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (err || outside < 0)
		return err ? err : -errno;
	if (chroot(dir) || chdir("/") || unlinkat(outside, dir + 1, AT_REMOVEDIR))
		return -errno;
	close(outside);
	return 0;
}

/* Steps of 200 bytes, so that the whole can be longer than PATH_MAX. */
static int enter_long_path(const char *length)
{
	char step[201];

	memset(step, 'p', sizeof(step) - 1);
	step[sizeof(step) - 1] = '\0';
	if (chdir("/long"))
		return -errno;
	for (int left = atoi(length); left > 0; left -= sizeof(step)) {
		int err = make_dir(step);

		if (err)
			return err;
		if (chdir(step))
			return -errno;
	}
	return 0;
}

static int end_at_once(const char *unused)
{
	(void)unused;
	_exit(0);
}

void make_lively_fs(void)
{
	pid_t pid;

	must(make_dir("/srv"), "srv");
	must(make_dir("/srv/data"), "srv-data");
	must(make_dir("/srv/pair"), "srv-pair");
	must(make_dir("/jail"), "jail");
	must(make_dir("/long"), "long");
	state_of("chdir", 0, enter_dir, "/srv/data");
	state_of("chroot", 0, enter_jail, "/jail");
	state_of("chroot-cwd-out", 0, jail_root_only, "/jail");
	state_of("chroot-slash", 0, chroot_to_root, NULL);
	state_of("umask-0077", 0, set_umask, "077");
	state_of("umask-0000", 0, set_umask, "0");
	state_of("fspair-a", 0, lead_fs_pair, "/srv/pair");
	state_of("threads", 0, make_threads, NULL);
	pid = spawn_blocking("dead-leader", leave_threads_behind, NULL);
	state("dead-leader", wait_for_state(pid, 'Z') ? pid : -1);
	state_of("cwd-deleted", 0, enter_deleted_dir, "/gone");
	state_of("root-deleted", 0, enter_deleted_root, "/gone-root");
	state_of("cwd-long", 0, enter_long_path, "1400");
	state_of("cwd-too-long", 0, enter_long_path, "6000"); /* over PATH_MAX: readlink says ENAMETOOLONG */
	pid = spawn_blocking("zombie", end_at_once, NULL);
	state("zombie", wait_for_state(pid, 'Z') ? pid : -1);
}
