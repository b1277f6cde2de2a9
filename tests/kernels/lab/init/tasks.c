/* Children that make one state each and then sleep for ever. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"

#define WAIT_STEPS 200
#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

void set_comm(const char *comm)
{
	prctl(PR_SET_NAME, comm, 0, 0, 0);
}

void sleep_for_ever(void)
{
	for (;;)
		pause();
}

static void report(int fd, int err)
{
	if (write(fd, &err, sizeof(err)) != sizeof(err))
		_exit(2);
	close(fd);
}

/* The pid of a child that made its state, or -1 with errno. */
static pid_t await_report(pid_t pid, int fd)
{
	int err = -EPIPE; /* a child that died first */

	if (read(fd, &err, sizeof(err)) != sizeof(err))
		err = -EPIPE;
	close(fd);
	if (!err)
		return pid;
	waitpid(pid, NULL, 0);
	errno = -err;
	return -1;
}

/* clone(2) without a new stack, as fork does: only the flags differ. */
pid_t spawn(const char *comm, unsigned long clone_flags, state_fn make, const char *arg)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	fflush(stdout);
	pid = syscall(SYS_clone, clone_flags | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		int err;

		close(fds[0]);
		set_comm(comm);
		err = make ? make(arg) : 0;
		report(fds[1], err);
		if (err)
			_exit(1);
		sleep_for_ever();
	}
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return -1;
	}
	return await_report(pid, fds[0]);
}

/* For a state that never returns: the child reports first, then blocks. The caller waits for what it must see. */
pid_t spawn_blocking(const char *comm, state_fn block, const char *arg)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		set_comm(comm);
		report(fds[1], 0);
		block(arg);
		_exit(3);
	}
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return -1;
	}
	return await_report(pid, fds[0]);
}

/*
 * Tells the harness which task is in which state. EINVAL and ENOSYS are how a kernel says that it has no such thing:
 * SKIP. Any other errno is a fault of the lab.
 */
void state(const char *name, pid_t pid)
{
	if (pid > 0)
		printf("NX STATE %s %d\n", name, pid);
	else if (errno == EINVAL || errno == ENOSYS)
		printf("NX SKIP %s %d\n", name, errno);
	else
		printf("NX FAIL %s %d\n", name, errno);
}

pid_t state_of(const char *comm, unsigned long clone_flags, state_fn make, const char *arg)
{
	pid_t pid = spawn(comm, clone_flags, make, arg);

	state(comm, pid);
	return pid;
}

static void short_sleep(void)
{
	const struct timespec step = { .tv_nsec = 50 * 1000 * 1000 };

	nanosleep(&step, NULL);
}

/* The state letter of /proc/PID/stat, or '\0' for a task that is not there. */
char task_state(pid_t pid)
{
	char path[64], buf[512];
	char *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (read_file(path, buf, sizeof(buf)) < 0)
		return '\0';
	end = strrchr(buf, ')'); /* the comm may hold anything, a ')' too */
	return end && end[1] ? end[2] : '\0';
}

bool wait_for_state(pid_t pid, char wanted)
{
	for (int i = 0; i < WAIT_STEPS; i++) {
		if (task_state(pid) == wanted)
			return true;
		short_sleep();
	}
	errno = ETIMEDOUT;
	return false;
}

/* Ends a child of ours, and waits until it is gone. */
void end_child(pid_t pid)
{
	if (pid > 0 && !kill(pid, SIGKILL))
		waitpid(pid, NULL, 0);
}

typedef bool (*task_fn)(pid_t pid, const char *wanted);

static bool has_comm(pid_t pid, const char *comm)
{
	char path[64], buf[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return false;
	buf[strcspn(buf, "\n")] = '\0';
	return !strcmp(buf, comm);
}

/* A usermodehelper before its exec: called as the kworker that made it, and no kernel thread; it waits in D. */
static bool is_stuck_helper(pid_t pid, const char *unused)
{
	char path[64], buf[512], state;
	unsigned long flags;
	char *end;

	(void)unused;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (read_file(path, buf, sizeof(buf)) <= 0 || !strstr(buf, " (kworker/"))
		return false;
	end = strrchr(buf, ')');
	return end && sscanf(end + 1, " %c %*d %*d %*d %*d %*d %lu", &state, &flags) == 2 &&
	       state == 'D' && !(flags & PF_KTHREAD);
}

static pid_t find_task(task_fn is_wanted, const char *wanted)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = -1;

	while (proc && found < 0 && (entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);

		if (pid > 0 && is_wanted(pid, wanted))
			found = pid;
	}
	if (proc)
		closedir(proc);
	return found;
}

static pid_t wait_for_task(task_fn is_wanted, const char *wanted)
{
	for (int i = 0; i < WAIT_STEPS; i++) {
		pid_t pid = find_task(is_wanted, wanted);

		if (pid > 0)
			return pid;
		short_sleep();
	}
	errno = ETIMEDOUT;
	return -1;
}

pid_t wait_for_comm(const char *comm)
{
	return wait_for_task(has_comm, comm);
}

pid_t wait_for_stuck_helper(void)
{
	return wait_for_task(is_stuck_helper, NULL);
}
