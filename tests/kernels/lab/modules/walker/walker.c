// SPDX-License-Identifier: GPL-2.0
/*
 * Path lookups that a kernel makes when it is told to, and its own account of them: what tracing is measured with.
 *
 * One lookup: write "WHO CALL [borrow]", a newline, the path (any bytes but NUL) and a NUL to /proc/walker, in as many
 * pieces as one likes. The lookup is over when the write() of the NUL returns. WHO: "kworker" (the system's workqueue), "workqueue" (one of this module's own),
 * "kthread", "kthread_worker", "user" (the task that writes). CALL: "kern_path", "filp_open", "helper" (the path is
 * executed by call_usermodehelper()). "borrow": within scoped_with_init_fs(), where the kernel has that.
 *
 * A storm: "storm THREADS RATE SECONDS", a newline, the beginning of the paths and a NUL: thread T of these looks up
 * PATH/T.0, PATH/T.1, ... RATE times a second, by kern_path(); write() returns when it has begun.
 *
 * Reading gives a line of JSON for each lookup, in the order in which they ended, paths in hexadecimal; and one for the
 * last storm: how many lookups each thread has made. Times are of the clock "boot".
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/umh.h>
#include <linux/delay.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#define MAX_JOBS 4096
#define MAX_THREADS 64
#define MAX_ORDER (PATH_MAX + 256)

enum call { KERN_PATH, FILP_OPEN, HELPER };

static const char *const call_names[] = { "kern_path", "filp_open", "helper" };

struct job {
	struct work_struct work;
	struct kthread_work kwork;
	struct completion done;
	const char *who;
	const char *function;
	enum call call;
	bool borrow;
	char *path;
	pid_t pid;
	char comm[TASK_COMM_LEN];
	int cpu;
	u64 began_ns, ended_ns;
	int result;
};

struct storm_thread {
	struct task_struct *task;
	pid_t pid;
	u64 made;
	u64 failed;
	bool over;
};

struct order {
	size_t size;
	char text[MAX_ORDER];
};

static DEFINE_MUTEX(lock);
static struct job *jobs[MAX_JOBS];
static int job_count;
static struct workqueue_struct *own_queue;
static struct kthread_worker *own_worker;

static struct storm_thread storm[MAX_THREADS];
static int storm_threads, storm_rate;
static char storm_path[PATH_MAX];
static u64 storm_until_ns;

static __always_inline int look(const struct job *job)
{
	char *argv[] = { job->path, NULL }, *envp[] = { NULL };
	struct file *file;
	struct path path;
	int result;

	switch (job->call) {
	case KERN_PATH:
		result = kern_path(job->path, LOOKUP_FOLLOW, &path);
		if (!result)
			path_put(&path);
		return result;
	case FILP_OPEN:
		file = filp_open(job->path, O_RDONLY, 0);
		if (IS_ERR(file))
			return PTR_ERR(file);
		filp_close(file, NULL);
		return 0;
	case HELPER:
		return call_usermodehelper(job->path, argv, envp, UMH_WAIT_EXEC);
	}
	return -EINVAL;
}

/* Inlined: the function that asks is the one that runs. */
static __always_inline void do_job(struct job *job, const char *function)
{
	job->function = function;
	job->pid = task_pid_nr(current);
	strscpy(job->comm, current->comm, sizeof(job->comm));
	job->cpu = raw_smp_processor_id();
	job->began_ns = ktime_get_boottime_ns();
	if (!job->borrow) {
		job->result = look(job);
	} else {
#ifdef scoped_with_init_fs
		scoped_with_init_fs()
			job->result = look(job);
#else
		job->result = -EOPNOTSUPP;
#endif
	}
	job->ended_ns = ktime_get_boottime_ns();
}

static void walker_work(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work);

	do_job(job, __func__);
	complete(&job->done);
}

static void walker_kthread_work(struct kthread_work *work)
{
	struct job *job = container_of(work, struct job, kwork);

	do_job(job, __func__);
	complete(&job->done);
}

static int walker_thread(void *data)
{
	struct job *job = data;

	do_job(job, __func__);
	complete(&job->done);
	return 0;
}

static noinline void walker_user(struct job *job)
{
	do_job(job, __func__);
	complete(&job->done);
}

