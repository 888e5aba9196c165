/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/* Whatever differs between kernels, and what only the kernel knows about itself. Written for 6.1. */
#ifndef HYPERKD_COMPAT_H
#define HYPERKD_COMPAT_H

#include <linux/crash_core.h>
#include <linux/mem_encrypt.h>
#include <linux/module.h>
#include <linux/version.h>
#include <asm/cpufeature.h>
#include <asm/current.h>
#include "hyperkd.h"

static inline u64 hyperkd_compat_lacks(void)
{
	u64 lacks = 0;

	if (sme_get_me_mask())
		lacks |= HYPERKD_LACK_SME;
	return lacks;
}

/* Where a core keeps the task that it runs, behind its base of GS. */
static inline u64 hyperkd_compat_current(void)
{
	return (unsigned long)&current_task;
}

/* Physical address of the note for dumps after a crash. */
static inline u64 hyperkd_compat_crash_note(void)
{
	return paddr_vmcoreinfo_note();
}

/* Where a module's record says what it covers. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define HYPERKD_COMPAT_MODULE_BASE offsetof(struct module, mem[MOD_TEXT].base)
#define HYPERKD_COMPAT_MODULE_SIZE offsetof(struct module, mem[MOD_TEXT].size)
#else
#define HYPERKD_COMPAT_MODULE_BASE offsetof(struct module, core_layout.base)
#define HYPERKD_COMPAT_MODULE_SIZE offsetof(struct module, core_layout.size)
#endif

#endif
