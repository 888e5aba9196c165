// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * Exceptions that a program causes, counted and located. `faults undefined|divide|breakpoint|general COUNT` raises so many on each
 * core at once, steps over each in its signal handler, and prints how many signals came; `touch PAGES` touches so many pages that
 * are not there yet, from 0x100000000000 on; `null` reads by a pointer that is null; `where` raises one of each kind and prints
 * what the kernel says about it, which is the same on every machine that works.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define CORES_MAX 8
#define PAGES ((char *)0x100000000000)

extern const char undefined_here[], divide_here[], general_here[], overflow_begin[], overflow_end[];
static unsigned long count;
static pthread_barrier_t together;
static void (*raise_one)(void);
static __thread unsigned long signals;
static sigjmp_buf back;

static void undefined(void)
{
	asm volatile("ud2" : : : "memory");
}

static void divide(void)
{
	/* idivl of two bytes by zero */
	asm volatile(".byte 0xf7, 0xf9" : : "a"(1), "d"(0), "c"(0) : "memory", "cc");
}

static void breakpoint(void)
{
	asm volatile("int3" : : : "memory");
}

static void general(void)
{
	asm volatile("hlt; nop" : : : "memory");
}

/* Goes on behind an instruction of two bytes; a trap stands behind its own already. */
static void step_over(int number, siginfo_t *info, void *context)
{
	(void)info;
	signals++;
	if (number != SIGTRAP)
		((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void handle(void (*handler)(int, siginfo_t *, void *))
{
	const int numbers[] = { SIGILL, SIGFPE, SIGTRAP, SIGSEGV, SIGBUS };
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	static char room[1 << 16];
	const stack_t stack = { .ss_sp = room, .ss_size = sizeof(room) };

	/* The stack of 32-bit code is none for a handler. Threads, which do not run any, have their own. */
	sigaltstack(&stack, NULL);
	for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
}

static void *raises(void *argument)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((uintptr_t)argument, &set);
	sched_setaffinity(0, sizeof(set), &set);
	pthread_barrier_wait(&together);
	for (unsigned long i = 0; i < count; i++)
		raise_one();
	return (void *)signals;
}

static int everywhere(void)
{
	const unsigned int cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[CORES_MAX];
	unsigned long sum = 0;
	void *came;

	handle(step_over);
	pthread_barrier_init(&together, NULL, cores);
	for (uintptr_t core = 0; core < cores; core++)
		if (pthread_create(&threads[core], NULL, raises, (void *)core))
			return 2;
	for (unsigned int core = 0; core < cores; core++) {
		pthread_join(threads[core], &came);
		sum += (unsigned long)came;
	}
	printf("%u cores, %lu signals\n", cores, sum);
	return 0;
}

static int touch(void)
{
	const size_t bytes = count * 4096;
	char *pages = mmap(PAGES, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (pages != PAGES || madvise(pages, bytes, MADV_NOHUGEPAGE))
		return 2;
	for (size_t at = 0; at < bytes; at += 4096)
		pages[at] = 1;
	printf("touched\n");
	return 0;
}

static void tell(int number, siginfo_t *info, void *context)
{
	const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	printf("signal %d code %d at %llx, trap %llx error %llx, rip ...%03llx", number, info->si_code,
	       number == SIGSEGV ? (long long)info->si_addr : 0, registers[REG_TRAPNO], registers[REG_ERR],
	       registers[REG_RIP] & 0xfff);
	siglongjmp(back, 1);
}

/* 32-bit code: INTO behind an addition that overflows. */
asm(".pushsection .data\n.code32\n.globl overflow_begin, overflow_end\n"
    "overflow_begin:\n	movl $0x7fffffff, %eax\n	addl $1, %eax\n	into\n	ud2\noverflow_end:\n"
    ".code64\n.popsection\n");

static void overflow(void)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	const struct { uint32_t address; uint16_t selector; } to = { (uintptr_t)low, 0x23 };

	memcpy(low, overflow_begin, overflow_end - overflow_begin);
	asm volatile("ljmp *%0" : : "m"(to) : "rax", "cc", "memory");
}

static void read_nothing(void)
{
	*(volatile char *)0x123456789abc;
}

static void write_nothing(void)
{
	*(volatile char *)0x123456789def = 1;
}

static void run_nothing(void)
{
	((void (*)(void))0x123456789000)();
}

static void read_beyond(void)
{
	*(volatile char *)0x8000000000000000;
}

static int where(void)
{
	void (*const all[])(void) = { undefined, divide, breakpoint, general, overflow, read_nothing, write_nothing, run_nothing,
				      read_beyond };
	ssize_t written;

	handle(tell);
	for (volatile unsigned int i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!sigsetjmp(back, 1))
			all[i]();
		printf("\n");
	}
	written = write(1, (void *)0x123456789abc, 1);
	printf("the kernel's own: %zd, %s\n", written, strerrorname_np(errno));
	return 0;
}

/* The second field of a structure that is not there. */
static int null(void)
{
	handle(tell);
	if (!sigsetjmp(back, 1))
		asm volatile("xorl %%eax, %%eax; movq 8(%%rax), %%rax" : : : "rax", "cc", "memory");
	printf("\n");
	return 0;
}

int main(int argc, char **argv)
{
	const struct { const char *name; void (*raise)(void); } kinds[] = {
		{ "undefined", undefined }, { "divide", divide }, { "breakpoint", breakpoint }, { "general", general },
	};

	if (argc == 2 && !strcmp(argv[1], "where"))
		return where();
	if (argc == 2 && !strcmp(argv[1], "null"))
		return null();
	if (argc != 3)
		return 2;
	count = strtoul(argv[2], NULL, 10);
	if (!strcmp(argv[1], "touch"))
		return touch();
	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(argv[1], kinds[i].name)) {
			raise_one = kinds[i].raise;
			return everywhere();
		}
	return 2;
}
