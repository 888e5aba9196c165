// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * A process of two threads that sleep, known to the last register. `sleepers TEXT` has TEXT at 10000000, starts a thread that calls
 * itself `second`, loads its registers with numbers and sleeps in the kernel, prints `pid PID tid TID`, and waits to be killed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PLACE ((char *)0x10000000)

static int ready[2];

static void *second(void *nothing)
{
	const pid_t tid = (pid_t)syscall(SYS_gettid);

	(void)nothing;
	/* What is not printable must not reach a terminal. */
	prctl(PR_SET_NAME, "sec\x1bond");
	if (write(ready[1], &tid, sizeof(tid)) != sizeof(tid))
		return NULL;
	__asm__ volatile("movq $0x1212, %%r12\n"
			 "movq $0x1313, %%r13\n"
			 "movq $0xb0b0, %%rbx\n"
			 "1: movl $34, %%eax\n" /* pause */
			 "syscall\n"
			 "jmp 1b\n"
			 :
			 :
			 : "rax", "rbx", "rcx", "r11", "r12", "r13", "memory");
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	pid_t tid;
	char *place = mmap(PLACE, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (argc != 2 || place != PLACE || mlock(place, 4096) || pipe(ready))
		return 1;
	strncpy(place, argv[1], 64);
	if (pthread_create(&thread, NULL, second, NULL) || read(ready[0], &tid, sizeof(tid)) != sizeof(tid))
		return 1;
	printf("pid %d tid %d\n", getpid(), tid);
	fflush(stdout);
	pthread_join(thread, NULL);
	return 0;
}
