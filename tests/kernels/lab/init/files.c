/* Files, mounts and modules: the small steps that states are made of. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"

/* Reads at most size - 1 bytes and ends them with a NUL. The length, or a negative errno. */
ssize_t read_file(const char *path, char *buf, size_t size)
{
	size_t got = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (got < size - 1) {
		ssize_t n = read(fd, buf + got, size - 1 - got);

		if (n < 0) {
			int err = -errno;

			close(fd);
			return err;
		}
		if (n == 0)
			break;
		got += n;
	}
	close(fd);
	buf[got] = '\0';
	return got;
}

int write_file(const char *path, const char *text)
{
	int err = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int make_dir(const char *path)
{
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

int mount_tmpfs(const char *source, const char *dir)
{
	return mount(source, dir, "tmpfs", 0, "size=1m") ? -errno : 0;
}

/* Whoever looks up anything below dir sleeps in D state for ever: the first request (FUSE_INIT) is never answered. */
int mount_unserved_fuse(const char *dir)
{
	char options[96];
	int fd = open("/dev/fuse", O_RDWR); /* kept open: closing it would abort the connection */

	if (fd < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
	return mount("unserved", dir, "fuse", MS_NOSUID | MS_NODEV, options) ? -errno : 0;
}

int load_module(const char *name, const char *params)
{
	char path[256];
	int err, fd;

	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, params, 0) && errno != EEXIST ? -errno : 0;
	close(fd);
	return err;
}

/* /modules/order: one `name params` a line, dependencies first. */
int load_listed_modules(void)
{
	static char order[16384];
	ssize_t n = read_file("/modules/order", order, sizeof(order));
	char *save = NULL;

	if (n < 0)
		return n;
	for (char *line = strtok_r(order, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *params = strchr(line, ' ');
		int err;

		if (params)
			*params++ = '\0';
		err = load_module(line, params ? params : "");
		if (err)
			printf("NX FAIL module-%s %d\n", line, -err);
	}
	return 0;
}

/* Part of the scenery could not be made: say so, and go on; the harness refuses such a guest. */
void must(int err, const char *what)
{
	if (err)
		printf("NX FAIL %s %d\n", what, -err);
}
