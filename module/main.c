// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/* hyperkd: carries the hypervisor's image under a running Linux and back. Entry, exit, and what Linux tells us. */
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/suspend.h>
#include "internal.h"

struct hyperkd hyperkd = { .lock = __MUTEX_INITIALIZER(hyperkd.lock) };

/* Reboot, power-off and kexec: the next kernel, or the firmware, must find a machine without root. */
static int on_reboot(struct notifier_block *block, unsigned long action, void *data)
{
	struct hyperkd_load unused = {};

	hyperkd_unload(&unused, HYPERKD_GOODBYE_REBOOT);
	return NOTIFY_DONE;
}

/* Sleeping cores lose what root set up in them; root's memory stays. */
static int on_sleep(struct notifier_block *block, unsigned long action, void *data)
{
	switch (action) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
		return notifier_from_errno(hyperkd_away(HYPERKD_GOODBYE_SLEEP));
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
		return notifier_from_errno(hyperkd_back());
	default:
		return NOTIFY_DONE;
	}
}

static struct notifier_block reboot_notifier = { .notifier_call = on_reboot, .priority = INT_MAX };
static struct notifier_block sleep_notifier = { .notifier_call = on_sleep };

static int __init hyperkd_init(void)
{
	int err = hyperkd_cores_init();

	if (err)
		return err;
	err = register_reboot_notifier(&reboot_notifier);
	if (err)
		goto cores;
	err = register_pm_notifier(&sleep_notifier);
	if (err)
		goto reboot;
	err = hyperkd_window_init();
	if (err)
		goto sleep;
	err = hyperkd_held_init();
	if (err)
		goto window;
	hyperkd_threads_init();
	err = hyperkd_device_init();
	if (err)
		goto held;
	hyperkd_debugfs_init();
	return 0;
held:
	hyperkd_held_exit();
window:
	hyperkd_window_exit();
sleep:
	unregister_pm_notifier(&sleep_notifier);
reboot:
	unregister_reboot_notifier(&reboot_notifier);
cores:
	hyperkd_cores_exit();
	return err;
}

static void __exit hyperkd_exit(void)
{
	struct hyperkd_load unused = {};

	hyperkd_debugfs_exit();
	hyperkd_device_exit();
	hyperkd_unload(&unused, HYPERKD_GOODBYE_UNLOAD);
	hyperkd_worker_stop();
	hyperkd_threads_exit();
	hyperkd_held_exit();
	if (hyperkd.state == HYPERKD_DEAD)
		pr_err("hyperkd: a core never left root after its fault; root's memory is not given back\n");
	hyperkd_window_exit();
	unregister_pm_notifier(&sleep_notifier);
	unregister_reboot_notifier(&reboot_notifier);
	hyperkd_cores_exit();
}

module_init(hyperkd_init);
module_exit(hyperkd_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_AUTHOR("The hyperdbg-rs developers");
MODULE_DESCRIPTION("Carries the hyperdbg-rs hypervisor under a running kernel");
