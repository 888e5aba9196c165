// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * A program whose memory moves. `moves NAME` takes commands, a line each, from the pipe /NAME.in and answers on /NAME.out. All of it is
 * about AT: a page with a function at 0x40, and a page with a word at its beginning.
 *
 *   anon file huge     maps both anew: memory of its own, of a file, or 2 MiB in one; the function adds 1
 *   over               maps memory of its own over them, with a function that adds 2
 *   unmap              unmaps both
 *   call COUNT         calls the function so often; answers what was added
 *   store COUNT        writes so often to the word
 *   touch              writes to both pages, elsewhere
 *   pid                answers its number
 *   frame              answers the frame of the first page (hex), or 0 if it has none
 *   out drop           asks for both to be swapped out, or forgets them
 *   part               changes the rights of the page behind both, and gives the next one back
 *   away back          moves both elsewhere, and back
 *   fork NAME          a child with pipes of its own; answers its number
 *   exec NAME          begins anew
 *   exit
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define AT 0x10000000ul
#define ELSEWHERE 0x30000000ul
#define LARGE 0x200000ul
#define PAGE 0x1000ul

static const uint8_t adds_1[] = { 0x8d, 0x47, 0x01, 0xc3 }, adds_2[] = { 0x8d, 0x47, 0x02, 0xc3 };
static char in[64], out[64], answer[64];
static unsigned long size;

static void name(const char *text)
{
	snprintf(in, sizeof(in), "/%s.in", text);
	snprintf(out, sizeof(out), "/%s.out", text);
	mkfifo(in, 0600);
	mkfifo(out, 0600);
}

/* Whether it could be mapped; with a function, that is put there. */
static int map(unsigned long bytes, int flags, int file, const uint8_t *function)
{
	void *at = (void *)AT;

	if (size)
		munmap(at, size);
	size = bytes;
	if (mmap(at, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_FIXED | flags, file, 0) != at)
		return -1;
	if (bytes == LARGE && madvise(at, size, MADV_HUGEPAGE))
		return -1;
	if (function) {
		memset(at, 0x90, size);
		memcpy(at + 0x40, function, 4);
	}
	return 0;
}

static int map_file(void)
{
	static uint8_t bytes[2 * PAGE];
	int file = open("/moves.code", O_RDWR | O_CREAT, 0600);
	int result;

	memcpy(bytes + 0x40, adds_1, sizeof(adds_1));
	if (file < 0 || pwrite(file, bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -1;
	result = map(sizeof(bytes), 0, file, NULL);
	close(file);
	return result;
}

static int call(unsigned long count)
{
	int (*volatile function)(int) = (void *)(AT + 0x40);
	unsigned long sum = 0;

	for (unsigned long i = 0; i < count; i++)
		sum += function(7) - 7;
	snprintf(answer, sizeof(answer), "%lu", sum);
	return 0;
}

static int store(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++)
		*(volatile uint64_t *)(AT + PAGE) = i;
	return 0;
}

static int frame(void)
{
	int file = open("/proc/self/pagemap", O_RDONLY);
	uint64_t word = 0;

	if (file < 0 || pread(file, &word, sizeof(word), AT / PAGE * sizeof(word)) != sizeof(word))
		return -1;
	close(file);
	snprintf(answer, sizeof(answer), "%lx", (unsigned long)(word >> 63 ? word & ((1ull << 55) - 1) : 0));
	return 0;
}

static int part(void)
{
	void *third = (void *)(AT + 2 * PAGE);

	return -(mprotect(third, PAGE, PROT_READ) || madvise(third + PAGE, PAGE, MADV_DONTNEED) ||
		 mprotect(third, PAGE, PROT_READ | PROT_WRITE));
}

static int move(unsigned long from, unsigned long to)
{
	return mremap((void *)from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)to) == (void *)to ? 0 : -1;
}

static int touch(void)
{
	for (unsigned long at = 0; at < 2 * PAGE; at += PAGE)
		*(volatile uint64_t *)(AT + at + 0x900) = 1;
	return 0;
}

static int branch(const char *text)
{
	const int child = fork();

	if (child == 0)
		name(text);
	snprintf(answer, sizeof(answer), "%d", child);
	return child;
}

static int obey(const char *what, const char *text)
{
	const unsigned long count = strtoul(text, NULL, 10);

	if (!strcmp(what, "pid"))
		return snprintf(answer, sizeof(answer), "%d", getpid());
	if (!strcmp(what, "anon"))
		return map(2 * PAGE, MAP_ANONYMOUS, -1, adds_1);
	if (!strcmp(what, "huge"))
		return map(LARGE, MAP_ANONYMOUS, -1, adds_1);
	if (!strcmp(what, "file"))
		return map_file();
	if (!strcmp(what, "over")) {
		/* In one go: nothing is unmapped before. */
		size = 0;
		return map(2 * PAGE, MAP_ANONYMOUS, -1, adds_2);
	}
	if (!strcmp(what, "unmap"))
		return munmap((void *)AT, size);
	if (!strcmp(what, "call"))
		return call(count);
	if (!strcmp(what, "store"))
		return store(count);
	if (!strcmp(what, "touch"))
		return touch();
	if (!strcmp(what, "frame"))
		return frame();
	if (!strcmp(what, "out"))
		return madvise((void *)AT, size, MADV_PAGEOUT);
	if (!strcmp(what, "drop"))
		return madvise((void *)AT, size, MADV_DONTNEED);
	if (!strcmp(what, "part"))
		return part();
	if (!strcmp(what, "away"))
		return move(AT, ELSEWHERE);
	if (!strcmp(what, "back"))
		return move(ELSEWHERE, AT);
	if (!strcmp(what, "exec"))
		return execl("/proc/self/exe", "moves", text, NULL);
	if (!strcmp(what, "exit"))
		exit(0);
	return -1;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	name(argv[1]);
	for (;;) {
		char what[16] = "", text[32] = "";
		FILE *file = fopen(in, "r");
		int result;

		if (!file || fscanf(file, "%15s %31s", what, text) < 1)
			return 2;
		fclose(file);
		strcpy(answer, "ok");
		if (!strcmp(what, "fork")) {
			result = branch(text);
			/* The child has nothing to say before it is asked. */
			if (result == 0)
				continue;
		} else {
			result = obey(what, text);
		}
		file = fopen(out, "w");
		if (!file)
			return 2;
		fprintf(file, "%s\n", result < 0 ? "failed" : answer);
		fclose(file);
	}
}