static int start_job(struct job *job)
{
	struct task_struct *task;

	if (!strcmp(job->who, "kworker")) {
		schedule_work(&job->work);
	} else if (!strcmp(job->who, "workqueue")) {
		queue_work(own_queue, &job->work);
	} else if (!strcmp(job->who, "kthread_worker")) {
		kthread_queue_work(own_worker, &job->kwork);
	} else if (!strcmp(job->who, "kthread")) {
		task = kthread_run(walker_thread, job, "walker_thread");
		if (IS_ERR(task))
			return PTR_ERR(task);
	} else {
		walker_user(job);
	}
	return 0;
}

static const char *find_who(const char *word)
{
	static const char *const names[] = { "kworker", "workqueue", "kthread", "kthread_worker", "user" };
	int i = match_string(names, ARRAY_SIZE(names), word);

	return i < 0 ? NULL : names[i];
}

static void free_job(struct job *job)
{
	kfree(job->path);
	kfree(job);
}

static struct job *new_job(const char *who, const char *call, const char *how, const char *path)
{
	int number = match_string(call_names, ARRAY_SIZE(call_names), call);
	struct job *job;

	if (number < 0 || !find_who(who) || (*how && strcmp(how, "borrow")))
		return ERR_PTR(-EINVAL);
	job = kzalloc(sizeof(*job), GFP_KERNEL);
	if (!job)
		return ERR_PTR(-ENOMEM);
	job->path = kstrdup(path, GFP_KERNEL);
	if (!job->path) {
		kfree(job);
		return ERR_PTR(-ENOMEM);
	}
	job->who = find_who(who);
	job->call = number;
	job->borrow = *how;
	init_completion(&job->done);
	INIT_WORK(&job->work, walker_work);
	kthread_init_work(&job->kwork, walker_kthread_work);
	return job;
}

static int run_job(const char *who, const char *call, const char *how, const char *path)
{
	struct job *job;
	int error;

	if (job_count == MAX_JOBS)
		return -ENOSPC;
	job = new_job(who, call, how, path);
	if (IS_ERR(job))
		return PTR_ERR(job);
	error = start_job(job);
	if (error) {
		free_job(job);
		return error;
	}
	wait_for_completion(&job->done);
	jobs[job_count++] = job;
	return 0;
}

/* As many as are due by now; they are counted one by one, as they are made. */
static int walker_storm(void *data)
{
	struct storm_thread *own = data;
	u64 began = ktime_get_boottime_ns(), now = began;
	char *name = kmalloc(PATH_MAX, GFP_KERNEL);
	struct path path;

	while (name && now < storm_until_ns && !kthread_should_stop()) {
		u64 due = div_u64((now - began) * storm_rate, NSEC_PER_SEC);

		if (own->made >= due) {
			usleep_range(500, 1000);
		} else {
			snprintf(name, PATH_MAX, "%s/%d.%llu", storm_path, (int)(own - storm), own->made);
			if (kern_path(name, LOOKUP_FOLLOW, &path))
				WRITE_ONCE(own->failed, own->failed + 1);
			else
				path_put(&path);
			WRITE_ONCE(own->made, own->made + 1);
			cond_resched();
		}
		now = ktime_get_boottime_ns();
	}
	kfree(name);
	WRITE_ONCE(own->over, true);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 10);
	return 0;
}

static void end_storm(void)
{
	int i;

	for (i = 0; i < storm_threads; i++) {
		if (storm[i].task)
			kthread_stop(storm[i].task);
		storm[i].task = NULL;
	}
}

static int start_storm(int threads, int rate, int seconds, const char *path)
{
	struct task_struct *task;
	int i;

	if (threads < 1 || threads > MAX_THREADS || rate < 1 || seconds < 1 || strlen(path) > PATH_MAX - 64)
		return -EINVAL;
	end_storm();
	memset(storm, 0, sizeof(storm));
	strscpy(storm_path, path, sizeof(storm_path));
	storm_rate = rate;
	storm_until_ns = ktime_get_boottime_ns() + (u64)seconds * NSEC_PER_SEC;
	for (storm_threads = i = 0; i < threads; i++) {
		task = kthread_create(walker_storm, &storm[i], "walker_storm/%d", i);
		if (IS_ERR(task))
			return PTR_ERR(task);
		storm[i].task = task;
		storm[i].pid = task_pid_nr(task);
		storm_threads++;
	}
	for (i = 0; i < threads; i++)
		wake_up_process(storm[i].task);
	return 0;
}

