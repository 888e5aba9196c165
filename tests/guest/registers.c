// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * What programs can do with control and debug registers. `registers tsc COUNT` on each core at once: forbids itself the time
 * stamp counter and allows it again, and prints how often RDTSC was refused and how often it was not. `registers
 * breakpoints` sets a breakpoint and a watch in the debug registers of a child and counts what the child stops at.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define CORES_MAX 8
#define ROUNDS 300

static unsigned long count;
static pthread_barrier_t together;
static unsigned long refused[CORES_MAX], read_it[CORES_MAX];
static _Thread_local sigjmp_buf back;
static volatile uint64_t watched;

static void on_signal(int number)
{
	siglongjmp(back, number);
}

static void *flips(void *argument)
{
	const uintptr_t core = (uintptr_t)argument;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("sched_setaffinity");
		exit(2);
	}
	pthread_barrier_wait(&together);
	for (volatile unsigned long i = 0; i < count; i++) {
		prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
		if (!sigsetjmp(back, 1)) {
			__rdtsc();
			read_it[core]++;
		} else {
			refused[core]++;
		}
		prctl(PR_SET_TSC, PR_TSC_ENABLE);
		if (!sigsetjmp(back, 1)) {
			__rdtsc();
			read_it[core]++;
		} else {
			refused[core]++;
		}
	}
	return NULL;
}

static int tsc(void)
{
	const unsigned int cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[CORES_MAX];

	signal(SIGSEGV, on_signal);
	pthread_barrier_init(&together, NULL, cores);
	for (uintptr_t core = 0; core < cores; core++)
		if (pthread_create(&threads[core], NULL, flips, (void *)core))
			return 2;
	for (unsigned int core = 0; core < cores; core++)
		pthread_join(threads[core], NULL);
	for (unsigned int core = 0; core < cores; core++)
		printf("%lu refused, %lu read\n", refused[core], read_it[core]);
	return 0;
}

static __attribute__((noinline)) void passed(void)
{
	asm volatile("" ::: "memory");
}

static int poke(pid_t child, int number, unsigned long value)
{
	return ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[number]), value) != 0;
}

static unsigned long peek(pid_t child, int number)
{
	errno = 0;
	return ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg[number]), NULL);
}

static int breakpoints(void)
{
	const pid_t child = fork();
	unsigned long at[4] = { 0 }, both = 0, other = 0;
	int status, stops = 0;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		for (int i = 0; i < ROUNDS; i++) {
			watched = i;
			passed();
		}
		_exit(0);
	}
	waitpid(child, &status, 0);
	/* DR1 at the function; DR2 at the variable, on writes, eight bytes; DR3 is armed and never met. */
	if (poke(child, 1, (uintptr_t)passed) || poke(child, 2, (uintptr_t)&watched) || poke(child, 3, 0x1000) ||
	    poke(child, 7, 1 << 2 | 1 << 4 | 1 << 6 | 0x9U << 24))
		printf("ptrace: %s\n", strerror(errno));
	printf("dr1 %d, dr2 %d, dr7 %lx\n", peek(child, 1) == (uintptr_t)passed, peek(child, 2) == (uintptr_t)&watched, peek(child, 7));
	ptrace(PTRACE_CONT, child, NULL, NULL);
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		const unsigned long dr6 = peek(child, 6) & 0xf;

		if (WSTOPSIG(status) != SIGTRAP || !dr6)
			other++;
		else if (dr6 & (dr6 - 1))
			both++;
		else
			at[__builtin_ctzl(dr6)]++;
		/* Half of the way the watch goes, then the breakpoint. */
		stops++;
		if (stops == ROUNDS)
			poke(child, 7, 1 << 2);
		if (stops == ROUNDS + ROUNDS / 4)
			poke(child, 7, 0);
		ptrace(PTRACE_CONT, child, NULL, NULL);
	}
	printf("%lu %lu %lu %lu, %lu both, %lu other\n", at[0], at[1], at[2], at[3], both, other);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "tsc")) {
		count = strtoul(argv[2], NULL, 10);
		return tsc();
	}
	if (argc == 2 && !strcmp(argv[1], "breakpoints"))
		return breakpoints();
	return 2;
}
