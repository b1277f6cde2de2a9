/*
 * The one file: it carries a tree of files, unpacks it to a directory of its own, runs the program in it, and removes
 * the directory when that has ended. Static: the tree has a C library of its own, and this needs none.
 *
 * The directory is below $TMPDIR, or else /tmp, /var/tmp or /run; mkdtemp(3) makes it, with mode 0700. What is unpacked
 * is run, by root too: so nobody but this user and root may be able to rename a directory on the way there.
 *
 * Exit codes: the program's own; 3 if it cannot be unpacked. A signal that ends the program ends this too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#define NAME "nullfs-explorer"
#define CANNOT_UNPACK 3
#define BLOCK 4096

/* The archive (archive.py), put here by the assembler; a section of its own, for whoever looks into this file. */
__asm__(".section .archive,\"a\"\n.balign 16\narchive_start:\n.incbin \"archive\"\narchive_end:\n.previous\n");
extern const char archive_start[], archive_end[];

/* What stands before each file or directory of the archive; then its name, then its content. */
struct header {
	uint32_t mode;
	uint32_t name_length;
	uint64_t size;
};

static void fail(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, NAME ": ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	exit(CANNOT_UNPACK);
}

/* Why others could put something else in place of what is in a directory; NULL: they cannot. */
static const char *danger(const char *path)
{
	struct stat found;

	if (lstat(path, &found))
		return strerror(errno);
	if (!S_ISDIR(found.st_mode))
		return "it is no directory";
	if (found.st_uid != 0 && found.st_uid != geteuid())
		return "it, or a directory above it, is another user's";
	if ((found.st_mode & 022) && !(found.st_mode & S_ISVTX))
		return "others may replace what is in it, or in a directory above it";
	return NULL;
}

/* Why nothing should be unpacked and run below a directory; NULL: nothing speaks against it. */
static const char *objection(const char *path)
{
	char real[PATH_MAX], *end = real;
	const char *why = danger("/");
	struct statvfs mounted;

	if (!realpath(path, real))
		return strerror(errno);
	while (!why && end) {
		end = strchr(end + 1, '/');
		if (end)
			*end = '\0';
		why = danger(real);
		if (end)
			*end = '/';
	}
	if (why)
		return why;
	if (access(real, W_OK | X_OK))
		return strerror(errno);
	if (!statvfs(real, &mounted) && (mounted.f_flag & ST_NOEXEC))
		return "it is mounted noexec";
	return NULL;
}

/* A new directory, which the caller removes. */
static char *make_directory(void)
{
	static const char *const usual[] = { "/tmp", "/var/tmp", "/run", NULL };
	const char *const own[] = { getenv("TMPDIR"), NULL };
	const char *const *places = own[0] && *own[0] ? own : usual;
	const char *first = *places, *first_why = NULL;
	static char path[PATH_MAX];

	for (; *places; places++) {
		const char *why = objection(*places);

		if (!why && snprintf(path, sizeof(path), "%s/" NAME "-XXXXXX", *places) < PATH_MAX && mkdtemp(path))
			return path;
		if (!first_why)
			first_why = why ? why : strerror(errno);
	}
	fail("cannot unpack itself to %s (%s): set TMPDIR to a directory that only you can write", first, first_why);
	return NULL;
}

/* The archive, unpacked as it is read; expected is 0 when all of it is read, and its checksum found right. */
struct source {
	ZSTD_DStream *stream;
	ZSTD_inBuffer packed;
	size_t expected;
};

static void fail_damaged(void)
{
	fail("this file is damaged: copy it again");
}

static void read_more(struct source *from, ZSTD_outBuffer *to)
{
	size_t before = to->pos, left = from->packed.size - from->packed.pos;

	from->expected = ZSTD_decompressStream(from->stream, to, &from->packed);
	if (ZSTD_isError(from->expected) || (to->pos == before && left == from->packed.size - from->packed.pos))
		fail_damaged();
}

static void read_exactly(struct source *from, void *to, size_t size)
{
	ZSTD_outBuffer out = { to, size, 0 };

	while (out.pos < out.size)
		read_more(from, &out);
}

static void read_end(struct source *from)
{
	ZSTD_outBuffer none = { NULL, 0, 0 };

	while (from->expected)
		read_more(from, &none);
}

/* Blocks of zeros are left out: the libraries of wheels are full of them, and they would take space. */
static void unpack_file(struct source *from, int directory, const char *path, const struct header *header)
{
	static char block[BLOCK], zeros[BLOCK];
	int fd = openat(directory, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, header->mode & 0777);
	uint64_t done, size;

	for (done = 0; fd >= 0 && done < header->size; done += size) {
		size = header->size - done < BLOCK ? header->size - done : BLOCK;
		read_exactly(from, block, size);
		if (!memcmp(block, zeros, size) ? lseek(fd, (off_t)size, SEEK_CUR) < 0 :
						  write(fd, block, size) != (ssize_t)size)
			fail("cannot unpack itself to %s: %s", path, strerror(errno ? errno : ENOSPC));
	}
	if (fd < 0 || ftruncate(fd, (off_t)header->size) || close(fd))
		fail("cannot unpack itself to %s: %s", path, strerror(errno));
}

