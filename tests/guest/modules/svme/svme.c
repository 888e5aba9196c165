// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/* Another hypervisor, as far as anybody can see: sets EFER.SVME on every core, and clears it when it goes. */
#include <linux/module.h>
#include <linux/smp.h>
#include <asm/msr.h>

static void set(void *on)
{
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, on ? efer | EFER_SVME : efer & ~EFER_SVME);
}

static int __init svme_init(void)
{
	on_each_cpu(set, &svme_init, 1);
	return 0;
}

static void __exit svme_exit(void)
{
	on_each_cpu(set, NULL, 1);
}

module_init(svme_init);
module_exit(svme_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: a processor whose extension is in use");
