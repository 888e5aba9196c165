// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * A program whose memory is monitored. `watched COUNT` prints its number, the address of a word and that of a function, waits for
 * SIGUSR1, and then, on each core at once, COUNT times: stores to the word and its neighbour, and calls the function, which asks for
 * the process' number by SYSCALL. It prints how often that was another, and
 * ends with the next SIGUSR1.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CORES_MAX 8

static unsigned long count;
static volatile uint64_t *word;
static unsigned long wrong[CORES_MAX];

asm(".pushsection .text\n.balign 4096\n.globl who\nwho:\n\tmovl $39, %eax\n\tsyscall\n\tret\n.balign 4096\n.popsection\n");
extern long who(void);

static void *run(void *argument)
{
	const uintptr_t core = (uintptr_t)argument;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		exit(2);
	for (unsigned long i = 0; i < count; i++) {
		long pid;

		word[0] = i;
		word[1] = i;
		asm volatile("call who" : "=a"(pid) : : "rcx", "r11", "memory", "cc");
		wrong[core] += pid != getpid();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const long cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[CORES_MAX];
	unsigned long sum = 0;
	sigset_t start;
	int number;

	sigemptyset(&start);
	sigaddset(&start, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &start, NULL))
		return 2;
	count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
	word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (word == MAP_FAILED || mlockall(MCL_CURRENT))
		return 2;
	word[0] = who();
	printf("%x %lx %lx\n", getpid(), (unsigned long)word, (unsigned long)who);
	fflush(stdout);
	if (sigwait(&start, &number))
		return 2;
	for (long core = 0; core < cores; core++)
		if (pthread_create(&threads[core], NULL, run, (void *)core))
			return 2;
	for (long core = 0; core < cores; core++) {
		pthread_join(threads[core], NULL);
		sum += wrong[core];
	}
	printf("%lu wrong\n", sum);
	fflush(stdout);
	/* With the program go its monitors. */
	return sigwait(&start, &number) ? 2 : 0;
}
