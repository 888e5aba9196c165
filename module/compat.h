/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/* Whatever differs between kernels, and what only the kernel knows about itself. Written for 6.1. */
#ifndef HYPERKD_COMPAT_H
#define HYPERKD_COMPAT_H

#include <linux/mem_encrypt.h>
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

#endif
