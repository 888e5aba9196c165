/* SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0 */
/* Written by crates/abi/src/header.rs; edit that and run: UPDATE=1 cargo test -p abi */
#ifndef HYPERKD_H
#define HYPERKD_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/ioctl.h>
#include <linux/stddef.h>
#include <linux/types.h>
#else
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#endif

#ifdef __cplusplus
#define HYPERKD_ASSERT(what) static_assert(what, #what)
#else
#define HYPERKD_ASSERT(what) _Static_assert(what, #what)
#endif

/* Revision of everything below; module, image and programs refuse each other when it differs. */
#define HYPERKD_PROTOCOL 0x8ull

/* What one count of `prealloc TYPE` buys. */
typedef enum _DEBUGGER_PREALLOC_COMMAND_TYPE {
	DEBUGGER_PREALLOC_COMMAND_TYPE_MONITOR = 0,
	DEBUGGER_PREALLOC_COMMAND_TYPE_THREAD_INTERCEPTION = 1,
	DEBUGGER_PREALLOC_COMMAND_TYPE_EPTHOOK = 2,
	DEBUGGER_PREALLOC_COMMAND_TYPE_EPTHOOK2 = 3,
	DEBUGGER_PREALLOC_COMMAND_TYPE_REGULAR_EVENT = 4,
	DEBUGGER_PREALLOC_COMMAND_TYPE_BIG_EVENT = 5,
	DEBUGGER_PREALLOC_COMMAND_TYPE_REGULAR_SAFE_BUFFER = 6,
	DEBUGGER_PREALLOC_COMMAND_TYPE_BIG_SAFE_BUFFER = 7,
	DEBUGGER_PREALLOC_COMMAND_TYPE_BREAKPOINT = 8,
} DEBUGGER_PREALLOC_COMMAND_TYPE;

/* Status. */
#define HYPERKD_SUCCESS 0xffffffffull
#define HYPERKD_PREALLOC_TYPE_UNKNOWN 0xc0000028ull
#define HYPERKD_REQUEST_MALFORMED 0xc0001000ull
#define HYPERKD_COUNT_ZERO 0xc0001010ull
#define HYPERKD_COUNT_TOO_LARGE 0xc0001011ull
#define HYPERKD_BANK_SHORT 0xc0001012ull
#define HYPERKD_KERNEL_OUT_OF_MEMORY 0xc0001013ull
#define HYPERKD_USED_UP 0xc0001014ull
#define HYPERKD_INJECTED 0xc0001015ull
#define HYPERKD_UNBALANCED 0xc0001016ull
#define HYPERKD_NOT_LOADED 0xc0001020ull
#define HYPERKD_STILL_LEAVING 0xc0001038ull
#define HYPERKD_OVERLAPS 0xc0001063ull
#define HYPERKD_BOOT_VERSION 0xc0001036ull
#define HYPERKD_KERNEL_UNSUPPORTED 0xc0001033ull
#define HYPERKD_LACK_SME 0x10ull
#define HYPERKD_LACK_CORES 0x40ull
#define HYPERKD_LACK_RAM 0x80ull

/* The documented request. Fill Type and Count; KernelStatus comes back, HYPERKD_SUCCESS being success. */
typedef struct _DEBUGGER_PREALLOC_COMMAND {
	DEBUGGER_PREALLOC_COMMAND_TYPE Type;
	uint64_t Count;
	uint32_t KernelStatus;
} DEBUGGER_PREALLOC_COMMAND, *PDEBUGGER_PREALLOC_COMMAND;
HYPERKD_ASSERT(offsetof(DEBUGGER_PREALLOC_COMMAND, Type) == 0);
HYPERKD_ASSERT(offsetof(DEBUGGER_PREALLOC_COMMAND, Count) == 8);
HYPERKD_ASSERT(offsetof(DEBUGGER_PREALLOC_COMMAND, KernelStatus) == 16);
HYPERKD_ASSERT(sizeof(DEBUGGER_PREALLOC_COMMAND) == 24);

/* A request of the prompt, and room for the answer. */
struct hyperkd_call {
	uint64_t request;
	uint64_t answer;
	uint32_t request_bytes;
	uint32_t answer_bytes;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_call) == 24);
HYPERKD_ASSERT(offsetof(struct hyperkd_call, request) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_call, answer) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_call, request_bytes) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_call, answer_bytes) == 20);

/* Enter or leave root; bank_frames 0 asks for the default share of RAM. */
struct hyperkd_load {
	uint64_t bank_frames;
	uint32_t status;
	uint32_t detail;
	uint32_t cores;
	uint32_t flags;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_load) == 24);
