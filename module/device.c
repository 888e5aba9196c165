// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/* /dev/hyperdbg: mode 0600 and CAP_SYS_RAWIO. Sizes are part of a request's number, so a wrong one is ENOTTY. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "internal.h"

/* A request that found the bank short is tried again after Linux gave; somebody else may have been quicker. */
#define TRIES_MAX 4

/* Hands a request to root. The answer takes its place in `page`. Lock held. */
int hyperkd_request(void *page, u32 *bytes)
{
	void *copy;
	u64 number = HYPERKD_HYPERCALL_CALL;
	int i, err = 0;

	copy = (void *)__get_free_page(GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, page, *bytes);
	for (i = 0; i < TRIES_MAX; i++) {
		u64 wanted = virt_to_phys(page), run = *bytes;
		u64 answer = hyperkd_hypercall(number, &wanted, &run);

		if (answer == ~0ull || answer > HYPERKD_MESSAGE_BYTES_MAX) {
			err = -EIO;
			break;
		}
		if (!wanted || number == HYPERKD_HYPERCALL_CALL_AGAIN) {
			*bytes = answer;
			break;
		}
		if (hyperkd_donate(wanted, run) || i == TRIES_MAX - 2)
			number = HYPERKD_HYPERCALL_CALL_AGAIN;
		memcpy(page, copy, *bytes);
	}
	free_page((unsigned long)copy);
	/* Who asked from a running Linux need not wait for the worker. */
	if (READ_ONCE(hyperkd.doorbell->holds_wanted))
		hyperkd_held_tend();
	return err;
}

/* The ledger: 0, or an error. */
int hyperkd_ledger(struct hyperkd_ledger *ledger)
{
	const u32 head = 2 * sizeof(u32);
	u32 *page = (u32 *)get_zeroed_page(GFP_KERNEL);
	u32 bytes = head;
	int err = -ENODEV;

	if (!page)
		return -ENOMEM;
	page[0] = HYPERKD_OP_LEDGER;
	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_IN)
		err = hyperkd_request(page, &bytes);
	mutex_unlock(&hyperkd.lock);
	if (!err && (page[0] != HYPERKD_SUCCESS || bytes != head + sizeof(*ledger)))
		err = -EIO;
	if (!err)
		memcpy(ledger, (u8 *)page + head, sizeof(*ledger));
	free_page((unsigned long)page);
	return err;
}

static long ledger(struct hyperkd_ledger __user *user)
{
	struct hyperkd_ledger *ledger = kzalloc(sizeof(*ledger), GFP_KERNEL);
	long err = ledger ? hyperkd_ledger(ledger) : -ENOMEM;

	if (!err && copy_to_user(user, ledger, sizeof(*ledger)))
		err = -EFAULT;
	kfree(ledger);
	return err;
}

static long call(const struct file *file, struct hyperkd_call __user *user)
{
	struct hyperkd_call call;
	u32 *page;
	long err = -EFAULT;

	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;
	if (call.request_bytes > HYPERKD_MESSAGE_BYTES_MAX || call.answer_bytes < HYPERKD_MESSAGE_BYTES_MAX)
		return -EMSGSIZE;
	page = (u32 *)get_zeroed_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	if (copy_from_user(page, u64_to_user_ptr(call.request), call.request_bytes))
		goto out;
	/* What root does cannot be undone because the answer finds no room: the room is looked at first. */
	if (clear_user(u64_to_user_ptr(call.answer), HYPERKD_MESSAGE_BYTES_MAX) || put_user(0, &user->answer_bytes))
		goto out;
	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_IN) {
		err = hyperkd_request(page, &call.request_bytes);
		/* What this prompt asked for it holds, until it closes the file. */
		if (READ_ONCE(hyperkd.doorbell->orders_wanted))
			hyperkd_threads_tend(file);
	} else {
		/* An answer without a body. */
		page[0] = HYPERKD_NOT_LOADED;
		page[1] = 0;
		call.request_bytes = 2 * sizeof(*page);
		err = 0;
	}
	mutex_unlock(&hyperkd.lock);
	if (err)
		goto out;
	call.answer_bytes = call.request_bytes;
	err = 0;
	if (copy_to_user(u64_to_user_ptr(call.answer), page, call.answer_bytes) ||
	    put_user(call.answer_bytes, &user->answer_bytes))
		err = -EFAULT;
out:
	free_page((unsigned long)page);
	return err;
}

/* The documented request, by the same way: root decides, all of it or nothing. */
static long prealloc(DEBUGGER_PREALLOC_COMMAND __user *user)
{
	DEBUGGER_PREALLOC_COMMAND command, back;
	u32 *page;
	u32 bytes = 24;
	int err = 0;

	if (copy_from_user(&command, user, sizeof(command)))
		return -EFAULT;
	memset(&back, 0, sizeof(back));
	back.Type = command.Type;
	back.Count = command.Count;
	back.KernelStatus = HYPERKD_NOT_LOADED;
	/* Written before root is asked: of an answer that has nowhere to go, nobody would know what was reserved. */
	if (copy_to_user(user, &back, sizeof(back)))
		return -EFAULT;
	page = (u32 *)get_zeroed_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	page[0] = HYPERKD_OP_PREALLOC;
	page[1] = 16;
	page[2] = command.Type;
	memcpy(&page[4], &command.Count, sizeof(command.Count));
	mutex_lock(&hyperkd.lock);
	if (hyperkd.state == HYPERKD_IN) {
		err = hyperkd_request(page, &bytes);
		back.KernelStatus = page[0];
	}
	mutex_unlock(&hyperkd.lock);
	free_page((unsigned long)page);
	if (err)
		return err;
	return copy_to_user(user, &back, sizeof(back)) ? -EFAULT : 0;
}

static long load(struct hyperkd_load __user *user, bool in)
{
	struct hyperkd_load load;

	if (copy_from_user(&load, user, sizeof(load)))
		return -EFAULT;
	if (in)
		hyperkd_load(&load);
	else
		hyperkd_unload(&load, HYPERKD_GOODBYE_UNLOAD);
	return copy_to_user(user, &load, sizeof(load)) ? -EFAULT : 0;
}

static long ioctl(struct file *file, unsigned int number, unsigned long argument)
{
	void __user *user = (void __user *)argument;

	switch (number) {
	case IOCTL_RESERVE_PRE_ALLOCATED_POOLS:
		return prealloc(user);
	case HYPERKD_IOCTL_CALL:
		return call(file, user);
	case HYPERKD_IOCTL_LEDGER:
		return ledger(user);
	case HYPERKD_IOCTL_LOAD:
		return load(user, true);
	case HYPERKD_IOCTL_UNLOAD:
		return load(user, false);
	default:
		return -ENOTTY;
	}
}

static int open(struct inode *inode, struct file *file)
{
	return capable(CAP_SYS_RAWIO) ? 0 : -EPERM;
}

static int release(struct inode *inode, struct file *file)
{
	hyperkd_threads_release(file);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = open,
	.release = release,
	.unlocked_ioctl = ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hyperdbg",
	.fops = &operations,
	.mode = 0600,
};

int hyperkd_device_init(void)
{
	return misc_register(&device);
}

void hyperkd_device_exit(void)
{
	misc_deregister(&device);
}
