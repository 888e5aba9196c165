// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/* Another hypervisor, as far as anybody can see: sets EFER.SVME or CR4.VMXE on every core, and clears it when it goes. */
#include <linux/module.h>
#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/tlbflush.h>

static void set(void *on)
{
	u64 efer;

	if (boot_cpu_has(X86_FEATURE_VMX)) {
		if (on)
			cr4_set_bits(X86_CR4_VMXE);
		else
			cr4_clear_bits(X86_CR4_VMXE);
		return;
	}
	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, on ? efer | EFER_SVME : efer & ~EFER_SVME);
}

static int __init in_use_init(void)
{
	on_each_cpu(set, &in_use_init, 1);
	return 0;
}

static void __exit in_use_exit(void)
{
	on_each_cpu(set, NULL, 1);
}

module_init(in_use_init);
module_exit(in_use_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: a processor whose extension is in use");
