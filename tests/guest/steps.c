// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * What single steps must not change: `steps CORE ROUNDS` does on that core, between CPUID of two leaves that nobody else asks for,
 * what is delicate for who steps (system calls, page faults, signals, flags on the stack, string instructions, MOV SS, steps of its
 * own), and prints what came of it, which is the same whether it was stepped or not.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define BEGIN 0x48575301u
#define END 0x48575302u
#define TF 0x100ul

static volatile unsigned long traps, undefined, flags_seen, backwards, wrong;
static unsigned long sum;

static void on_trap(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	(void)context;
	traps++;
}

static void on_undefined(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	undefined++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigaction(number, &action, NULL);
}

static void mark(uint32_t leaf)
{
	asm volatile("cpuid" : "+a"(leaf) : : "rbx", "rcx", "rdx", "memory");
}

static unsigned long flags(void)
{
	unsigned long value;

	asm volatile("lea -128(%%rsp), %%rsp; pushf; pop %0; lea 128(%%rsp), %%rsp" : "=r"(value) : : "memory");
	return value;
}

/* The first instructions behind the mark are known to who steps: tests/e2e/steps.rs counts their bytes. */
static void begin(char *page)
{
	long parent;

	wrong += madvise(page, 4096, MADV_DONTNEED) != 0;

	asm volatile("lea -128(%%rsp), %%rsp\n"
		     "movl %1, %%eax\n"
		     "cpuid\n"			/* 0f a2 */
		     "pushf\n"			/* 9c */
		     "popf\n"			/* 9d */
		     "movl %%ss, %%ecx\n"	/* 8c d1 */
		     "movl %%ecx, %%ss\n"	/* 8e d1 */
		     "nop\n"			/* 90 */
		     "movl $110, %%eax\n"	/* b8 .. */
		     "syscall\n"		/* 0f 05 */
		     "nop\n"			/* 90 */
		     "movb $1, (%%rdi)\n"	/* c6 07 01, of a page that is not there */
		     "int3\n"			/* cc */
		     "nop\n"
		     "lea 128(%%rsp), %%rsp\n"
		     : "=&a"(parent) : "i"(BEGIN), "D"(page) : "rbx", "rcx", "rdx", "r11", "memory", "cc");
	wrong += parent != getppid();
}

static void add(unsigned long value)
{
	sum = sum * 31 + value;
}

static uint64_t now(void)
{
	uint32_t low, high;

	asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static void one_round(char *page)
{
	static char from[100], to[100];
	const uint64_t before = now();
	unsigned long old, value = sizeof(from);
	char *in = from, *out = to;

	wrong += syscall(SYS_getppid) != getppid();
	/* A page that is not there. */
	wrong += madvise(page, 4096, MADV_DONTNEED) != 0;
	*(volatile char *)page = 1;
	add(page[0] + page[4095]);
	memset(from, (int)sum, sizeof(from));
	asm volatile("rep movsb" : "+S"(in), "+D"(out), "+c"(value) : : "memory");
	add(to[99] + value);
	old = flags();
	flags_seen |= old;
	/* Carry and direction, and back. */
	asm volatile("lea -128(%%rsp), %%rsp; push %1; popf; pushf; pop %0; push %2; popf; lea 128(%%rsp), %%rsp"
		     : "=&r"(value) : "r"(old | 0x401), "r"(old & ~0x401ul) : "memory", "cc");
	add(value & 0x401);
	asm volatile("int3" : : : "memory");
	asm volatile("ud2" : : : "memory");
	asm volatile("int $0x80" : "=a"(value) : "0"(20) : "memory", "r8", "r9", "r10", "r11");
	wrong += value != (unsigned long)getpid();
	/* A step of its own. */
	asm volatile("lea -128(%%rsp), %%rsp; pushf; orl $0x100, (%%rsp); popf; nop; nop; pushf; andl $~0x100, (%%rsp); popf; "
		     "lea 128(%%rsp), %%rsp" : : : "memory", "cc");
	backwards += now() < before;
}

int main(int argc, char **argv)
{
	const unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(argc > 1 ? atoi(argv[1]) : 0, &set);
	if (page == MAP_FAILED || sched_setaffinity(0, sizeof(set), &set))
		return 2;
	handle(SIGTRAP, on_trap);
	handle(SIGILL, on_undefined);
	begin(page);
	for (unsigned long round = 0; round < rounds; round++)
		one_round(page);
	mark(END);
	printf("%lu rounds, sum %lx, %lu traps, %lu undefined, trap flag %s, %lu wrong, %lu backwards\n", rounds, sum, traps, undefined,
	       flags_seen & TF ? "seen" : "never seen", wrong, backwards);
	return 0;
}