HYPERKD_ASSERT(offsetof(struct hyperkd_load, bank_frames) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_load, status) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_load, detail) == 12);
HYPERKD_ASSERT(offsetof(struct hyperkd_load, cores) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_load, flags) == 20);

/* One type in the ledger; name is ASCII, zero-filled. */
struct hyperkd_ledger_row {
	char name[24];
	uint64_t unit_bytes;
	uint64_t reserved;
	uint64_t free;
	uint64_t used;
	uint64_t high_water;
	uint64_t refused;
	uint64_t refilled;
	uint64_t kept;
	uint64_t low;
	uint64_t target;
	uint64_t high;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_ledger_row) == 112);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, name) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, unit_bytes) == 24);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, reserved) == 32);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, free) == 40);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, used) == 48);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, high_water) == 56);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, refused) == 64);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, refilled) == 72);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, kept) == 80);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, low) == 88);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, target) == 96);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger_row, high) == 104);

#define HYPERKD_KINDS 0x9ull

/* What the reserve has, by type, and the pages it is made of. */
struct hyperkd_ledger {
	struct hyperkd_ledger_row kinds[HYPERKD_KINDS];
	uint64_t frames;
	uint64_t frames_root;
	uint64_t frames_free;
	uint64_t frames_kinds;
	uint64_t frames_target;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_ledger) == 1048);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger, kinds) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger, frames) == 1008);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger, frames_root) == 1016);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger, frames_free) == 1024);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger, frames_kinds) == 1032);
HYPERKD_ASSERT(offsetof(struct hyperkd_ledger, frames_target) == 1040);

#define IOCTL_RESERVE_PRE_ALLOCATED_POOLS _IOWR('H', 0x15, DEBUGGER_PREALLOC_COMMAND)
#define HYPERKD_IOCTL_CALL _IOWR('H', 0x40, struct hyperkd_call)
#define HYPERKD_IOCTL_LOAD _IOWR('H', 0x41, struct hyperkd_load)
#define HYPERKD_IOCTL_UNLOAD _IOWR('H', 0x42, struct hyperkd_load)
#define HYPERKD_IOCTL_LEDGER _IOR('H', 0x43, struct hyperkd_ledger)
HYPERKD_ASSERT(IOCTL_RESERVE_PRE_ALLOCATED_POOLS == 0xc0184815);
HYPERKD_ASSERT(HYPERKD_IOCTL_CALL == 0xc0184840);
HYPERKD_ASSERT(HYPERKD_IOCTL_LOAD == 0xc0184841);
HYPERKD_ASSERT(HYPERKD_IOCTL_UNLOAD == 0xc0184842);
HYPERKD_ASSERT(HYPERKD_IOCTL_LEDGER == 0x84184843);
#define HYPERKD_LOAD_LINK 0x1ull

