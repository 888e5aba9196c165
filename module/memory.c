// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Root's memory: blocks from Linux, the image in them, and the page tables that root runs on. Root hides the blocks from
 * Linux; nothing here is read or written again until root has left.
 */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/vmalloc.h>
#include <asm/tsc.h>
#include "internal.h"
#include "compat.h"

#define TABLE (_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED)
#define READ_EXECUTE (_PAGE_PRESENT | _PAGE_ACCESSED)
#define READ_ONLY (READ_EXECUTE | _PAGE_NX)
#define READ_WRITE (TABLE | _PAGE_DIRTY | _PAGE_NX)
/* Share of RAM that the bank gets unless asked otherwise, and the least that makes sense. */
#define BANK_SHARE 64
#define BANK_FRAMES_MIN 2048
/*
 * Root lays the tables that count so many whole blocks into one of them, those of blocks that come later included: see its
 * bank.rs. In frames, what those of the fewest take beyond their own block's.
 */
#define TABLES_TOGETHER 60
#define TABLES_AHEAD_FRAMES 57
/* Linux keeps at least this share of RAM available when it gives. */
#define KEEP_SHARE 16

static u64 ram_end_pfn(void)
{
	u64 end = 0;
	int node;

	for_each_online_node(node)
		end = max_t(u64, end, pgdat_end_pfn(NODE_DATA(node)));
	return end;
}

/* Frames of a block that root can use in runs of `run`, if it carries tables of others on `ahead` frames. */
static u64 usable(unsigned int order, u64 run, unsigned int ahead)
{
	u64 frames = (1ull << order) - HYPERKD_BLOCK_OVERHEAD(order) - ahead;

	/* A run lies within 64 aligned frames; what the overhead cuts of the first 64 is the worst of it. */
	return run > 1 ? frames / 64 * (64 / run * run) + frames % 64 / run * run : frames;
}

static void give_back(unsigned int from)
{
	while (hyperkd.count > from) {
		struct hyperkd_block *block = &hyperkd.blocks[--hyperkd.count];

		__free_pages(pfn_to_page(block->pfn), block->order);
	}
}

/* Adds blocks worth `frames` in runs of `run` to the table, or none. */
static int gather(u64 frames, u64 run)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN | __GFP_NORETRY;
	unsigned int from = hyperkd.count, order = HYPERKD_BLOCK_ORDER_MAX, whole = 0;
	u64 got = 0;

	if (si_mem_available() < 0 || frames + totalram_pages() / KEEP_SHARE > si_mem_available())
		return -ENOMEM;
	while (got < frames) {
		struct page *page = hyperkd.count < HYPERKD_BLOCKS_MAX ? alloc_pages(gfp, order) : NULL;
		struct hyperkd_block *block = &hyperkd.blocks[hyperkd.count];

		if (!page && order > HYPERKD_BLOCK_ORDER_MIN && usable(order - 1, run, 0) && hyperkd.count < HYPERKD_BLOCKS_MAX) {
			order--;
			continue;
		}
		if (!page) {
			give_back(from);
			return -ENOMEM;
		}
		*block = (struct hyperkd_block){ .pfn = page_to_pfn(page), .order = order };
		hyperkd.count++;
		if (order < HYPERKD_BLOCK_ORDER_MAX)
			got += usable(order, run, 0);
		else if (!whole++)
			got += usable(order, run, TABLES_AHEAD_FRAMES);
		/* Where tables lie together, they may cut all runs of one block. */
		else if (run == 1 || whole % TABLES_TOGETHER != 2)
			got += usable(order, run, 0);
		cond_resched();
	}
	return 0;
}

/* A run of frames out of a block, for root to live in. Cleared. */
static void *take(unsigned int frames)
{
	unsigned int i;

	for (i = 0; i < hyperkd.count; i++) {
		struct hyperkd_block *block = &hyperkd.blocks[i];

		if ((1u << block->order) - block->used >= frames) {
			u64 pfn = block->pfn + block->used;

			block->used += frames;
			return pfn_to_kaddr(pfn);
		}
	}
	return NULL;
}

