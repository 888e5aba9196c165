/*
 * The kernel's memory as programs read it, through /proc/kcore.
 *
 *   kcore bytes ADDRESS COUNT    so many bytes (decimal, 64 at most) from there (hex) on, as `%ph` of the kernel has them
 *   kcore sum FROM TO            a sum of all bytes between these addresses, and how many pages they lie on
 */
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096
#define SEGMENTS_MAX 64

static int core;
static Elf64_Phdr segments[SEGMENTS_MAX];
static int count;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void load(void)
{
	Elf64_Ehdr head;

	core = open("/proc/kcore", O_RDONLY);
	if (core < 0 || pread(core, &head, sizeof(head), 0) != sizeof(head))
		fail("/proc/kcore");
	count = head.e_phnum < SEGMENTS_MAX ? head.e_phnum : SEGMENTS_MAX;
	if (pread(core, segments, count * sizeof(*segments), head.e_phoff) != (ssize_t)(count * sizeof(*segments)))
		fail("segments");
}

static void bytes(uint64_t address, void *to, size_t length)
{
	for (int i = 0; i < count; i++) {
		const Elf64_Phdr *s = &segments[i];

		if (s->p_type != PT_LOAD || address < s->p_vaddr || address - s->p_vaddr >= s->p_memsz)
			continue;
		if (pread(core, to, length, s->p_offset + (address - s->p_vaddr)) != (ssize_t)length)
			fail("pread");
		return;
	}
	fprintf(stderr, "%lx is in no segment\n", address);
	exit(1);
}

int main(int argc, char **argv)
{
	uint64_t sum = 0xcbf29ce484222325; /* FNV-1a, by words */
	uint64_t page[PAGE / 8];
	unsigned int pages = 0;

	if (argc != 4)
		return 2;
	load();
	if (!strcmp(argv[1], "bytes")) {
		const size_t length = strtoul(argv[3], NULL, 10);

		if (length > 64)
			return 2;
		bytes(strtoul(argv[2], NULL, 16), page, length);
		for (size_t i = 0; i < length; i++)
			printf("%s%02x", i ? " " : "", ((uint8_t *)page)[i]);
		puts("");
		return 0;
	}
	for (uint64_t at = strtoul(argv[2], NULL, 16); at < strtoul(argv[3], NULL, 16); at += PAGE, pages++) {
		bytes(at, page, PAGE);
		for (int i = 0; i < PAGE / 8; i++)
			sum = (sum ^ page[i]) * 0x100000001b3;
	}
	printf("%016lx of %u pages\n", sum, pages);
	return 0;
}
