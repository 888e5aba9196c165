// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * The documented ioctl, by a program that knows nothing but the header which ships. One word says what to do; what came
 * of it is printed as one line: `status c0001010 type 0 count 0x0`, or `errno EFAULT`. Exits with 0 if it could ask.
 * `as-user UID [PROGRAM ...]` gives up root first, and then opens the device or becomes the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "hyperkd.h"

#define PAGE 4096u

static void fail(const char *what)
{
	printf("%s: errno %s\n", what, strerrorname_np(errno));
	exit(1);
}

static int device(void)
{
	int fd = open("/dev/hyperdbg", O_RDWR);

	if (fd < 0)
		fail("open");
	return fd;
}

/* A request as a careless program sends it: what it must not fill, and what the compiler leaves between, is garbage. */
static void fill(DEBUGGER_PREALLOC_COMMAND *command, unsigned int type, uint64_t count)
{
	memset(command, 0xa5, sizeof(*command));
	memcpy(&command->Type, &type, sizeof(type));
	command->Count = count;
	command->KernelStatus = 0xdeadbeef;
}

static void ask(int fd, void *at)
{
	DEBUGGER_PREALLOC_COMMAND command;

	if (ioctl(fd, IOCTL_RESERVE_PRE_ALLOCATED_POOLS, at)) {
		printf("errno %s\n", strerrorname_np(errno));
		return;
	}
	memcpy(&command, at, sizeof(command));
	printf("status %08x type %u count 0x%llx\n", command.KernelStatus, (unsigned int)command.Type,
	       (unsigned long long)command.Count);
}

/* Two pages, of which the second is not there. */
static char *two_pages(void)
{
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || munmap(pages + PAGE, PAGE))
		fail("mmap");
	return pages;
}

static void ask_at(int fd, char *at, unsigned int type, uint64_t count)
{
	DEBUGGER_PREALLOC_COMMAND command;

	fill(&command, type, count);
	memcpy(at, &command, sizeof(command));
	ask(fd, at);
}

static void ask_read_only(int fd, unsigned int type, uint64_t count)
{
	char *pages = two_pages();

	fill((void *)pages, type, count);
	if (mprotect(pages, PAGE, PROT_READ))
		fail("mprotect");
	ask(fd, pages);
}

/* The same number with every other size, and sizes and directions that somebody could mistake for it. */
static void wrong_numbers(int fd, unsigned int type, uint64_t count)
{
	static const unsigned long numbers[] = {
		_IOC(_IOC_READ | _IOC_WRITE, 'H', 0x15, 0),  _IOC(_IOC_READ | _IOC_WRITE, 'H', 0x15, 16),
		_IOC(_IOC_READ | _IOC_WRITE, 'H', 0x15, 20), _IOC(_IOC_READ | _IOC_WRITE, 'H', 0x15, 23),
		_IOC(_IOC_READ | _IOC_WRITE, 'H', 0x15, 25), _IOC(_IOC_READ | _IOC_WRITE, 'H', 0x15, 32),
		_IOC(_IOC_READ | _IOC_WRITE, 'H', 0x15, 4096), _IOC(_IOC_READ, 'H', 0x15, 24),
		_IOC(_IOC_WRITE, 'H', 0x15, 24), _IOC(_IOC_NONE, 'H', 0x15, 24),
		_IOC(_IOC_READ | _IOC_WRITE, 'H', 0x14, 24), _IOC(_IOC_READ | _IOC_WRITE, 'I', 0x15, 24),
	};
	DEBUGGER_PREALLOC_COMMAND command;
	unsigned int i;

	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		fill(&command, type, count);
		if (!ioctl(fd, numbers[i], &command))
			printf("%08lx was taken\n", numbers[i]);
		else
			printf("errno %s\n", strerrorname_np(errno));
	}
}

/* One unit a request, so many times: how many were granted. */
static void many(int fd, unsigned int type, uint64_t times)
{
	DEBUGGER_PREALLOC_COMMAND command;
	uint64_t granted = 0;

	while (times--) {
		fill(&command, type, 1);
		if (!ioctl(fd, IOCTL_RESERVE_PRE_ALLOCATED_POOLS, &command) && command.KernelStatus == HYPERKD_SUCCESS)
			granted++;
	}
	printf("granted %llu\n", (unsigned long long)granted);
}

static void become(unsigned int user)
{
	if (setgroups(0, NULL) || setgid(user) || setuid(user))
		fail("setuid");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	unsigned int type = argc > 2 ? (unsigned int)strtoul(argv[2], NULL, 0) : 0;
	uint64_t count = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
	int fd;

	if (!strcmp(what, "as-user")) {
		become(type);
		if (argc > 3) {
			execvp(argv[3], argv + 3);
			fail("exec");
		}
		device();
		puts("opened");
		return 0;
	}
	fd = device();
	if (!strcmp(what, "ask"))
		ask_at(fd, two_pages(), type, count);
	else if (!strcmp(what, "misaligned"))
		ask_at(fd, two_pages() + 1, type, count);
	else if (!strcmp(what, "at-the-end-of-a-page"))
		ask_at(fd, two_pages() + PAGE - sizeof(DEBUGGER_PREALLOC_COMMAND), type, count);
	else if (!strcmp(what, "null"))
		ask(fd, NULL);
	else if (!strcmp(what, "unmapped"))
		ask(fd, two_pages() + PAGE);
	else if (!strcmp(what, "half-unmapped"))
		ask(fd, two_pages() + PAGE - 12);
	else if (!strcmp(what, "kernel-address"))
		ask(fd, (void *)0xffffffff81000000ul);
	else if (!strcmp(what, "not-canonical"))
		ask(fd, (void *)0x8000000000000000ul);
	else if (!strcmp(what, "read-only"))
		ask_read_only(fd, type, count);
	else if (!strcmp(what, "wrong-numbers"))
		wrong_numbers(fd, type, count);
	else if (!strcmp(what, "many"))
		many(fd, type, count);
	else
		return 2;
	return 0;
}
