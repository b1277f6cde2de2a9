/*
 * The tool itself, inside the guest: an image on /dev/vda holds it with its Python; a runner reads lines of arguments
 * on the second serial line, runs the tool in the image, and answers there with what it printed and
 *
 *	NX EXIT code
 *
 * What comes before the arguments says how: "@nobody" and "@user" as an ordinary user, "@sudo" as root on behalf of the
 * latter, by the real sudo, "@tty COLUMNSxROWS" with the line as its terminal, as a login leaves it; whether it was left
 * so is said before the exit code. "@script NAME" runs a script of the image instead of the tool, "@busybox NAME" one of
 * busybox's applets, where the image has it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lab.h"

#define MAX_ARGS 32
#define NOBODY 65534
#define USER 1000

/* One run of the tool: program and arguments, and the rest of its line while that is being read. */
struct run {
	char *args[MAX_ARGS + 8];
	int count;
	uid_t uid;
	struct winsize size; /* without rows: no terminal */
};

static struct termios raw, cooked;

/* The line is this process's controlling terminal, and so its children's: nothing hangs it up when one of them ends. */
static int open_line(void)
{
	int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY);

	if (fd < 0 || tcgetattr(fd, &cooked))
		return -1;
	cfsetspeed(&cooked, B115200);
	raw = cooked;
	cfmakeraw(&raw);
	tcsetattr(fd, TCSANOW, &raw);
	if ((setsid() < 0 && getpid() != getsid(0)) || ioctl(fd, TIOCSCTTY, 1))
		return -1;
	return fd;
}

static char *next_word(void)
{
	return strtok(NULL, " \r\n");
}

static void add_args(struct run *run, const char *const *words)
{
	while (*words && run->count < MAX_ARGS)
		run->args[run->count++] = (char *)*words++;
}

/* What "@..." says; the first word that is none of these. */
static char *parse_how(struct run *run, char *word)
{
	static const char *const python[] = { "/py/bin/python3", NULL };
	static const char *const tool[] = { "/bin/nullfs-explorer", NULL };
	static const char *const sudo[] = { "/usr/bin/sudo", "nullfs-explorer", NULL };
	static const char *const busybox[] = { "/bin/busybox", NULL };
	const char *const *program = tool;

	for (; word && *word == '@'; word = next_word()) {
		if (!strcmp(word, "@nobody")) {
			run->uid = NOBODY;
		} else if (!strcmp(word, "@user")) {
			run->uid = USER;
		} else if (!strcmp(word, "@sudo")) {
			run->uid = USER;
			program = sudo;
		} else if (!strcmp(word, "@script")) {
			program = python;
		} else if (!strcmp(word, "@busybox")) {
			program = busybox;
		} else if (!strcmp(word, "@tty") && (word = next_word())) {
			sscanf(word, "%hux%hu", &run->size.ws_col, &run->size.ws_row);
		}
	}
	add_args(run, program);
	return word;
}

static void exec_run(const struct run *run, int fd)
{
	char *const env[] = { "PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8",
			      run->size.ws_row ? "TERM=xterm-256color" : "TERM=dumb", NULL };
	int in = run->size.ws_row ? fd : open("/dev/null", O_RDONLY);

	dup2(in, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (chroot("/img") || chdir("/"))
		_exit(126);
	if (run->uid && (setgroups(0, NULL) || setgid(run->uid) || setuid(run->uid)))
		_exit(126);
	execve(run->args[0], run->args, env);
	_exit(127);
}

static bool is_as_before(int fd)
{
	struct termios now;

	return !tcgetattr(fd, &now) && now.c_iflag == cooked.c_iflag && now.c_oflag == cooked.c_oflag &&
	       now.c_lflag == cooked.c_lflag;
}

static void run_tool(char *line, int fd)
{
	struct run run = { 0 };
	int status = 0;
	char *word;
	pid_t pid;

	for (word = parse_how(&run, strtok(line, " \r\n")); word && run.count < MAX_ARGS; word = next_word())
		run.args[run.count++] = word;
	if (run.size.ws_row) {
		ioctl(fd, TIOCSWINSZ, &run.size);
		tcsetattr(fd, TCSADRAIN, &cooked);
	}
	pid = fork();
	if (!pid)
		exec_run(&run, fd);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		status = errno << 8;
	if (run.size.ws_row) {
		bool same = is_as_before(fd);

		tcsetattr(fd, TCSANOW, &raw);
		dprintf(fd, "\nNX TTY %s\n", same ? "as before" : "changed");
	}
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
	must(mount("tmp", "/img/tmp", "tmpfs", 0, NULL) ? -errno : 0, "tmp");
	/* what sudo wants to have: a host that its hosts file knows, a place for its tickets */
	must(sethostname("lab", 3) ? -errno : 0, "hostname");
	must(mount("tmp", "/img/run", "tmpfs", 0, "size=1m") ? -errno : 0, "run");
	spawn_blocking("live-runner", serve_runs, NULL);
}
