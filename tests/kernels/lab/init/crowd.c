/*
 * Many tasks, each with an fs_struct of its own: what a capture's speed is measured on. The harness says how many
 * (nx.tasks=N on the kernel command line). Their working directories are a few dozen, as on a large machine.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"

#define NR_DIRS 40
#define DEFAULT_TASKS 1000

/* A number of the kernel command line; key is "nx.tasks=", for example. */
static int wanted(const char *key, int otherwise)
{
	static char cmdline[4096];
	char *at;

	if (read_file("/proc/cmdline", cmdline, sizeof(cmdline)) < 0)
		return otherwise;
	at = strstr(cmdline, key);
	return at ? atoi(at + strlen(key)) : otherwise;
}

static int wanted_tasks(void)
{
	return wanted("nx.tasks=", DEFAULT_TASKS);
}

/* The next task is made in the next directory. */
static void enter_dir_of(int number)
{
	char dir[32];

	snprintf(dir, sizeof(dir), "/srv/place-%02d", number % NR_DIRS);
	if (chdir(dir))
		printf("NX FAIL chdir %d\n", errno);
}

static void raise_limits(void)
{
	char dir[32];

	must(make_dir("/srv"), "srv");
	for (int i = 0; i < NR_DIRS; i++) {
		snprintf(dir, sizeof(dir), "/srv/place-%02d", i);
		must(make_dir(dir), dir);
	}
	must(write_file("/proc/sys/kernel/pid_max", "4194304"), "pid_max");
	must(write_file("/proc/sys/kernel/threads-max", "1000000"), "threads-max");
}

/* A child of PID 1 for each: fork(2) copies the fs_struct. */
void make_crowd(void)
{
	int count = wanted_tasks();

	raise_limits();
	fflush(stdout);
	for (int i = 0; i < count; i++) {
		pid_t pid;

		enter_dir_of(i);
		pid = fork();
		if (pid == 0) {
			set_comm("crowd");
			sleep_for_ever();
		}
		if (pid < 0) {
			printf("NX FAIL fork %d\n", errno);
			break;
		}
	}
	must(chdir("/") ? -errno : 0, "chdir");
}

/*
 * clone(2) of a thread that never touches memory: it needs no stack of its own, so that a hundred thousand of them
 * fit into a small guest. The parent gets the thread's id, or a negative errno.
 */
static long clone_sleeper(unsigned long more)
{
	unsigned long flags = CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | more;
	long ret;

	asm volatile("xor %%edx, %%edx\n\t"
		     "xor %%r10d, %%r10d\n\t"
		     "xor %%r8d, %%r8d\n\t"
		     "syscall\n\t"
		     "test %%rax, %%rax\n\t"
		     "jnz 2f\n"
		     "1:\tmov %[pause], %%eax\n\t"
		     "syscall\n\t"
		     "jmp 1b\n"
		     "2:"
		     : "=a"(ret)
		     : "0"((long)SYS_clone), "D"(flags), "S"(0L), [pause] "i"(SYS_pause)
		     : "rcx", "rdx", "r8", "r10", "r11", "memory", "cc");
	return ret;
}

/* One process with all of them as its threads; without CLONE_FS each has a copy of its fs_struct. */
static int lead_threads(const char *unused)
{
	int count = wanted_tasks();

	(void)unused;
	for (int i = 0; i < count; i++) {
		long tid;

		enter_dir_of(i);
		tid = clone_sleeper(0);
		if (tid < 0)
			return (int)tid;
	}
	return 0;
}

void make_many_threads(void)
{
	raise_limits();
	state_of("threads", 0, lead_threads, NULL);
}

/* In a mount namespace of its own: so many more mounts, all of one filesystem. */
static int spread_mounts(int mounts)
{
	char dir[32];

	if (unshare(CLONE_NEWNS))
		return -errno;
	for (int i = 0; i < mounts; i++) {
		snprintf(dir, sizeof(dir), "/srv/place-%02d", i % NR_DIRS);
		if (mount("/srv", dir, NULL, MS_BIND, NULL))
			return -errno;
	}
	return 0;
}

/*
 * nx.tasks=N processes of nx.threads=T threads that share one fs_struct; the first nx.namespaces=M of them in a mount
 * namespace each, with nx.mounts=K mounts more than PID 1's. One after the other: each says when it is done.
 */
void make_sprawl(void)
{
	int count = wanted_tasks(), threads = wanted("nx.threads=", 10);
	int namespaces = wanted("nx.namespaces=", 0), mounts = wanted("nx.mounts=", 5);
	int done[2];

	raise_limits();
	must(pipe(done) ? -errno : 0, "pipe");
	fflush(stdout);
	for (int i = 0; i < count; i++) {
		pid_t pid;
		int err = 0;

		enter_dir_of(i);
		pid = fork();
		if (pid == 0) {
			set_comm("sprawl");
			if (i < namespaces)
				err = spread_mounts(mounts);
			for (int j = 1; !err && j < threads; j++) {
				long tid = clone_sleeper(CLONE_FS);

				err = tid < 0 ? (int)tid : 0;
			}
			if (write(done[1], &err, sizeof(err)) != sizeof(err))
				_exit(1);
			sleep_for_ever();
		}
		if (pid < 0 || read(done[0], &err, sizeof(err)) != sizeof(err) || err) {
			printf("NX FAIL sprawl %d: %d\n", i, pid < 0 ? errno : err);
			break;
		}
	}
	must(chdir("/") ? -errno : 0, "chdir");
}
