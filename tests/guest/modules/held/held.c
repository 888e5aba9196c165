// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Memory that the kernel maps page by page, which comes and goes, and how often a frame is referred to:
 *
 *   area     1 takes a page, 0 gives it back; tells its address and its frame (hex), or 0 0. Taken again it has the address
 *            that it had, or there is an error
 *   store    takes COUNT, and writes so often to the first 8 bytes
 *   count    takes a frame (hex), and tells how many refer to it
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#define TRIES_MAX 1000

static u64 *area;
static void *was;
static struct page *frame;

static int area_set(const char *text, const struct kernel_param *unused)
{
	static void *others[TRIES_MAX];
	unsigned int tries = 0;
	bool on;

	if (kstrtobool(text, &on) || on == !!area)
		return -EINVAL;
	if (!on) {
		vfree(area);
		area = NULL;
		/* What is unmapped is free at once, not some time. */
		vm_unmap_aliases();
		return 0;
	}
	while (tries < TRIES_MAX) {
		void *got = vzalloc(PAGE_SIZE);

		if (!got || !was || got == was) {
			area = got;
			break;
		}
		others[tries++] = got;
	}
	while (tries)
		vfree(others[--tries]);
	was = area;
	return area ? 0 : -ENOMEM;
}

static int area_get(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%lx %lx\n", (unsigned long)area, area ? vmalloc_to_pfn(area) : 0);
}

static int store_set(const char *text, const struct kernel_param *unused)
{
	unsigned long count;

	if (!area || kstrtoul(text, 0, &count))
		return -EINVAL;
	while (count--)
		WRITE_ONCE(*area, count);
	return 0;
}

static int count_set(const char *text, const struct kernel_param *unused)
{
	unsigned long pfn;

	if (kstrtoul(text, 16, &pfn) || !pfn_valid(pfn))
		return -EINVAL;
	frame = pfn_to_page(pfn);
	return 0;
}

static int count_get(char *text, const struct kernel_param *unused)
{
	return sysfs_emit(text, "%d\n", frame ? page_count(frame) : -1);
}

static const struct kernel_param_ops area_ops = { .set = area_set, .get = area_get };
static const struct kernel_param_ops store_ops = { .set = store_set };
static const struct kernel_param_ops count_ops = { .set = count_set, .get = count_get };
module_param_cb(area, &area_ops, NULL, 0600);
module_param_cb(store, &store_ops, NULL, 0200);
module_param_cb(count, &count_ops, NULL, 0600);

static int __init held_init(void)
{
	return 0;
}

static void __exit held_exit(void)
{
	vfree(area);
}

module_init(held_init);
module_exit(held_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Test of hyperkd: memory of the kernel's that comes and goes");