static u64 *next_table(u64 *entry)
{
	if (!(*entry & _PAGE_PRESENT)) {
		void *table = take(1);

		if (!table)
			return NULL;
		*entry = virt_to_phys(table) | TABLE;
	}
	return phys_to_virt(*entry & PTE_PFN_MASK);
}

/* Maps one page of 4 KiB (level 0) or 2 MiB (level 1) in root's tables. */
static int map(u64 *table, u64 va, u64 pa, u64 flags, int level)
{
	int at;

	for (at = 3; at > level; at--) {
		table = next_table(&table[(va >> (12 + 9 * at)) & 511]);
		if (!table)
			return -ENOMEM;
	}
	table[(va >> (12 + 9 * level)) & 511] = pa | flags | (level ? _PAGE_PSE : 0);
	return 0;
}

static int map_image(u64 *root, const struct hyperkd_image_header *header)
{
	const size_t file = hyperkd_image_end - hyperkd_image;
	u64 at;

	for (at = 0; at < header->image_end; at += PAGE_SIZE) {
		u64 flags = at < header->text_end ? READ_EXECUTE : at < header->rodata_end ? READ_ONLY : READ_WRITE;
		void *page = take(1);

		if (!page)
			return -ENOMEM;
		if (at < file)
			memcpy(page, hyperkd_image + at, min_t(size_t, PAGE_SIZE, file - at));
		if (map(root, HYPERKD_IMAGE_VA + at, virt_to_phys(page), flags, 0))
			return -ENOMEM;
	}
	return 0;
}

static int map_cores(u64 *root, const struct hyperkd_image_header *header)
{
	unsigned int cpu;
	u64 at;

	for_each_possible_cpu(cpu) {
		for (at = PAGE_SIZE; at < PAGE_SIZE + header->core_bytes; at += PAGE_SIZE) {
			void *page = take(1);

			if (!page || map(root, HYPERKD_CORES_VA + cpu * HYPERKD_CORE_STRIDE + at, virt_to_phys(page), READ_WRITE, 0))
				return -ENOMEM;
		}
	}
	return 0;
}

/* RAM, and below 4 GiB the devices of the processor itself; the firmware's memory types hold there. */
static int map_direct(u64 *root)
{
	u64 pa, end = max_t(u64, SZ_4G, ram_end_pfn() << PAGE_SHIFT);

	for (pa = 0; pa < end; pa += PMD_SIZE)
		if (map(root, HYPERKD_DIRECT_VA + pa, pa, READ_WRITE, 1))
			return -ENOMEM;
	return map(root, (u64)hyperkd_way_page, (u64)vmalloc_to_pfn(hyperkd_way_page) << PAGE_SHIFT, READ_EXECUTE, 0);
}

/*
 * Frames that root lives in and starts with: tables are few, so they are guessed generously; what is too much goes to the
 * bank.
 */
static u64 root_frames(const struct hyperkd_image_header *header)
{
	u64 direct = max_t(u64, SZ_4G, ram_end_pfn() << PAGE_SHIFT) / SZ_1G + 1;

	return header->start_frames + header->image_end / PAGE_SIZE +
	       num_possible_cpus() * (header->core_bytes / PAGE_SIZE + 2) + direct + 64;
}