/* Between module and image only. */
#define HYPERKD_IMAGE_MAGIC 0x444b5245505948ull
#define HYPERKD_DIRECT_VA 0xffff800000000000ull
#define HYPERKD_DIRECT_BYTES_MAX 0x70000000000ull
#define HYPERKD_IMAGE_VA 0xffff87ff80000000ull
#define HYPERKD_CORES_VA 0xffff87ffc0000000ull
#define HYPERKD_CORE_STRIDE 0x40000ull
#define HYPERKD_CORES_MAX 0x100ull
#define HYPERKD_BLOCK_ORDER_MIN 0x4ull
#define HYPERKD_BLOCK_ORDER_MAX 0x9ull
#define HYPERKD_BLOCKS_MAX 0x2000ull
#define HYPERKD_BOOT_LINK 0x1ull
#define HYPERKD_MESSAGE_BYTES_MAX 0xfa0ull
#define HYPERKD_OP_PREALLOC 0x2ull
#define HYPERKD_OP_LEDGER 0x3ull
#define HYPERKD_HYPERCALL_CALL 0x484b0000ull
#define HYPERKD_HYPERCALL_DONATE 0x484b0001ull
#define HYPERKD_HYPERCALL_FETCH_ENDED 0x484b0002ull
#define HYPERKD_HYPERCALL_LEAVE 0x484b0003ull
#define HYPERKD_HYPERCALL_ENTERED 0x484b0004ull
#define HYPERKD_HYPERCALL_GOODBYE 0x484b0005ull
#define HYPERKD_HYPERCALL_BREAK 0x484b0006ull
#define HYPERKD_HYPERCALL_LOOK 0x484b0008ull
#define HYPERKD_HYPERCALL_CALL_AGAIN 0x484b0007ull
#define HYPERKD_HYPERCALL_TEND 0x484b0009ull
#define HYPERKD_HYPERCALL_RECLAIM 0x484b000aull
#define HYPERKD_HYPERCALL_GRACE 0x484b000bull
#define HYPERKD_HYPERCALL_HOLDS 0x484b000cull
#define HYPERKD_HYPERCALL_HELD 0x484b000dull
#define HYPERKD_HYPERCALL_MAPPING 0x484b000eull
#define HYPERKD_HYPERCALL_UNLOADED 0x484b000full
#define HYPERKD_MAPPING_CHANGED 0x0ull
#define HYPERKD_MAPPING_UNMAPPED 0x1ull
#define HYPERKD_MAPPING_ENDED 0x2ull
#define HYPERKD_MAPPING_ANY 0x3ull
#define HYPERKD_HOLDS 0x66ull
#define HYPERKD_GOODBYE_REBOOT 0x0ull
#define HYPERKD_GOODBYE_SLEEP 0x1ull
#define HYPERKD_GOODBYE_UNLOAD 0x2ull
#define HYPERKD_NOTE_CRASH_NOTE 0x0ull
#define HYPERKD_NOTE_CRASH_NOTE_BYTES 0x1ull
#define HYPERKD_NOTE_MODULE 0x2ull
#define HYPERKD_NOTE_MODULE_NEXT 0x3ull
#define HYPERKD_NOTE_MODULE_NAME 0x4ull
#define HYPERKD_NOTE_MODULE_BASE 0x5ull
#define HYPERKD_NOTE_MODULE_SIZE 0x6ull
#define HYPERKD_NOTE_MODULE_NAMES 0x7ull
#define HYPERKD_NOTE_NAMES_TABLE 0x8ull
#define HYPERKD_NOTE_NAMES_COUNT 0x9ull
#define HYPERKD_NOTE_NAMES_TEXTS 0xaull
#define HYPERKD_NOTE_NAMES_KINDS 0xbull

/* Frames of a block of 2^order that root may need to keep it. */
#define HYPERKD_BLOCK_OVERHEAD(order) (3 + ((1u << (order)) >> 6))
HYPERKD_ASSERT(HYPERKD_BLOCK_OVERHEAD(4) == 3);
HYPERKD_ASSERT(HYPERKD_BLOCK_OVERHEAD(9) == 11);
/* First bytes of the image; sizes in bytes from its start. */
struct hyperkd_image_header {
	uint64_t magic;
	uint32_t protocol;
	uint32_t core_bytes;
	uint64_t entry;
	uint64_t text_end;
	uint64_t rodata_end;
	uint64_t image_end;
	uint64_t start_frames;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_image_header) == 56);
HYPERKD_ASSERT(offsetof(struct hyperkd_image_header, magic) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_image_header, protocol) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_image_header, core_bytes) == 12);
HYPERKD_ASSERT(offsetof(struct hyperkd_image_header, entry) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_image_header, text_end) == 24);
HYPERKD_ASSERT(offsetof(struct hyperkd_image_header, rodata_end) == 32);
HYPERKD_ASSERT(offsetof(struct hyperkd_image_header, image_end) == 40);
HYPERKD_ASSERT(offsetof(struct hyperkd_image_header, start_frames) == 48);

/* 2^order frames from pfn on, the first `used` of them taken. */
struct hyperkd_block {
	uint64_t pfn;
	uint32_t order;
	uint32_t used;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_block) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_block, pfn) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_block, order) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_block, used) == 12);

/* What one core tells when it enters. */
struct hyperkd_core {
	uint64_t leave;
	uint64_t guest_rip;
	uint64_t guest_rsp;
	uint64_t guest_cr3;
	uint64_t resume_va;
	uint64_t resume_pa;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_core) == 48);
HYPERKD_ASSERT(offsetof(struct hyperkd_core, leave) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_core, guest_rip) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_core, guest_rsp) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_core, guest_cr3) == 24);
HYPERKD_ASSERT(offsetof(struct hyperkd_core, resume_va) == 32);
HYPERKD_ASSERT(offsetof(struct hyperkd_core, resume_pa) == 40);

/* A guest that is let go, in the order in which the way back pops it. */
struct hyperkd_resume {
	uint64_t gprs[15];
	uint64_t frame[5];
};
HYPERKD_ASSERT(sizeof(struct hyperkd_resume) == 160);
HYPERKD_ASSERT(offsetof(struct hyperkd_resume, gprs) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_resume, frame) == 120);

