// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * Executes what events wait for. `instructions cpuid LEAF COUNT` on each core at once, and prints what the last one told
 * (eax ebx ecx edx); `tsc COUNT` RDTSC, and prints whether it ever ran backwards; `vmcall` a hypercall of nobody's, and prints
 * what became of it; `time LEAF COUNT` CPUID on this core, and prints the ticks of the TSC that each took; `rdmsr CORE REGISTER COUNT` and `wrmsr CORE REGISTER VALUE` by the msr driver.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#define CORES_MAX 8

static unsigned long leaf, count;
static pthread_barrier_t together;
static unsigned int told[CORES_MAX][4];
static sigjmp_buf back;

static void pin(unsigned long core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("sched_setaffinity");
		exit(2);
	}
}

static void *cpuids(void *argument)
{
	unsigned int *t = told[(uintptr_t)argument];

	pin((uintptr_t)argument);
	pthread_barrier_wait(&together);
	for (unsigned long i = 0; i < count; i++)
		__cpuid_count(leaf, 0, t[0], t[1], t[2], t[3]);
	return NULL;
}

static int cpuid_everywhere(void)
{
	const unsigned int cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[CORES_MAX];

	pthread_barrier_init(&together, NULL, cores);
	for (uintptr_t core = 0; core < cores; core++)
		if (pthread_create(&threads[core], NULL, cpuids, (void *)core))
			return 2;
	for (unsigned int core = 0; core < cores; core++)
		pthread_join(threads[core], NULL);
	for (unsigned int core = 0; core < cores; core++)
		printf("%x %x %x %x\n", told[core][0], told[core][1], told[core][2], told[core][3]);
	return 0;
}

static int tsc(unsigned long times)
{
	unsigned long long last = __rdtsc(), backwards = 0;

	for (unsigned long i = 1; i < times; i++) {
		unsigned long long now = __rdtsc();

		backwards += now < last;
		last = now;
	}
	printf("%llu backwards\n", backwards);
	return 0;
}

static void on_signal(int number)
{
	siglongjmp(back, number);
}

static int time_cpuid(void)
{
	unsigned int a, b, c, d;
	unsigned long long start;

	__cpuid_count(leaf, 0, a, b, c, d);
	start = __rdtsc();
	for (unsigned long i = 0; i < count; i++)
		__cpuid_count(leaf, 0, a, b, c, d);
	printf("%.1f\n", (double)(__rdtsc() - start) / count);
	return 0;
}

static unsigned long __attribute__((noinline)) hypercall(unsigned long rax)
{
	if (__builtin_cpu_is("intel"))
		asm volatile("vmcall" : "+a"(rax) : : "memory");
	else
		asm volatile("vmmcall" : "+a"(rax) : : "memory");
	return rax;
}

static int vmcall(void)
{
	int number;

	signal(SIGILL, on_signal);
	number = sigsetjmp(back, 1);
	if (number) {
		printf("signal %d\n", number);
		return 0;
	}
	printf("rax %lx\n", hypercall(0x1234));
	return 0;
}

static int msr(const char *core, int flags)
{
	char path[64];
	int file;

	snprintf(path, sizeof(path), "/dev/cpu/%s/msr", core);
	file = open(path, flags);
	if (file < 0) {
		perror(path);
		exit(2);
	}
	return file;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "cpuid")) {
		leaf = strtoul(argv[2], NULL, 16);
		count = strtoul(argv[3], NULL, 10);
		return cpuid_everywhere();
	}
	if (argc == 4 && !strcmp(argv[1], "time")) {
		leaf = strtoul(argv[2], NULL, 16);
		count = strtoul(argv[3], NULL, 10);
		return time_cpuid();
	}
	if (argc == 3 && !strcmp(argv[1], "tsc"))
		return tsc(strtoul(argv[2], NULL, 10));
	if (argc == 2 && !strcmp(argv[1], "vmcall"))
		return vmcall();
	if (argc == 5 && !strcmp(argv[1], "rdmsr")) {
		const int file = msr(argv[2], O_RDONLY);
		uint64_t value = 0;

		for (unsigned long i = strtoul(argv[4], NULL, 10); i; i--)
			if (pread(file, &value, sizeof(value), strtoul(argv[3], NULL, 16)) != sizeof(value)) {
				printf("errno %s\n", strerrorname_np(errno));
				return 0;
			}
		printf("%llx\n", (unsigned long long)value);
		return 0;
	}
	if (argc == 5 && !strcmp(argv[1], "wrmsr")) {
		const int file = msr(argv[2], O_WRONLY);
		const uint64_t value = strtoull(argv[4], NULL, 16);

		if (pwrite(file, &value, sizeof(value), strtoul(argv[3], NULL, 16)) != sizeof(value))
			printf("errno %s\n", strerrorname_np(errno));
		else
			printf("written\n");
		return 0;
	}
	return 2;
}
