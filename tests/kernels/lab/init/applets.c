/*
 * Small programs for `sh LINE`: /init lab-NAME ARGS, each 0 or an exit status with a line on stderr.
 *
 *	lab-fuse DIR		mounts a FUSE that nobody serves; a child keeps its descriptor
 *	lab-mnt TYPE SRC DIR	mount(2) and nothing else: no loop device, no helper
 *	lab-prout DEV		SCSI PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY, with APTPL
 *	lab-connect ADDR PORT	a TCP connection over IPv4 that says nothing; a child keeps it
 *	lab-socket FAMILY	socket(2) of a family that may be a module: the kernel runs modprobe
 *	lab-crash		dumps core
 *	lab-detach DIR		umount2(DIR, MNT_DETACH) and nothing else
 *	lab-held		every descriptor, program and mapping of all processes, and the mount each is on (holders.c)
 *	lab-storm NUMBER	so many processes that fork, unshare, chroot, exec and exit without an end; ended by
 *				lab-calm
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <scsi/sg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"

static int fail(const char *what)
{
	perror(what);
	return 1;
}

/* The parent returns 0 at once, the child keeps what is open for ever. */
static int keep_open(const char *comm)
{
	pid_t pid = fork();

	if (pid < 0)
		return fail("fork");
	if (pid)
		return 0;
	setsid();
	set_comm(comm);
	sleep_for_ever();
}

static int fuse(char **argv)
{
	int err = mount_unserved_fuse(argv[1]);

	errno = -err;
	return err ? fail(argv[1]) : keep_open("lab-fuse");
}

static int mnt(char **argv)
{
	if (!argv[2] || !argv[3])
		return 2;
	return mount(argv[2], argv[3], argv[1], 0, NULL) ? fail(argv[3]) : 0;
}

static int prout(char **argv)
{
	unsigned char cdb[10] = { 0x5f, 0x06, [8] = 24 };
	unsigned char list[24] = { [15] = 1, [20] = 0x01 }; /* service action key 1, APTPL */
	unsigned char sense[32];
	struct sg_io_hdr request = {
		.interface_id = 'S',
		.dxfer_direction = SG_DXFER_TO_DEV,
		.cmd_len = sizeof(cdb),
		.mx_sb_len = sizeof(sense),
		.dxfer_len = sizeof(list),
		.dxferp = list,
		.cmdp = cdb,
		.sbp = sense,
		.timeout = 3600 * 1000,
	};
	int fd = open(argv[1], O_RDWR | O_NONBLOCK);

	if (fd < 0)
		return fail(argv[1]);
	if (ioctl(fd, SG_IO, &request))
		return fail("SG_IO");
	return request.status ? 3 : 0;
}

static int connect_to(char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (!argv[2] || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 2;
	to.sin_port = htons(atoi(argv[2]));
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return fail(argv[1]);
	return keep_open("lab-connect");
}

static int open_socket(char **argv)
{
	return socket(atoi(argv[1]), SOCK_SEQPACKET, 0) < 0 ? fail(argv[1]) : 0;
}

static int crash(char **argv)
{
	const struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };

	(void)argv;
	setrlimit(RLIMIT_CORE, &any);
	return raise(SIGSEGV);
}

/* umount(2) and nothing else: umount(8) would look at what hangs */
static int detach(char **argv)
{
	return umount2(argv[1], MNT_DETACH) ? fail(argv[1]) : 0;
}

int run_applet(char **argv)
{
	static const struct {
		const char *name;
		int (*run)(char **argv);
		bool takes_argument;
	} applets[] = {
		{ "lab-fuse", fuse, true },
		{ "lab-mnt", mnt, true },
		{ "lab-prout", prout, true },
		{ "lab-connect", connect_to, true },
		{ "lab-socket", open_socket, true },
		{ "lab-crash", crash, false },
		{ "lab-held", list_held, false },
		{ "lab-detach", detach, true },
		{ "lab-storm", storm, true },
		{ "lab-calm", calm, false },
		{ "lab-nothing", nothing, false },
	};

	for (size_t i = 0; i < sizeof(applets) / sizeof(*applets); i++)
		if (!strcmp(argv[0], applets[i].name) && (argv[1] || !applets[i].takes_argument))
			return applets[i].run(argv);
	fprintf(stderr, "no applet %s\n", argv[0]);
	return 2;
}
