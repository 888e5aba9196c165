/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/* Whatever differs between kernels, and what only the kernel knows about itself. Written for 6.1. */
#ifndef HYPERKD_COMPAT_H
#define HYPERKD_COMPAT_H

#include <linux/cpuhotplug.h>
#include <linux/crash_core.h>
#include <linux/mm.h>
#include <linux/mem_encrypt.h>
#include <linux/module.h>
#include <linux/version.h>
#include <asm/cpufeature.h>
#include <asm/current.h>
#include "hyperkd.h"

/* Of what a core does as it starts and dies, with interrupts off, every step has a fixed number: one that no x86 kernel uses. */
#define HYPERKD_CPUHP_STARTING CPUHP_AP_ARM_CORESIGHT_STARTING

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

/* What the kernel maps where it lies as long as it runs: all of RAM, and its own image up to where modules begin. */
static inline void hyperkd_compat_fixed(u64 *fixed, u64 ram_end)
{
	fixed[0] = PAGE_OFFSET;
	fixed[1] = PAGE_OFFSET + ram_end;
	fixed[2] = __START_KERNEL_map;
	fixed[3] = MODULES_VADDR;
}

/* Whether these are the highest tables of an address space; a program's own ones, where the kernel is kept out of them, too. */
static inline bool hyperkd_compat_is_tables(const struct mm_struct *mm, u64 tables)
{
	if (boot_cpu_has(X86_FEATURE_PTI))
		tables &= ~(u64)PAGE_SIZE;
	return mm && tables == __pa(mm->pgd);
}

/* Where a module lies: some parts, which may be empty. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define HYPERKD_COMPAT_MODULE_PARTS MOD_MEM_NUM_TYPES
static inline void hyperkd_compat_module_part(const struct module *module, int nth, u64 *first, u64 *behind)
{
	*first = (unsigned long)module->mem[nth].base;
	*behind = *first + module->mem[nth].size;
}
#else
#define HYPERKD_COMPAT_MODULE_PARTS 2
static inline void hyperkd_compat_module_part(const struct module *module, int nth, u64 *first, u64 *behind)
{
	const struct module_layout *layout = nth ? &module->init_layout : &module->core_layout;

	*first = (unsigned long)layout->base;
	*behind = *first + layout->size;
}
#endif

/* Where a module's record says what it covers. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define HYPERKD_COMPAT_MODULE_BASE offsetof(struct module, mem[MOD_TEXT].base)
#define HYPERKD_COMPAT_MODULE_SIZE offsetof(struct module, mem[MOD_TEXT].size)
#else
#define HYPERKD_COMPAT_MODULE_BASE offsetof(struct module, core_layout.base)
#define HYPERKD_COMPAT_MODULE_SIZE offsetof(struct module, core_layout.size)
#endif

#endif
