/* Churn: processes that come and go as fast as they can. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"

#define PID_FILE "/storm.pid"
#define NR_KINDS 6

/* One life: what a capture finds in the middle of it is anybody's guess. */
static void live_once(unsigned int kind)
{
	static char *const program[] = { "init", "lab-nothing", NULL };

	switch (kind % NR_KINDS) {
	case 0:
		if (unshare(CLONE_FS) || chdir("/proc"))
			_exit(1);
		break;
	case 1:
		if (chroot("/srv") || chdir("/"))
			_exit(1);
		break;
	case 2:
		if (unshare(CLONE_NEWNS))
			_exit(1);
		break;
	case 3:
		execv("/init", program);
		_exit(1);
	case 4:
		if (!fork()) /* an orphan */
			usleep(1000);
		break;
	default:
		usleep(2000);
	}
	_exit(0);
}

static void rage(unsigned int seed)
{
	for (unsigned int life = seed;; life++) {
		pid_t pid = fork();

		if (!pid)
			live_once(life);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}

int storm(char **argv)
{
	int count = atoi(argv[1]);
	char text[32];
	pid_t leader = fork();

	if (leader < 0)
		return 1;
	if (leader) {
		snprintf(text, sizeof(text), "%d", leader);
		return write_file(PID_FILE, text) ? 1 : 0;
	}
	setpgid(0, 0);
	set_comm("storm");
	/* Orphans are reaped here: PID 1 of the lab does that only now and then, and there is an end to pids. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* Under emulation the storm would otherwise leave a capture a tenth of its speed. */
	if (nice(5) < 0)
		return 1;
	for (int i = 0; i < count; i++)
		if (!fork())
			rage(i);
	for (;;)
		waitpid(-1, NULL, 0);
}

int calm(char **argv)
{
	char text[32] = "";
	pid_t leader;

	(void)argv;
	if (read_file(PID_FILE, text, sizeof(text)) < 0)
		return 1;
	leader = atoi(text);
	return leader > 1 && !kill(-leader, SIGKILL) ? 0 : 1;
}

int nothing(char **argv)
{
	(void)argv;
	return 0;
}
