// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * /sys/kernel/debug/hyperdbg/ledger: what the reserve has, for whoever has no prompt at hand. The names come with the
 * numbers, so this file knows no kind. Where the kernel has no debugfs, nothing is missing but the file.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include "internal.h"

static struct dentry *folder;

static int ledger_show(struct seq_file *file, void *unused)
{
	struct hyperkd_ledger *ledger = kzalloc(sizeof(*ledger), GFP_KERNEL);
	int err = ledger ? hyperkd_ledger(ledger) : -ENOMEM;
	unsigned int i;

	if (err)
		goto out;
	seq_puts(file, "type unit_bytes reserved free used high_water refused refilled kept low target high\n");
	for (i = 0; i < HYPERKD_KINDS; i++) {
		const struct hyperkd_ledger_row *row = &ledger->kinds[i];

		seq_printf(file, "%.*s %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu\n", (int)sizeof(row->name),
			   row->name, row->unit_bytes, row->reserved, row->free, row->used, row->high_water, row->refused,
			   row->refilled, row->kept, row->low, row->target, row->high);
	}
	seq_printf(file, "pages %llu root %llu bank %llu types %llu bank_target %llu\n", ledger->frames, ledger->frames_root,
		   ledger->frames_free, ledger->frames_kinds, ledger->frames_target);
out:
	kfree(ledger);
	return err;
}
DEFINE_SHOW_ATTRIBUTE(ledger);

void hyperkd_debugfs_init(void)
{
	folder = debugfs_create_dir("hyperdbg", NULL);
	debugfs_create_file("ledger", 0400, folder, NULL, &ledger_fops);
}

void hyperkd_debugfs_exit(void)
{
	debugfs_remove(folder);
}