/* Where the prompt finds the kernel's names and modules in its memory. */
static void fill_notes(u64 *notes)
{
	notes[HYPERKD_NOTE_CRASH_NOTE] = hyperkd_compat_crash_note();
	notes[HYPERKD_NOTE_CRASH_NOTE_BYTES] = VMCOREINFO_NOTE_SIZE;
	notes[HYPERKD_NOTE_MODULE] = (unsigned long)THIS_MODULE;
	notes[HYPERKD_NOTE_MODULE_NEXT] = offsetof(struct module, list);
	notes[HYPERKD_NOTE_MODULE_NAME] = offsetof(struct module, name);
	notes[HYPERKD_NOTE_MODULE_BASE] = HYPERKD_COMPAT_MODULE_BASE;
	notes[HYPERKD_NOTE_MODULE_SIZE] = HYPERKD_COMPAT_MODULE_SIZE;
	notes[HYPERKD_NOTE_MODULE_NAMES] = offsetof(struct module, kallsyms);
	notes[HYPERKD_NOTE_NAMES_TABLE] = offsetof(struct mod_kallsyms, symtab);
	notes[HYPERKD_NOTE_NAMES_COUNT] = offsetof(struct mod_kallsyms, num_symtab);
	notes[HYPERKD_NOTE_NAMES_TEXTS] = offsetof(struct mod_kallsyms, strtab);
	notes[HYPERKD_NOTE_NAMES_KINDS] = offsetof(struct mod_kallsyms, typetab);
}

static void fill_boot(struct hyperkd_boot *boot, u64 *root, bool link)
{
	void *table = hyperkd.blocks;
	struct hyperkd_window *window;

	boot->protocol = HYPERKD_PROTOCOL;
	boot->cores = nr_cpu_ids;
	boot->root_cr3 = virt_to_phys(root);
	boot->ram_end_pfn = ram_end_pfn();
	boot->ram_frames = totalram_pages();
	boot->doorbell_pa = virt_to_phys(hyperkd.doorbell);
	boot->flags = link ? HYPERKD_BOOT_LINK : 0;
	boot->boot_id = get_random_u64();
	boot->tsc_khz = tsc_khz;
	boot->current_task = hyperkd_compat_current();
	boot->task_tid = offsetof(struct task_struct, pid);
	boot->task_pid = offsetof(struct task_struct, tgid);
	boot->task_name = offsetof(struct task_struct, comm);
	boot->space_tables = offsetof(struct mm_struct, pgd);
	boot->direct_map = PAGE_OFFSET;
	boot->first_task = (unsigned long)&init_task;
	boot->task_next = offsetof(struct task_struct, tasks);
	boot->task_space = offsetof(struct task_struct, mm);
	fill_notes(boot->notes);
	window = take(1);
	boot->window_pa = window ? virt_to_phys(window) : 0;
	if (window)
		hyperkd_window_tell(window);
	hyperkd_compat_fixed(boot->fixed, boot->ram_end_pfn << PAGE_SHIFT);
	boot->blocks = hyperkd.count;
	/* Last: what was taken for this very table counts as used. */
	table = take(DIV_ROUND_UP(hyperkd.count * sizeof(*hyperkd.blocks), PAGE_SIZE));
	boot->blocks_pa = table ? virt_to_phys(table) : 0;
	if (table)
		memcpy(table, hyperkd.blocks, hyperkd.count * sizeof(*hyperkd.blocks));
}

/* What root cannot cope with, as bits of HYPERKD_LACK_*. */
static u64 lacks(void)
{
	u64 lacks = hyperkd_compat_lacks();

	if (nr_cpu_ids > HYPERKD_CORES_MAX)
		lacks |= HYPERKD_LACK_CORES;
	if ((ram_end_pfn() << PAGE_SHIFT) > HYPERKD_DIRECT_BYTES_MAX)
		lacks |= HYPERKD_LACK_RAM;
	return lacks;
}

