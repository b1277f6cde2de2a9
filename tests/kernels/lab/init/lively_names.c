/* lively: names that are no text. A terminal, a markup parser or a careless split must not act on them. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lab.h"

static int enter_new_dir(const char *dir)
{
	int err = make_dir(dir);

	if (err)
		return err;
	return chdir(dir) ? -errno : 0;
}

static int enter_new_mount(const char *dir)
{
	int err = make_dir(dir);

	if (!err)
		err = mount_tmpfs("so\033urce [/red]\n", dir);
	if (err)
		return err;
	return chdir(dir) ? -errno : 0;
}

static const struct {
	const char *label, *comm, *dir;
} hostile[] = {
	{ "comm-markup", "\033[31m[bold]evil", "/hostile/\033[31mred" },
	{ "comm-newline", "new\nline[/red]", "/hostile/new\nline" },
	{ "comm-stat", "x) Z 1 (", "/hostile/[/red]" },
	{ "comm-bidi", "\xe2\x80\xaegpj.exe", "/hostile/\xe2\x80\xaegpj.exe" },
	{ "comm-bytes", "\xff\xfe\xc3(", "/hostile/\xff\xfe\xc3\x28" },
	{ "comm-empty", "", "/hostile/tab\tspace back\\slash" },
	{ "comm-path", "a/b\\012c", "/hostile/false (deleted)" },
	{ "comm-del", "\x7f\x80\x9b" "31mC1", "/hostile/\x7f\x9b" "31m" },
	{ "comm-osc", "\033]0;title\007", "/hostile/\033]8;;http:x\007link" },
	{ "comm-kworker", "kworker/0:0", "/hostile/[kworker]" },
};

void make_lively_names(void)
{
	must(make_dir("/hostile"), "hostile");
	must(make_dir("/hostile/["), "hostile-bracket"); /* a closing tag needs two levels: a name holds no slash */
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
		state(hostile[i].label, spawn(hostile[i].comm, 0, enter_new_dir, hostile[i].dir));
	state_of("mount-hostile", 0, enter_new_mount, "/hostile/mount\n\t\\ \033[1m");
}
