// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * The reserve, by a program that knows nothing but the header which ships.
 * `pools ledger`: the ledger, as /sys/kernel/debug/hyperdbg/ledger shows it.
 * `pools time`: what reserving 0x1000 units of a page takes, from the bank and then from the kernel, in ticks of the TSC.
 * `pools soak ROUNDS`: on each core a thread that reserves, holds, lets go and releases units of random types; what is left
 * of it at the end is given back. Prints `ROUNDS rounds, N granted, N refused`; an answer that cannot be ends it with 1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>
#include "hyperkd.h"

/* Requests of abi::request, and what TEST_RESERVE can do. */
#define OP_PREALLOC 2u
#define OP_RELEASE 12u
#define OP_TEST_RESERVE 15u
#define HOLD 1u
#define LET 2u
#define CORES_MAX 8

struct ask {
	uint32_t op, bytes;
	uint32_t first, second;
	uint64_t count;
};

struct answer {
	uint32_t code, bytes;
	uint32_t kind, zero;
	uint64_t asked, free, reserved, most, short_of, bank_free;
};

static int device;
static atomic_ullong granted, refused;
static atomic_ullong kept[HYPERKD_KINDS];

static struct answer ask(uint32_t op, uint32_t first, uint32_t second, uint64_t count)
{
	static _Thread_local char room[HYPERKD_MESSAGE_BYTES_MAX];
	struct ask ask = { .op = op, .bytes = 16, .first = first, .second = second, .count = count };
	struct hyperkd_call call = {
		.request = (uintptr_t)&ask, .request_bytes = sizeof(ask), .answer = (uintptr_t)room, .answer_bytes = sizeof(room),
	};
	struct answer answer;

	if (ioctl(device, HYPERKD_IOCTL_CALL, &call) || call.answer_bytes != sizeof(answer)) {
		perror("call");
		exit(1);
	}
	memcpy(&answer, room, sizeof(answer));
	atomic_fetch_add(answer.code == (uint32_t)HYPERKD_SUCCESS ? &granted : &refused, 1);
	/* What root says must fit itself, whoever else is at it. */
	if (answer.free > answer.reserved) {
		printf("type %u: %llu free of %llu\n", answer.kind, (unsigned long long)answer.free, (unsigned long long)answer.reserved);
		exit(1);
	}
	return answer;
}

static int ok(struct answer answer)
{
	return answer.code == (uint32_t)HYPERKD_SUCCESS;
}

struct worker {
	pthread_t thread;
	unsigned int core;
	int rounds;
};