/* The boot page. */
struct hyperkd_boot {
	uint32_t protocol;
	uint32_t cores;
	uint64_t root_cr3;
	uint64_t ram_end_pfn;
	uint64_t ram_frames;
	uint64_t doorbell_pa;
	uint64_t blocks_pa;
	uint32_t blocks;
	uint32_t flags;
	uint64_t boot_id;
	uint64_t tsc_khz;
	uint64_t current_task;
	uint32_t task_tid;
	uint32_t task_pid;
	uint32_t task_name;
	uint32_t space_tables;
	uint64_t direct_map;
	uint64_t first_task;
	uint32_t task_next;
	uint32_t task_space;
	uint64_t notes[16];
	uint64_t window_pa;
	uint64_t fixed[4];
};
HYPERKD_ASSERT(sizeof(struct hyperkd_boot) == 288);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, protocol) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, cores) == 4);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, root_cr3) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, ram_end_pfn) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, ram_frames) == 24);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, doorbell_pa) == 32);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, blocks_pa) == 40);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, blocks) == 48);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, flags) == 52);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, boot_id) == 56);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, tsc_khz) == 64);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, current_task) == 72);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, task_tid) == 80);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, task_pid) == 84);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, task_name) == 88);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, space_tables) == 92);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, direct_map) == 96);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, first_task) == 104);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, task_next) == 112);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, task_space) == 116);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, notes) == 120);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, window_pa) == 248);
HYPERKD_ASSERT(offsetof(struct hyperkd_boot, fixed) == 256);

#define HYPERKD_WINDOW_PLACES 512
#define HYPERKD_WINDOW_PLACE_BYTES 256
#define HYPERKD_WINDOW_PLACE_COPY 3
#define HYPERKD_WINDOW_TEXT_FRAMES 32
#define HYPERKD_WINDOW_CELL_FRAMES 8
#define HYPERKD_WINDOW_FRAMES 41
/* Where detours lead. */
struct hyperkd_window {
	uint64_t text;
	uint64_t data;
	uint64_t frames[HYPERKD_WINDOW_FRAMES];
};
HYPERKD_ASSERT(sizeof(struct hyperkd_window) == 344);
HYPERKD_ASSERT(offsetof(struct hyperkd_window, text) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_window, data) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_window, frames) == 16);

/* What a place of the window counts, and for whom it is. */
struct hyperkd_cell {
	uint64_t hits;
	uint64_t address;
	uint64_t entry;
	uint64_t unused[5];
};
HYPERKD_ASSERT(sizeof(struct hyperkd_cell) == 64);
HYPERKD_ASSERT(offsetof(struct hyperkd_cell, hits) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_cell, address) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_cell, entry) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_cell, unused) == 24);

/* Root asks the worker, and the worker tells the time, without an exit. */
struct hyperkd_doorbell {
	uint64_t frames_wanted;
	uint64_t run_wanted;
	uint64_t hidden;
	uint64_t unload_wanted;
	uint64_t dead;
	uint64_t left;
	uint64_t tend_wanted;
	uint64_t clock_turn;
	uint64_t clock[4];
	uint64_t grace_wanted;
	uint64_t holds_wanted;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_doorbell) == 112);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, frames_wanted) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, run_wanted) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, hidden) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, unload_wanted) == 24);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, dead) == 32);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, left) == 40);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, tend_wanted) == 48);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, clock_turn) == 56);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, clock) == 64);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, grace_wanted) == 96);
HYPERKD_ASSERT(offsetof(struct hyperkd_doorbell, holds_wanted) == 104);

/* A page at a linear address; level: 512^n frames. */
struct hyperkd_hold {
	uint64_t linear;
	uint64_t tables;
	uint64_t pfn;
	uint32_t level;
	uint32_t serial;
	uint64_t held;
};
HYPERKD_ASSERT(sizeof(struct hyperkd_hold) == 40);
HYPERKD_ASSERT(offsetof(struct hyperkd_hold, linear) == 0);
HYPERKD_ASSERT(offsetof(struct hyperkd_hold, tables) == 8);
HYPERKD_ASSERT(offsetof(struct hyperkd_hold, pfn) == 16);
HYPERKD_ASSERT(offsetof(struct hyperkd_hold, level) == 24);
HYPERKD_ASSERT(offsetof(struct hyperkd_hold, serial) == 28);
HYPERKD_ASSERT(offsetof(struct hyperkd_hold, held) == 32);

#endif
