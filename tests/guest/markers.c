// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * Memory that is known. `markers plant COUNT` maps COUNT pages and two, plants a mark of 16 bytes for each of the COUNT, most
 * of them across the end of their page, takes the second page from the end away and makes the last one read only, prints
 * `pid PID base HEX`, and waits to be killed. `markers spin` turns until somebody changes r12, and prints what it is then.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul
#define MARK_BYTES 16

static void mark(unsigned char *to)
{
	for (unsigned int i = 0; i < MARK_BYTES; i++)
		to[i] = (unsigned char)((i * 37 + 11) ^ 0xa5);
}

static int plant(unsigned long count)
{
	const size_t bytes = (count + 2) * PAGE;
	unsigned char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	/* Every page has a frame of its own. */
	memset(base, 1, bytes);
	for (unsigned long i = 0; i + 1 < count; i++)
		mark(base + (i + 1) * PAGE - i % MARK_BYTES);
	mark(base + count * PAGE - MARK_BYTES);
	memcpy(base + (count + 1) * PAGE, "read only", 9);
	if (mlock(base, bytes) || munmap(base + count * PAGE, PAGE) ||
	    mprotect(base + (count + 1) * PAGE, PAGE, PROT_READ)) {
		perror("pages");
		return 1;
	}
	printf("pid %d base %lx\n", getpid(), (unsigned long)base);
	fflush(stdout);
	for (;;)
		pause();
}

static int spin(void)
{
	uint64_t left;

	__asm__ volatile("movq $0x5ca1ab1e, %%r12\n"
			 "1: pause\n"
			 "cmpq $0x5ca1ab1e, %%r12\n"
			 "je 1b\n"
			 "movq %%r12, %0\n"
			 : "=r"(left)
			 :
			 : "r12", "cc");
	printf("left with %lx\n", (unsigned long)left);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "plant"))
		return plant(strtoul(argv[2], NULL, 10));
	if (argc == 2 && !strcmp(argv[1], "spin"))
		return spin();
	fprintf(stderr, "usage: markers plant COUNT | spin\n");
	return 2;
}