static void *work(void *argument)
{
	const struct worker *me = argument;
	unsigned int seed = me->core * 7919 + 1;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(me->core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		exit(1);
	for (int round = 0; round < me->rounds; round++) {
		uint32_t kind = rand_r(&seed) % HYPERKD_KINDS;
		uint64_t count = rand_r(&seed) % 8 + 1;

		if (ok(ask(OP_PREALLOC, kind, 0, count)))
			atomic_fetch_add(&kept[kind], count);
		ask(OP_TEST_RESERVE, HOLD, kind, rand_r(&seed) % 16 + 1);
		if (rand_r(&seed) % 2)
			ask(OP_TEST_RESERVE, LET, kind, 0);
		count = rand_r(&seed) % 8 + 1;
		if (atomic_load(&kept[kind]) >= count + 64 && ok(ask(OP_RELEASE, kind, 0, count)))
			atomic_fetch_sub(&kept[kind], count);
	}
	return NULL;
}

static int soak(int rounds)
{
	const unsigned int cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct worker workers[CORES_MAX];

	if (cores > CORES_MAX)
		return 2;
	for (unsigned int core = 0; core < cores; core++) {
		workers[core] = (struct worker){ .core = core, .rounds = rounds / cores };
		if (pthread_create(&workers[core].thread, NULL, work, &workers[core]))
			return 2;
	}
	for (unsigned int core = 0; core < cores; core++)
		pthread_join(workers[core].thread, NULL);
	for (uint32_t kind = 0; kind < HYPERKD_KINDS; kind++) {
		uint64_t left = atomic_load(&kept[kind]);

		ask(OP_TEST_RESERVE, LET, kind, 0);
		if (left && !ok(ask(OP_RELEASE, kind, 0, left))) {
			printf("type %u: 0x%llx of its own cannot be released\n", kind, (unsigned long long)left);
			return 1;
		}
	}
	printf("%d rounds, %llu granted, %llu refused\n", rounds, atomic_load(&granted), atomic_load(&refused));
	return 0;
}

/* Ticks of one request that must be granted. */
static unsigned long long ticks(uint64_t count)
{
	DEBUGGER_PREALLOC_COMMAND command = { .Type = DEBUGGER_PREALLOC_COMMAND_TYPE_REGULAR_SAFE_BUFFER, .Count = count };
	const unsigned long long start = __rdtsc();
	const int err = ioctl(device, IOCTL_RESERVE_PRE_ALLOCATED_POOLS, &command);
	const unsigned long long end = __rdtsc();

	if (err || command.KernelStatus != (uint32_t)HYPERKD_SUCCESS) {
		printf("0x%llx units: %x\n", (unsigned long long)count, command.KernelStatus);
		exit(1);
	}
	return end - start;
}

static int compare(void)
{
	const uint32_t kind = DEBUGGER_PREALLOC_COMMAND_TYPE_REGULAR_SAFE_BUFFER;
	struct hyperkd_ledger now;

	for (int round = 0; round < 5; round++) {
		unsigned long long bank = ticks(0x1000), kernel;

		/* So that nothing is left for the second one. */
		if (ioctl(device, HYPERKD_IOCTL_LEDGER, &now))
			return 1;
		ticks(now.frames_free);
		kernel = ticks(0x1000);
		printf("%llu %llu\n", bank, kernel);
		if (ioctl(device, HYPERKD_IOCTL_LEDGER, &now) || !ok(ask(OP_RELEASE, kind, 0, now.kinds[kind].free)))
			return 1;
		/* The worker gives back what the bank does not need. */
		do {
			usleep(100000);
			if (ioctl(device, HYPERKD_IOCTL_LEDGER, &now))
				return 1;
		} while (now.frames_free > now.frames_target + 4 * 512);
	}
	return 0;
}

static int ledger(void)
{
	struct hyperkd_ledger ledger;

	if (ioctl(device, HYPERKD_IOCTL_LEDGER, &ledger)) {
		perror("ledger");
		return 1;
	}
	printf("type unit_bytes reserved free used high_water refused refilled kept low target high\n");
	for (unsigned int kind = 0; kind < HYPERKD_KINDS; kind++) {
		const struct hyperkd_ledger_row *row = &ledger.kinds[kind];
		const uint64_t numbers[] = { row->unit_bytes, row->reserved, row->free, row->used, row->high_water, row->refused,
					     row->refilled, row->kept, row->low, row->target, row->high };

		printf("%.24s", row->name);
		for (unsigned int i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
			printf(" %llu", (unsigned long long)numbers[i]);
		printf("\n");
	}
	printf("pages %llu root %llu bank %llu types %llu bank_target %llu\n", (unsigned long long)ledger.frames,
	       (unsigned long long)ledger.frames_root, (unsigned long long)ledger.frames_free,
	       (unsigned long long)ledger.frames_kinds, (unsigned long long)ledger.frames_target);
	return 0;
}

int main(int argc, char **argv)
{
	device = open("/dev/hyperdbg", O_RDWR);
	if (device < 0) {
		perror("/dev/hyperdbg");
		return 2;
	}
	if (argc == 2 && !strcmp(argv[1], "ledger"))
		return ledger();
	if (argc == 2 && !strcmp(argv[1], "time"))
		return compare();
	if (argc == 3 && !strcmp(argv[1], "soak"))
		return soak(atoi(argv[2]));
	return 2;
}