static void unpack(const char *to)
{
	struct source from = { ZSTD_createDStream(), { archive_start, archive_end - archive_start, 0 }, 1 };
	int directory = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[PATH_MAX];
	struct header header;

	if (!from.stream || directory < 0)
		fail("cannot unpack itself to %s: %s", to, strerror(errno));
	for (;;) {
		read_exactly(&from, &header, sizeof(header));
		if (!header.name_length) /* the end */
			break;
		if (header.name_length >= sizeof(name))
			fail_damaged();
		read_exactly(&from, name, header.name_length);
		name[header.name_length] = '\0';
		if (!S_ISDIR(header.mode))
			unpack_file(&from, directory, name, &header);
		else if (mkdirat(directory, name, 0755))
			fail("cannot unpack itself to %s/%s: %s", to, name, strerror(errno));
	}
	read_end(&from);
	close(directory);
	ZSTD_freeDStream(from.stream);
}

/* This file, for those whom the program starts again. */
static const char *own_path(void)
{
	static char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	const char *started = (const char *)getauxval(AT_EXECFN);

	if (length > 0)
		return path;
	return started && realpath(started, path) ? path : NAME;
}

static char *below(const char *directory, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		fail("out of memory");
	return path;
}

/* In the child: the tree's own loader runs the tree's own Python, and neither looks at the machine's libraries. */
static void run_program(const char *directory, int argc, char **argv)
{
	char **words = calloc((size_t)argc + 10, sizeof(char *));
	mode_t mask = umask(022);
	int count = 0;

	if (!words)
		fail("out of memory");
	unpack(directory);
	umask(mask);
	words[count++] = below(directory, NAME);
	words[count++] = "--inhibit-cache";
	words[count++] = "--library-path";
	words[count++] = below(directory, "lib");
	words[count++] = below(directory, "bin/python3");
	words[count++] = "-I";
	words[count++] = below(directory, "start.pyc");
	words[count++] = (char *)own_path();
	for (int i = 1; i < argc; i++)
		words[count++] = argv[i];
	unsetenv("LD_PRELOAD"); /* made for another C library */
	unsetenv("LD_AUDIT");
	execv(words[0], words);
	fail("cannot run what was unpacked to %s: %s", directory, strerror(errno));
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *where)
{
	(void)found, (void)kind, (void)where;
	remove(path);
	return 0;
}

/* Waits for the child, stops when it stops, and hands signals on that only this process was sent. */
static int wait_for(pid_t child, const sigset_t *heeded)
{
	siginfo_t sent;
	int status;

	for (;;) {
		int number = sigwaitinfo(heeded, &sent);

		if (number > 0 && number != SIGCHLD && (sent.si_code != SI_KERNEL || number == SIGHUP))
			kill(child, number); /* a terminal's go to all of its foreground */
		while (waitpid(child, &status, WNOHANG | WUNTRACED) == child) {
			if (!WIFSTOPPED(status))
				return status;
			raise(SIGSTOP);
			kill(child, SIGCONT);
		}
	}
}

static void end_as(int status)
{
	const struct rlimit none = { 0, 0 };
	sigset_t its_own;

	if (!WIFSIGNALED(status))
		exit(WEXITSTATUS(status));
	setrlimit(RLIMIT_CORE, &none);
	signal(WTERMSIG(status), SIG_DFL);
	sigemptyset(&its_own);
	sigaddset(&its_own, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &its_own, NULL);
	raise(WTERMSIG(status));
	exit(128 + WTERMSIG(status));
}

int main(int argc, char **argv)
{
	static const int handed_on[] = { SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2 };
	const char *directory = make_directory();
	sigset_t heeded, before;
	pid_t self = getpid(), child;
	int status;

	signal(SIGCHLD, SIG_DFL); /* whoever started this may have ignored it */
	sigemptyset(&heeded);
	for (size_t i = 0; i < sizeof(handed_on) / sizeof(*handed_on); i++)
		sigaddset(&heeded, handed_on[i]);
	sigprocmask(SIG_BLOCK, &heeded, &before);
	child = fork();
	if (child == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		if (!prctl(PR_SET_PDEATHSIG, SIGTERM) && getppid() == self)
			run_program(directory, argc, argv);
		_exit(128 + SIGTERM);
	}
	status = child < 0 ? CANNOT_UNPACK << 8 : wait_for(child, &heeded);
	if (child < 0)
		fprintf(stderr, NAME ": cannot start a process: %s\n", strerror(errno));
	nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	end_as(status);
}
