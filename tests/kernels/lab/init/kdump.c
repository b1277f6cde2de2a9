/*
 * A real kdump: the kernel dies, and the crash kernel that waits in its reserved memory writes down what was in the rest.
 *
 * In the first kernel, whatever its scenario is:
 *
 *	arm		(command) loads /next/vmlinuz and /next/initrd as the crash kernel: says NX ARMED
 *	panic		(command) dies
 *
 * In the second, the scenario kdump: for each line of /kdump/plan, "NAME PROGRAM ARGUMENTS...", runs the program with
 * its output to /dev/vda, one dump behind the other, and says where it is: NX DUMP NAME OFFSET LENGTH STATUS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"

#define ON_CRASH 2UL /* KEXEC_FILE_ON_CRASH */
#define CRASH_CMDLINE "console=ttyS0 loglevel=4 panic=-1 nr_cpus=1 reset_devices nx.scenario=kdump"
#define ALIGNMENT (1 << 20)
#define MAX_WORDS 16

void arm_crash_kernel(void)
{
	int kernel = open("/next/vmlinuz", O_RDONLY | O_CLOEXEC), initrd = open("/next/initrd", O_RDONLY | O_CLOEXEC);

	if (kernel < 0 || initrd < 0)
		must(-errno, "open-next");
	must(syscall(SYS_kexec_file_load, kernel, initrd, sizeof(CRASH_CMDLINE), CRASH_CMDLINE, ON_CRASH) ? -errno : 0,
	     "kexec-load");
	close(kernel);
	close(initrd);
	printf("NX ARMED\n");
}

void panic_now(void)
{
	must(write_file("/proc/sysrq-trigger", "c"), "sysrq");
}

static int run_to(int disk, char **args)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		dup2(disk, 1);
		execv(args[0], args);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return errno;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The child's output has this descriptor's offset, which then is where it ended. */
static void write_dump(int disk, char *line)
{
	const off_t at = (lseek(disk, 0, SEEK_CUR) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	const char *name = strtok(line, " ");
	char *args[MAX_WORDS + 1];
	int count = 0, status;
	off_t end;

	while (count < MAX_WORDS && (args[count] = strtok(NULL, " ")))
		count++;
	args[count] = NULL;
	if (!name || !count || lseek(disk, at, SEEK_SET) < 0)
		must(-EINVAL, "plan");
	status = run_to(disk, args);
	end = lseek(disk, 0, SEEK_CUR);
	must(fsync(disk) ? -errno : 0, "fsync");
	printf("\nNX DUMP %s %lld %lld %d\n", name, (long long)at, (long long)(end - at), status);
	fflush(stdout);
}

void make_kdump(void)
{
	static char plan[4096];
	char *rest = plan, *line;
	int disk = open("/dev/vda", O_RDWR | O_CLOEXEC);

	must(disk < 0 ? -errno : 0, "open-disk");
	must(read_file("/kdump/plan", plan, sizeof(plan)) < 0 ? -ENOENT : 0, "read-plan");
	while ((line = strsep(&rest, "\n")))
		if (*line)
			write_dump(disk, line);
	close(disk);
}
