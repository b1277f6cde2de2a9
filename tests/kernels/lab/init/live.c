/*
 * The tool itself, inside the guest: an image on /dev/vda holds it with its Python; a runner reads lines of arguments
 * on the second serial line, runs the tool in the image, and answers there with what it printed and
 *
 *	NX EXIT code
 *
 * A line that begins with "@nobody " runs the tool as an ordinary user, "@sudo " as root on behalf of that user: by
 * way of a setuid program, which is this one. "@script NAME " runs a script of the image instead of the tool, "@init APPLET "
 * an applet of this program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lab.h"

#define MAX_ARGS 32
#define SU "/tmp/su"

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

static char *skip(char *line, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(line, prefix, length) ? NULL : line + length;
}

static void run_tool(char *line, int fd)
{
	static char *const env[] = { "PYTHONHOME=/py", "PYTHONPATH=/app:/site", "HOME=/tmp", "TERM=dumb", NULL };
	char *args[MAX_ARGS + 8] = { NULL }, *rest;
	bool as_nobody = false, in_image = true;
	int count = 0, status = 0;
	pid_t pid;

	if ((rest = skip(line, "@nobody "))) {
		as_nobody = true;
	} else if ((rest = skip(line, "@sudo "))) {
		as_nobody = true;
		args[count++] = SU;
		args[count++] = "lab-su";
	}
	line = rest ? rest : line;
	if ((rest = skip(line, "@init "))) {
		in_image = false;
		args[count++] = "/init";
	} else if ((rest = skip(line, "@script "))) {
		args[count++] = "/py/bin/python3";
	} else {
		args[count++] = "/py/bin/python3";
		args[count++] = "-m";
		args[count++] = "explorer";
	}
	line = rest ? rest : line;
	for (char *word = strtok(line, " \r\n"); word && count < MAX_ARGS; word = strtok(NULL, " \r\n"))
		args[count++] = word;
	pid = fork();
	if (!pid) {
		dup2(fd, 1);
		dup2(fd, 2);
		if (!in_image)
			execve(args[0], args, env);
		if (chroot("/img") || chdir("/") || (as_nobody && (setgid(65534) || setuid(65534))))
			_exit(126);
		execve(args[0], args, env);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		status = errno << 8;
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

/* A copy of this program in the image's /tmp, owned by root and setuid. */
static int install_su(void)
{
	static char data[4 << 20];
	int from = open("/init", O_RDONLY), to = open("/img" SU, O_WRONLY | O_CREAT | O_EXCL, 0700);
	ssize_t count;

	if (from < 0 || to < 0)
		return -errno;
	while ((count = read(from, data, sizeof(data))) > 0)
		if (write(to, data, count) != count)
			return -errno;
	if (count || fchmod(to, 04755) || close(to) || close(from))
		return -errno;
	return 0;
}

void make_live_runner(void)
{
	must(make_dir("/img"), "img");
	must(mount("/dev/vda", "/img", "squashfs", MS_RDONLY, NULL) ? -errno : 0, "mount-image");
	must(mount("/proc", "/img/proc", NULL, MS_BIND | MS_REC, NULL) ? -errno : 0, "bind-proc");
	must(mount("/sys", "/img/sys", NULL, MS_BIND | MS_REC, NULL) ? -errno : 0, "bind-sys");
	must(mount("/dev", "/img/dev", NULL, MS_BIND | MS_REC, NULL) ? -errno : 0, "bind-dev");
	must(mount("tmp", "/img/tmp", "tmpfs", 0, "size=32m") ? -errno : 0, "tmp");
	must(install_su(), "su");
	spawn_blocking("live-runner", serve_runs, NULL);
}
