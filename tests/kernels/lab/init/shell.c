/* The console command `sh LINE`: a line of shell in the guest, by busybox (Scenario.packages). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"

#define BUSYBOX "/bin/busybox"

static void exec_shell(const char *line)
{
	int fd = open("/dev/null", O_RDONLY);

	dup2(fd, 0); /* the console's input belongs to init */
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	execl(BUSYBOX, "busybox", "sh", "-c", line, (char *)NULL);
	_exit(127);
}

static void reap_orphans(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* What was printed, then a line of its own: NX SH and the exit status (128 + the signal that ended it). */
void run_shell(const char *line)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		exec_shell(line);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		status = errno << 8;
	reap_orphans();
	printf("\nNX SH %d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	fflush(stdout);
}
