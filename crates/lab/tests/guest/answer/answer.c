// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/* A module of one file, as the end-to-end tests bring them into the guest. */
#include <linux/module.h>

static int __init answer_init(void)
{
	pr_info("answer: 42\n");
	return 0;
}

static void __exit answer_exit(void)
{
}

module_init(answer_init);
module_exit(answer_exit);
MODULE_DESCRIPTION("Says one line");
MODULE_LICENSE("Dual MIT/GPL");
