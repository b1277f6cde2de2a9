/*
 * The tool itself, inside the guest: an image on /dev/vda holds it with its Python; a runner reads lines of arguments
 * on the second serial line, runs the tool in the image, and answers there with what it printed and
 *
 *	NX EXIT code
 *
 * A line that begins with "@nobody " runs the tool as an ordinary user.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lab.h"

#define MAX_ARGS 32

static int open_line(void)
{
	struct termios raw;
	int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY);

	if (fd >= 0 && !tcgetattr(fd, &raw)) {
		cfmakeraw(&raw);
		tcsetattr(fd, TCSANOW, &raw);
	}
	return fd;
}

static void run_tool(char *line, int fd)
{
	static char *const env[] = { "PYTHONHOME=/py", "PYTHONPATH=/app:/site", "HOME=/tmp", "TERM=dumb", NULL };
	bool as_nobody = !strncmp(line, "@nobody ", 8);
	char *args[MAX_ARGS + 4] = { "/py/bin/python3", "-m", "explorer" };
	int count = 3, status = 0;
	pid_t pid;

	if (as_nobody)
		line += 8;
	for (char *word = strtok(line, " \r\n"); word && count < MAX_ARGS + 3; word = strtok(NULL, " \r\n"))
		args[count++] = word;
	pid = fork();
	if (!pid) {
		dup2(fd, 1);
		dup2(fd, 2);
		if (chroot("/img") || chdir("/") || (as_nobody && (setgid(65534) || setuid(65534))))
			_exit(126);
		execve(args[0], args, env);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	dprintf(fd, "\nNX EXIT %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status));
}

static int serve_runs(const char *unused)
{
	int fd = open_line();
	char line[1024];
	FILE *in;

	(void)unused;
	if (fd < 0)
		return -errno;
	in = fdopen(dup(fd), "r");
	if (!in)
		return -errno;
	dprintf(fd, "NX LINE\n");
	while (fgets(line, sizeof(line), in))
		run_tool(line, fd);
	return 0;
}

void make_live_runner(void)
{
	must(make_dir("/img"), "img");
	must(mount("/dev/vda", "/img", "squashfs", MS_RDONLY, NULL) ? -errno : 0, "mount-image");
	must(mount("/proc", "/img/proc", NULL, MS_BIND | MS_REC, NULL) ? -errno : 0, "bind-proc");
	must(mount("/sys", "/img/sys", NULL, MS_BIND | MS_REC, NULL) ? -errno : 0, "bind-sys");
	must(mount("/dev", "/img/dev", NULL, MS_BIND | MS_REC, NULL) ? -errno : 0, "bind-dev");
	must(mount_tmpfs("tmp", "/img/tmp"), "tmp");
	spawn_blocking("live-runner", serve_runs, NULL);
}