static int obey(struct order *order)
{
	char *path, *line = order->text, words[3][24] = { "", "", "" };
	int threads, rate, seconds;

	path = strchr(line, '\n');
	if (!path || strlen(line) != order->size)
		return -EINVAL;
	*path++ = 0;
	if (sscanf(line, "storm %d %d %d", &threads, &rate, &seconds) == 3)
		return start_storm(threads, rate, seconds, path);
	if (sscanf(line, "%23s %23s %23s", words[0], words[1], words[2]) < 2)
		return -EINVAL;
	return run_job(words[0], words[1], words[2], path);
}

static ssize_t walker_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	struct order *order = ((struct seq_file *)file->private_data)->private;
	int error;

	if (size >= MAX_ORDER - order->size)
		return -E2BIG;
	if (copy_from_user(order->text + order->size, from, size))
		return -EFAULT;
	order->size += size;
	if (!size || order->text[order->size - 1])
		return size;
	order->size--;
	mutex_lock(&lock);
	error = obey(order);
	mutex_unlock(&lock);
	memset(order, 0, sizeof(*order));
	return error ? error : size;
}

static void show_path(struct seq_file *out, const char *path)
{
	for (; *path; path++)
		seq_printf(out, "%02x", (unsigned char)*path);
}

static void show_job(struct seq_file *out, const struct job *job)
{
	seq_printf(out, "{\"who\": \"%s\", \"call\": \"%s\", \"borrowed\": %s, \"function\": \"%s\", ", job->who,
		   call_names[job->call], job->borrow ? "true" : "false", job->function);
	seq_printf(out, "\"pid\": %d, \"comm\": \"%s\", \"cpu\": %d, \"began_ns\": %llu, \"ended_ns\": %llu, ", job->pid,
		   job->comm, job->cpu, job->began_ns, job->ended_ns);
	seq_printf(out, "\"result\": %d, \"path\": \"", job->result);
	show_path(out, job->path);
	seq_puts(out, "\"}\n");
}

static void show_storm(struct seq_file *out)
{
	bool over = true;
	int i;

	seq_puts(out, "{\"storm\": [");
	for (i = 0; i < storm_threads; i++) {
		seq_printf(out, "%s{\"pid\": %d, \"made\": %llu, \"failed\": %llu}", i ? ", " : "", storm[i].pid,
			   READ_ONCE(storm[i].made), READ_ONCE(storm[i].failed));
		over &= READ_ONCE(storm[i].over);
	}
	seq_printf(out, "], \"over\": %s, \"path\": \"", over ? "true" : "false");
	show_path(out, storm_path);
	seq_puts(out, "\"}\n");
}

static int walker_show(struct seq_file *out, void *unused)
{
	int i;

	mutex_lock(&lock);
	for (i = 0; i < job_count; i++)
		show_job(out, jobs[i]);
	if (storm_threads)
		show_storm(out);
	mutex_unlock(&lock);
	return 0;
}

static int walker_open(struct inode *inode, struct file *file)
{
	struct order *order = kzalloc(sizeof(*order), GFP_KERNEL);
	int error;

	if (!order)
		return -ENOMEM;
	error = single_open(file, walker_show, order);
	if (error)
		kfree(order);
	return error;
}

static int walker_release(struct inode *inode, struct file *file)
{
	kfree(((struct seq_file *)file->private_data)->private);
	return single_release(inode, file);
}

static const struct proc_ops walker_ops = {
	.proc_open = walker_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = walker_write,
	.proc_release = walker_release,
};

static struct kthread_worker *make_worker(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
	return kthread_run_worker(0, "walker_worker");
#else
	return kthread_create_worker(0, "walker_worker");
#endif
}

static int __init walker_init(void)
{
	own_queue = alloc_workqueue("walker_queue", WQ_UNBOUND, 0);
	if (!own_queue)
		return -ENOMEM;
	own_worker = make_worker();
	if (IS_ERR(own_worker)) {
		destroy_workqueue(own_queue);
		return PTR_ERR(own_worker);
	}
	if (!proc_create("walker", 0600, NULL, &walker_ops)) {
		kthread_destroy_worker(own_worker);
		destroy_workqueue(own_queue);
		return -ENOMEM;
	}
	return 0;
}

static void __exit walker_exit(void)
{
	int i;

	remove_proc_entry("walker", NULL);
	end_storm();
	kthread_destroy_worker(own_worker);
	destroy_workqueue(own_queue);
	for (i = 0; i < job_count; i++)
		free_job(jobs[i]);
}

module_init(walker_init);
module_exit(walker_exit);
MODULE_DESCRIPTION("Path lookups by the kernel, to order, with its own account of them");
MODULE_LICENSE("GPL");
