/* Loads and unloads the hypervisor COUNT times, every second time with the link; each time it must be under every core. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "hyperkd.h"

#define LEAF 0x48574400u

/* Whether root answers on this core. */
static int under_root(unsigned int core)
{
	unsigned int a, b, c, d;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("sched_setaffinity");
		exit(2);
	}
	__cpuid(LEAF, a, b, c, d);
	return !memcmp(&a, "HKRS", 4);
}

static void expect_everywhere(int expected, int cycle, unsigned int cores)
{
	for (unsigned int core = 0; core < cores; core++) {
		if (under_root(core) != expected) {
			printf("cycle %d: core %u %s root\n", cycle, core, expected ? "is not under" : "is still under");
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	const int count = argc > 1 ? atoi(argv[1]) : 1;
	const unsigned int cores = sysconf(_SC_NPROCESSORS_ONLN);
	const int device = open("/dev/hyperdbg", O_RDWR);

	if (device < 0) {
		perror("/dev/hyperdbg");
		return 2;
	}
	for (int cycle = 0; cycle < count; cycle++) {
		struct hyperkd_load load = { .flags = cycle % 2 ? HYPERKD_LOAD_LINK : 0 };
		struct hyperkd_load unload = { 0 };
		DEBUGGER_PREALLOC_COMMAND some = { .Type = cycle % 8, .Count = 1 };

		if (ioctl(device, HYPERKD_IOCTL_LOAD, &load) || load.status != (unsigned int)HYPERKD_SUCCESS || load.cores != cores) {
			printf("cycle %d: load said %x, detail %x, %u cores\n", cycle, load.status, load.detail, load.cores);
			return 1;
		}
		expect_everywhere(1, cycle, cores);
		if (ioctl(device, IOCTL_RESERVE_PRE_ALLOCATED_POOLS, &some) || some.KernelStatus != (unsigned int)HYPERKD_SUCCESS) {
			printf("cycle %d: prealloc said %x\n", cycle, some.KernelStatus);
			return 1;
		}
		if (ioctl(device, HYPERKD_IOCTL_UNLOAD, &unload) || unload.status != (unsigned int)HYPERKD_SUCCESS || unload.cores) {
			printf("cycle %d: unload said %x, %u cores\n", cycle, unload.status, unload.cores);
			return 1;
		}
		expect_everywhere(0, cycle, cores);
	}
	printf("%d cycles on %u cores\n", count, cores);
	return 0;
}
