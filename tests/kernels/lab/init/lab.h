/* What the parts of the guest's init share. See init.c. */
#ifndef LAB_H
#define LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A state is a function run in a new child: 0, or a negative errno when the kernel cannot make it. */
typedef int (*state_fn)(const char *arg);

struct scenario {
	const char *name;
	void (*make)(void);
};

/* Ended by an entry without a name. To add a scenario: one function, one entry in scenarios.c. */
extern const struct scenario scenarios[];

/* tasks.c: children that make a state, then sleep for ever */
void set_comm(const char *comm);
void sleep_for_ever(void) __attribute__((noreturn));
pid_t spawn(const char *comm, unsigned long clone_flags, state_fn make, const char *arg);
pid_t spawn_blocking(const char *comm, state_fn block, const char *arg);
void state(const char *name, pid_t pid);
pid_t state_of(const char *comm, unsigned long clone_flags, state_fn make, const char *arg);
char task_state(pid_t pid);
bool wait_for_state(pid_t pid, char wanted);
void end_child(pid_t pid);
pid_t wait_for_comm(const char *comm);
pid_t wait_for_stuck_helper(void);

/* files.c: small steps, each 0 or a negative errno */
ssize_t read_file(const char *path, char *buf, size_t size);
int write_file(const char *path, const char *text);
int make_dir(const char *path);
int mount_tmpfs(const char *source, const char *dir);
int mount_unserved_fuse(const char *dir);
int load_module(const char *name, const char *params);
int load_listed_modules(void);
void must(int err, const char *what);

/* oracle.c: what the kernel itself says of every task */
void print_oracle(void);

/* shell.c, applets.c: what the harness has the guest do after NX READY */
void run_shell(const char *line);
int run_applet(char **argv);

/* kdump.c */
void arm_crash_kernel(void);
void panic_now(void);

/* storm.c */
int storm(char **argv);
int calm(char **argv);
int nothing(char **argv);

/* The scenarios that are more than a few lines */
void make_lively_fs(void);
void make_lively_names(void);
void make_lively_mounts(void);
void make_lively_kernel(void);
void make_live_runner(void);
void make_audit(void);
void make_distribution_states(void);
void make_lost_walkers(void);
void make_holders(void);
int list_held(char **argv);
void make_switch_root(void);
void make_pivot_root(void);
void make_kexec(void);
void make_kdump(void);
void run_real_root(void);
int run_real_root_helper(void);
void make_crowd(void);
void make_many_threads(void);
void make_sprawl(void);

#endif
