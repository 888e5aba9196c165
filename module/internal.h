/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/*
 * What the files of the module share. The module allocates, maps, enters, notifies; it knows no command, no processor
 * vendor and no kind. Every wait in it has an end.
 */
#ifndef HYPERKD_INTERNAL_H
#define HYPERKD_INTERNAL_H

#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include "hyperkd.h"

enum hyperkd_state {
	HYPERKD_OUT,		/* not loaded */
	HYPERKD_IN,		/* Linux is root's guest */
	HYPERKD_AWAY,		/* root's memory is kept, no core is in: asleep */
	HYPERKD_DEAD,		/* root let go after a fault of its own; its memory is not free yet */
};

/* What way.S reads; its offsets are asserted in cores.c. */
struct hyperkd_way {
	u64 root_cr3;
	u64 entry;
	u64 cpu;
	u64 boot_pa;
	u64 core_pa;
	struct hyperkd_core *core;
};

/* One machine, one of these. Changed under `lock`; doorbell is root's to write. */
struct hyperkd {
	struct mutex lock;
	enum hyperkd_state state;
	bool linked;
	unsigned int entered;		/* cores at the last load */
	struct hyperkd_way way;		/* the same for all cores but for cpu and core */
	struct hyperkd_doorbell *doorbell;
	u64 graced;			/* the last grace that root wanted and got */
	bool detoured;			/* a root that has left led the kernel into the window */
	/* Blocks that are root's or about to be. */
	struct hyperkd_block *blocks;
	unsigned int count;
};
extern struct hyperkd hyperkd;

/* way.S, image.S */
extern const char hyperkd_way_page[], hyperkd_leave[];
extern const char hyperkd_image[], hyperkd_image_end[];
asmlinkage u64 hyperkd_enter(struct hyperkd_way *way);

/* memory.c */
u64 hyperkd_memory_build(u64 bank_frames, bool link);
void hyperkd_memory_free(void);
int hyperkd_donate(u64 frames, u64 run);
void hyperkd_reclaim(void);

/* cores.c: all under lock, but for the first three */
u64 hyperkd_hypercall(u64 number, u64 *rbx, u64 *rcx);
u64 hyperkd_ask(u64 number, u64 *rbx, u64 *rcx, u64 rdx);
u64 hyperkd_tell(u64 number, u64 rbx, u64 rcx, u64 rdx);
void hyperkd_load(struct hyperkd_load *load);
void hyperkd_unload(struct hyperkd_load *load, u64 why);
int hyperkd_away(u64 why);
int hyperkd_back(void);
unsigned int hyperkd_cores_forget(void);
int hyperkd_cores_init(void);
void hyperkd_cores_exit(void);

/* time.c */
void hyperkd_time_start(void);
void hyperkd_time_follow(bool in);
void hyperkd_time_calm(bool on);

/* window.c */
void hyperkd_window_tell(struct hyperkd_window *window);
void hyperkd_window_grace(void);
void hyperkd_window_vacate(void);
int hyperkd_window_init(void);
void hyperkd_window_exit(void);

/* worker.c */
void hyperkd_worker_start(void);
void hyperkd_worker_wait(void);
void hyperkd_worker_stop(void);

/* held.c */
void hyperkd_held_tend(void);
void hyperkd_held_end(void);
int hyperkd_held_init(void);
void hyperkd_held_exit(void);

/* orders.c, and threads.c: what begins */
void hyperkd_threads_tend(const void *owner);
void hyperkd_threads_look(void);
void hyperkd_threads_release(const void *owner);
void hyperkd_threads_end(void);
void hyperkd_threads_init(void);
void hyperkd_threads_exit(void);

/* device.c */
int hyperkd_request(void *page, u32 *bytes);
int hyperkd_ledger(struct hyperkd_ledger *ledger);
int hyperkd_device_init(void);
void hyperkd_device_exit(void);

/* debugfs.c */
void hyperkd_debugfs_init(void);
void hyperkd_debugfs_exit(void);

#endif
