// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * Touches ports (numbers in hex, counts in decimal). `ports in PORT BYTES COUNT` and `ports out PORT BYTES VALUE COUNT` on each
 * core at once; `in` prints what the last one read, over a rax of 5555555555555555. `ports once PORT` reads one byte here.
 * `ports strings` moves strings, by the firmware's configuration device (its directory, byte by byte) and by a cell of
 * the clock's memory, over pages that are not there yet, and prints sums of what came; what may not be written is a signal.
 * `ports pci` reads the first device's number in all sizes.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

#define CORES_MAX 8
#define PAGE 4096UL
#define FW_SELECT 0x510
#define FW_DATA 0x511
#define FW_DIRECTORY 0x19
#define CLOCK_SELECT 0x70
#define CLOCK_DATA 0x71
#define CLOCK_CELL 0x60

static unsigned long port, bytes, value, count;
static int input;
static pthread_barrier_t together;
static unsigned long told[CORES_MAX];
static sigjmp_buf back;

static unsigned long in(unsigned long rax)
{
	if (bytes == 1)
		asm volatile("inb %w1, %%al" : "+a"(rax) : "d"(port));
	else if (bytes == 2)
		asm volatile("inw %w1, %%ax" : "+a"(rax) : "d"(port));
	else
		asm volatile("inl %w1, %%eax" : "+a"(rax) : "d"(port));
	return rax;
}

static void out(void)
{
	if (bytes == 1)
		outb(value, port);
	else if (bytes == 2)
		outw(value, port);
	else
		outl(value, port);
}

static void privilege(void)
{
	if (iopl(3)) {
		perror("iopl");
		exit(2);
	}
}

static void *touch(void *argument)
{
	const uintptr_t core = (uintptr_t)argument;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("sched_setaffinity");
		exit(2);
	}
	privilege();
	pthread_barrier_wait(&together);
	for (unsigned long i = 0; i < count; i++)
		if (input)
			told[core] = in(0x5555555555555555);
		else
			out();
	return NULL;
}

static int everywhere(void)
{
	const unsigned int cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[CORES_MAX];

	pthread_barrier_init(&together, NULL, cores);
	for (uintptr_t core = 0; core < cores; core++)
		if (pthread_create(&threads[core], NULL, touch, (void *)core))
			return 2;
	for (unsigned int core = 0; core < cores; core++)
		pthread_join(threads[core], NULL);
	for (unsigned int core = 0; input && core < cores; core++)
		printf("%lx\n", told[core]);
	return 0;
}

static void on_signal(int number)
{
	siglongjmp(back, number);
}

static unsigned char *pages(unsigned long number)
{
	unsigned char *at = mmap(NULL, number * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(2);
	return at;
}

static unsigned long sum(const unsigned char *at, unsigned long length)
{
	unsigned long result = 0;

	for (unsigned long i = 0; i < length; i++)
		result = result * 31 + at[i];
	return result;
}

static void selects(void)
{
	outw(FW_DIRECTORY, FW_SELECT);
}

static int strings(void)
{
	unsigned char *fresh = pages(4), *fixed = pages(3), *from = pages(2);
	unsigned char byte[64];
	void *to;
	unsigned long left;
	int number;

	/* What there is, one by one. */
	selects();
	for (unsigned int i = 0; i < sizeof(byte); i++)
		byte[i] = inb(FW_DATA);
	printf("one by one: %lx\n", sum(byte, sizeof(byte)));

	/* A string over three pages that are not there yet. */
	selects();
	to = fresh + PAGE - 10;
	left = 2 * PAGE;
	asm volatile("rep insb" : "+D"(to), "+c"(left) : "d"(FW_DATA) : "memory");
	printf("ins: %lx, then %lx, %ld bytes, %lu left\n", sum(fresh + PAGE - 10, 64), sum(fresh, 4 * PAGE),
	       (long)((unsigned char *)to - fresh), left);

	/* Backwards, one alone, and none. */
	selects();
	to = fresh + 63;
	left = 64;
	asm volatile("std; rep insb; cld" : "+D"(to), "+c"(left) : "d"(FW_DATA) : "memory");
	printf("backwards: %lx, %ld\n", sum(fresh, 64), (long)((unsigned char *)to - fresh));
	to = fresh;
	selects();
	asm volatile("insb" : "+D"(to) : "d"(FW_DATA) : "memory");
	printf("one: %x, %ld\n", fresh[0], (long)((unsigned char *)to - fresh));
	left = 0;
	asm volatile("rep insb" : "+D"(to), "+c"(left) : "d"(FW_DATA) : "memory");
	printf("none: %ld\n", (long)((unsigned char *)to - fresh));

	/* A page that may not be written: a signal, at the right place, and what was before has come. */
	mprotect(fixed + PAGE, PAGE, PROT_READ);
	signal(SIGSEGV, on_signal);
	selects();
	number = sigsetjmp(back, 1);
	if (!number) {
		to = fixed + PAGE - 32;
		left = 64;
		asm volatile("rep insb" : "+D"(to), "+c"(left) : "d"(FW_DATA) : "memory");
	}
	printf("signal %d, %lx, next %x\n", number, sum(fixed, PAGE), inb(FW_DATA));

	/* Out of two pages, forwards: the last byte stays in the cell; then backwards: the first. */
	for (unsigned long i = 0; i < 2 * PAGE; i++)
		from[i] = i * 7 + i / PAGE;
	outb(CLOCK_CELL, CLOCK_SELECT);
	to = from + PAGE - 20;
	left = 51;
	asm volatile("rep outsb" : "+S"(to), "+c"(left) : "d"(CLOCK_DATA) : "memory");
	printf("outs: %x of %x, %ld, %lu left\n", inb(CLOCK_DATA), from[PAGE + 30], (long)((unsigned char *)to - from), left);
	to = from + PAGE + 20;
	left = 41;
	asm volatile("std; rep outsb; cld" : "+S"(to), "+c"(left) : "d"(CLOCK_DATA) : "memory");
	printf("backwards: %x of %x, %ld\n", inb(CLOCK_DATA), from[PAGE - 20], (long)((unsigned char *)to - from));
	return 0;
}

static int pci(void)
{
	outl(0x80000000, 0xcf8);
	printf("%x %x %x %x %x\n", inl(0xcfc), inw(0xcfc), inw(0xcfe), inb(0xcfd), inb(0xcff));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "in")) {
		input = 1;
		count = strtoul(argv[4], NULL, 10);
	} else if (argc == 6 && !strcmp(argv[1], "out")) {
		value = strtoul(argv[4], NULL, 16);
		count = strtoul(argv[5], NULL, 10);
	} else if (argc >= 2) {
		privilege();
		if (argc == 3 && !strcmp(argv[1], "once")) {
			printf("%x\n", inb(strtoul(argv[2], NULL, 16)));
			return 0;
		}
		if (!strcmp(argv[1], "strings"))
			return strings();
		if (!strcmp(argv[1], "pci"))
			return pci();
		return 2;
	} else {
		return 2;
	}
	port = strtoul(argv[2], NULL, 16);
	bytes = strtoul(argv[3], NULL, 16);
	return everywhere();
}
