/*
 * PID 1 of a lab guest: mounts what it needs, loads the modules, makes the scenario named on the kernel command
 * line (nx.scenario=NAME), says NX READY on the serial console, and then answers commands there:
 *
 *	oracle		what the kernel itself says of every task (oracle.c)
 *	sh LINE		runs a line of shell (shell.c)
 *	applet NAME ARG	runs an applet (applets.c) and says NX APPLET with its exit status
 *	arm, panic	a crash kernel, and its case (kdump.c)
 *	poweroff	ends the guest
 *
 * It forks nothing after NX READY unless told to: two listings show the same PID 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lab.h"

static void open_console(void)
{
	struct termios raw;
	int fd = open("/dev/ttyS0", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	if (!tcgetattr(fd, &raw)) {
		cfmakeraw(&raw); /* no echo, and no carriage returns: the harness reads lines of bytes */
		tcsetattr(fd, TCSANOW, &raw);
	}
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
}

static int mount_kernel_fs(const char *type, const char *dir)
{
	make_dir(dir);
	/* the kernel mounts no devtmpfs for an initramfs, but a harness may have: EBUSY is as good */
	return mount(type, dir, type, 0, NULL) && errno != EBUSY ? -errno : 0;
}

static const char *scenario_name(void)
{
	static char cmdline[4096];
	char *at, *end;

	if (read_file("/proc/cmdline", cmdline, sizeof(cmdline)) < 0)
		return "healthy";
	at = strstr(cmdline, "nx.scenario=");
	if (!at)
		return "healthy";
	at += strlen("nx.scenario=");
	end = at + strcspn(at, " \n");
	*end = '\0';
	return at;
}

static void make_scenario(const char *name)
{
	for (const struct scenario *s = scenarios; s->name; s++) {
		if (!strcmp(s->name, name)) {
			s->make();
			return;
		}
	}
	printf("NX FAIL scenario-%s %d\n", name, ENOENT);
}

static void serve_applet(char *line)
{
	char *const name = strtok(line, " "), *const argument = strtok(NULL, " ");
	char *args[] = { name, argument, NULL };
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(name ? run_applet(args) : 2);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		status = 0x7f00;
	printf("NX APPLET %d\n", WEXITSTATUS(status));
}

static void serve(void)
{
	static char line[8192];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\r\n")] = '\0';
		if (!strcmp(line, "oracle"))
			print_oracle();
		else if (!strncmp(line, "sh ", 3))
			run_shell(line + 3);
		else if (!strncmp(line, "applet ", 7))
			serve_applet(line + 7);
		else if (!strcmp(line, "arm"))
			arm_crash_kernel();
		else if (!strcmp(line, "panic"))
			panic_now();
		else if (!strcmp(line, "poweroff"))
			reboot(RB_POWER_OFF);
		else
			printf("NX FAIL command %d\n", EINVAL);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	/* The kernel runs this same file as its modprobe: a usermodehelper that never ends. */
	if (getpid() != 1) {
		const char *name = strrchr(argv[0], '/');

		if (argc > 1 && !strncmp(argv[1], "lab-", 4))
			return run_applet(argv + 1);
		if (!access("/real-root", F_OK))
			return run_real_root_helper();
		set_comm(name ? name + 1 : argv[0]);
		sleep_for_ever();
	}
	if (argc > 1 && !strcmp(argv[1], "real-root")) {
		setvbuf(stdout, NULL, _IOFBF, 1 << 16);
		run_real_root();
		printf("NX READY\n");
		fflush(stdout);
		serve();
		sleep_for_ever();
	}
	set_comm("nx-init");
	must(mount_kernel_fs("devtmpfs", "/dev"), "devtmpfs");
	open_console();
	must(mount_kernel_fs("proc", "/proc"), "proc");
	must(mount_kernel_fs("sysfs", "/sys"), "sysfs");
	printf("NX INIT\n");
	fflush(stdout);
	must(load_listed_modules(), "modules");
	/* from here on printk must not cut into the lines */
	must(write_file("/proc/sys/kernel/printk", "1"), "printk");
	make_scenario(scenario_name());
	printf("NX READY\n");
	fflush(stdout);
	serve();
	sleep_for_ever();
}
