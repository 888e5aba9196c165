// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * A program of many threads, and one of one, to be held.
 *
 * `threads many COUNT SECONDS`: so many threads add up numbers, one of a hundred always, the others once a second, until so long after they are all there
 * (SIGUSR1 ends it before); then each has a sum that it can check, the program looks at its own code and at what traces it, and prints what
 * it lost: the longest time for which its first thread did not run.
 * `threads churn COUNT`: that many threads, one after the other, a few at a time.
 * `threads steps ROUNDS`: what is delicate for who steps, and a sum of it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK (64 << 10)
#define TF 0x100ul

static atomic_int ready, stop, wrong;
static atomic_ulong ended;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void on_stop(int number)
{
	(void)number;
	stop = 1;
}

/* Adds 1 to 1000 again and again; each sum is checked. */
static void *add(void *nth)
{
	volatile unsigned long sum;
	unsigned long i, sleeps = (uintptr_t)nth % 100;
	struct sched_param none = { 0 };

	/* Those that never sleep leave the others their turn. */
	if (!sleeps)
		pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
	ready++;
	while (!stop) {
		for (sum = 0, i = 1; i <= 1000; i++)
			sum += i;
		if (sum != 500500)
			wrong++;
		if (sleeps)
			usleep(1000000);
	}
	ended++;
	return NULL;
}

/* The program's own code, as it stands in its file, and as it reads it: a checksum of it. */
static unsigned long code_sum(int *breakpoints)
{
	const unsigned char *code = (const unsigned char *)add, *end = (const unsigned char *)code_sum;
	unsigned long sum = 0;

	*breakpoints = 0;
	for (; code < end; code++) {
		sum = sum * 31 + *code;
		*breakpoints += *code == 0xcc;
	}
	return sum;
}

static void print_tracer(void)
{
	char line[128];
	FILE *status = fopen("/proc/self/status", "r");

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, "TracerPid", 9))
			fputs(line, stdout);
	if (status)
		fclose(status);
}

static int many(int count, double seconds)
{
	pthread_attr_t attributes;
	pthread_t *threads = calloc(count, sizeof(*threads));
	int i, made, before, after;
	unsigned long code = code_sum(&before);
	double end, last, lost = 0;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	signal(SIGUSR1, on_stop);
	for (made = 0; made < count - 1; made++)
		if (pthread_create(&threads[made], &attributes, add, (void *)(uintptr_t)made))
			break;
	while (ready < made)
		usleep(1000);
	printf("%d threads\n", made + 1);
	fflush(stdout);
	end = now() + seconds;
	for (last = now(); !stop && last < end; ) {
		double then = last;

		usleep(1000);
		last = now();
		if (last - then > lost)
			lost = last - then;
	}
	stop = 1;
	for (i = 0; i < made; i++)
		pthread_join(threads[i], NULL);
	printf("%lu ended, %d wrong, lost %.3f s, code %s, %d breakpoints more\n", (unsigned long)ended, wrong, lost,
	       code == code_sum(&after) ? "same" : "changed", after - before);
	print_tracer();
	return made != count - 1;
}

static void *nothing(void *unused)
{
	(void)unused;
	ended++;
	return NULL;
}

static int churn(int count)
{
	pthread_attr_t attributes;
	pthread_t threads[8];
	int i, at, failed = 0;
	double begun = now();

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	puts("begins");
	fflush(stdout);
	for (i = 0; i < count; i += 8) {
		for (at = 0; at < 8; at++)
			failed += !!pthread_create(&threads[at], &attributes, nothing, NULL);
		for (at = 0; at < 8; at++)
			pthread_join(threads[at], NULL);
	}
	printf("%lu ended, %d failed, in %.1f s\n", (unsigned long)ended, failed, now() - begun);
	return failed;
}

static volatile unsigned long flags_seen, signals;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	signals++;
	flags_seen |= ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] & TF;
}

static void on_undefined(int number, siginfo_t *info, void *context)
{
	on_signal(number, info, context);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static unsigned long steps_sum(void)
{
	static unsigned char from[300], to[300];
	unsigned long flags, rcx = 100, sum = 0, eleven;
	unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *rsi = from, *rdi = to;
	long result;

	asm volatile("lea -128(%%rsp), %%rsp; pushf; pop %0; lea 128(%%rsp), %%rsp" : "=r"(flags) : : "memory");
	flags_seen |= flags & TF;
	asm volatile("lea -128(%%rsp), %%rsp; pushf; popf; lea 128(%%rsp), %%rsp" : : : "memory", "cc");
	asm volatile("mov %%ss, %%ax; mov %%ax, %%ss; nop" : : : "rax");
	memset(from, 7, sizeof(from));
	asm volatile("rep movsb" : "+c"(rcx), "+S"(rsi), "+D"(rdi) : : "memory");
	/* A page fault, a system call, what it leaves in r11, a signal for an undefined instruction, and one that is sent. */
	page[8] = 5;
	asm volatile("syscall\n\tmov %%r11, %1" : "=a"(result), "=r"(eleven) : "0"((long)SYS_getppid) : "rcx", "r11", "memory");
	flags_seen |= eleven & TF;
	asm volatile("ud2");
	raise(SIGUSR2);
	asm volatile("int $0x80" : "=a"(result) : "0"(20L) : "memory", "r8", "r9", "r10", "r11");
	sum = page[8] + to[99] + rcx;
	munmap(page, 4096);
	return sum;
}

static int steps(int rounds)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	unsigned long sum = 0;
	int i;

	sigaction(SIGUSR2, &action, NULL);
	action.sa_sigaction = on_undefined;
	sigaction(SIGILL, &action, NULL);
	puts("begins");
	fflush(stdout);
	for (i = 0; i < rounds; i++)
		sum += steps_sum();
	printf("%d rounds: sum %lu, %lu signals, trap flag %s\n", rounds, sum, signals, flags_seen ? "seen" : "never seen");
	return 0;
}

int main(int count, char **words)
{
	if (count == 4 && !strcmp(words[1], "many"))
		return many(atoi(words[2]), atof(words[3]));
	if (count == 3 && !strcmp(words[1], "churn"))
		return churn(atoi(words[2]));
	if (count == 3 && !strcmp(words[1], "steps"))
		return steps(atoi(words[2]));
	return 2;
}