/* Everything root needs before the first core enters; a code, with what is missing in the upper half. */
u64 hyperkd_memory_build(u64 bank_frames, bool link)
{
	const struct hyperkd_image_header *header = (const void *)hyperkd_image;
	struct hyperkd_boot *boot;
	u64 *root;

	if (header->magic != HYPERKD_IMAGE_MAGIC || header->protocol != HYPERKD_PROTOCOL)
		return HYPERKD_BOOT_VERSION;
	if (lacks())
		return HYPERKD_KERNEL_UNSUPPORTED | lacks() << 32;
	if (!bank_frames)
		bank_frames = max_t(u64, totalram_pages() / BANK_SHARE, BANK_FRAMES_MIN);
	hyperkd.blocks = vzalloc(array_size(HYPERKD_BLOCKS_MAX, sizeof(*hyperkd.blocks)));
	hyperkd.doorbell = (void *)get_zeroed_page(GFP_KERNEL);
	hyperkd.graced = 0;
	/* Of an earlier load nobody may be in the window any more. */
	hyperkd_window_vacate();
	if (!hyperkd.blocks || !hyperkd.doorbell || gather(bank_frames + root_frames(header), 1))
		goto fail;
	root = take(1);
	boot = take(1);
	if (!root || !boot || map_image(root, header) || map_cores(root, header) || map_direct(root))
		goto fail;
	fill_boot(boot, root, link);
	if (!boot->blocks_pa || !boot->window_pa)
		goto fail;
	hyperkd.way = (struct hyperkd_way){
		.root_cr3 = virt_to_phys(root),
		.entry = HYPERKD_IMAGE_VA + header->entry,
		.boot_pa = virt_to_phys(boot),
	};
	return HYPERKD_SUCCESS;
fail:
	hyperkd_memory_free();
	return HYPERKD_KERNEL_OUT_OF_MEMORY;
}

/* Only when no core is in root any more. */
void hyperkd_memory_free(void)
{
	if (hyperkd.doorbell && READ_ONCE(hyperkd.doorbell->grace_wanted))
		hyperkd.detoured = true;
	give_back(0);
	vfree(hyperkd.blocks);
	hyperkd.blocks = NULL;
	free_page((unsigned long)hyperkd.doorbell);
	hyperkd.doorbell = NULL;
}

/* Hands so many frames over to root, in runs of `run`, or none: 0 or an error. Lock held, root in. */
int hyperkd_donate(u64 frames, u64 run)
{
	const unsigned int at_once = PAGE_SIZE / sizeof(struct hyperkd_block);
	unsigned int from = hyperkd.count, at;
	struct hyperkd_block *page;
	int err = gather(frames, run);

	if (err)
		return err;
	page = (void *)get_zeroed_page(GFP_KERNEL);
	if (!page) {
		give_back(from);
		return -ENOMEM;
	}
	for (at = from; at < hyperkd.count && !err; ) {
		unsigned int n = min(hyperkd.count - at, at_once), i;
		u64 pa = virt_to_phys(page), taken = n;

		memcpy(page, &hyperkd.blocks[at], n * sizeof(*page));
		if (hyperkd_hypercall(HYPERKD_HYPERCALL_DONATE, &pa, &taken) == HYPERKD_SUCCESS) {
			at += n;
			continue;
		}
		/* Root said how many frames it took before it refused one; those blocks stay its own. */
		err = -EIO;
		for (i = 0; i < n && taken; i++, at++)
			taken -= min(taken, 1ull << hyperkd.blocks[at].order);
	}
	give_back(at);
	free_page((unsigned long)page);
	return err;
}

/* Takes back what root can do without. Lock held, root in. */
void hyperkd_reclaim(void)
{
	unsigned int at;

	for (;;) {
		u64 pfn = 0, frames = 0;

		if (hyperkd_hypercall(HYPERKD_HYPERCALL_RECLAIM, &pfn, &frames) != HYPERKD_SUCCESS || !frames)
			return;
		for (at = 0; at < hyperkd.count && hyperkd.blocks[at].pfn != pfn; at++)
			;
		if (WARN_ON_ONCE(at == hyperkd.count))
			return;
		__free_pages(pfn_to_page(pfn), hyperkd.blocks[at].order);
		hyperkd.blocks[at] = hyperkd.blocks[--hyperkd.count];
		cond_resched();
	}
}
