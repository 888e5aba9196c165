/*
 * Breakpoints and steps of a program of its own, counted and located; the output is the same on every machine that works.
 * Every line is a fact of the architecture: where RIP stands, how many steps a loop has, how often a watch is hit.
 * `traps no-watches` sets none in the debug registers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define ROUNDS 300

extern const char after_int3[], after_cd03[], loop_begin[], loop_end[];
static volatile long traps, misplaced, steps_in_loop;
static const char *expected;
static volatile uint64_t watched;

static void on_breakpoint(int number, siginfo_t *info, void *context)
{
	const char *rip = (const char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	(void)number;
	(void)info;
	traps++;
	misplaced += rip != expected;
}

static void on_step(int number, siginfo_t *info, void *context)
{
	const char *rip = (const char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	(void)number;
	(void)info;
	traps++;
	steps_in_loop += rip >= loop_begin && rip < loop_end;
}

static void handle(void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	traps = misplaced = steps_in_loop = 0;
	sigaction(SIGTRAP, &action, NULL);
}

static void breakpoints(void)
{
	handle(on_breakpoint);
	expected = after_int3;
	for (int i = 0; i < ROUNDS; i++)
		asm volatile("int3\n.globl after_int3\nafter_int3:" ::: "memory");
	printf("int3: %ld traps, %ld misplaced\n", traps, misplaced);
	handle(on_breakpoint);
	expected = after_cd03;
	for (int i = 0; i < ROUNDS; i++)
		asm volatile(".byte 0xcd, 0x03\n.globl after_cd03\nafter_cd03:" ::: "memory");
	printf("int 3: %ld traps, %ld misplaced\n", traps, misplaced);
}

static void old_system_calls(void)
{
	long same = 0, pid;

	for (int i = 0; i < ROUNDS; i++) {
		/* getpid of the 32-bit table */
		asm volatile("int $0x80" : "=a"(pid) : "0"(20) : "memory", "r8", "r9", "r10", "r11");
		same += pid == getpid();
	}
	printf("int 0x80: %ld of %d\n", same, ROUNDS);
}

static void single_steps(void)
{
	long turns = ROUNDS;

	handle(on_step);
	asm volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n"
		     ".globl loop_begin\nloop_begin:\n\tdecq %0\n\tnop\n\tjnz loop_begin\n.globl loop_end\nloop_end:\n\t"
		     "pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n"
		     : "+r"(turns) : : "cc", "memory");
	printf("steps: %ld, %ld of them in the loop\n", traps, steps_in_loop);
}

static void perf_breakpoint(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_W,
		.bp_addr = (uintptr_t)&watched,
		.bp_len = HW_BREAKPOINT_LEN_8,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};
	const int event = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	uint64_t count = 0;

	for (int i = 0; i < ROUNDS; i++)
		watched = i;
	if (event < 0 || read(event, &count, sizeof(count)) != sizeof(count))
		printf("perf: %s\n", strerror(errno));
	else
		printf("perf: %llu writes\n", (unsigned long long)count);
	close(event);
}

static void ptrace_watch(void)
{
	const pid_t child = fork();
	long hits = 0, other = 0;
	int status;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		for (int i = 0; i < ROUNDS; i++)
			watched = i;
		_exit(0);
	}
	waitpid(child, &status, 0);
	/* DR0 = the variable; DR7: local, on writes, eight bytes. */
	if (ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[0]), &watched) ||
	    ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[7]), 1 | 0x9 << 16))
		printf("ptrace: %s\n", strerror(errno));
	ptrace(PTRACE_CONT, child, NULL, NULL);
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		const long dr6 = ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg[6]), NULL);

		if (WSTOPSIG(status) == SIGTRAP && (dr6 & 0xf) == 1)
			hits++;
		else
			other++;
		ptrace(PTRACE_CONT, child, NULL, NULL);
	}
	printf("ptrace: %ld writes, %ld other stops\n", hits, other);
}

static void ptrace_steps(void)
{
	const pid_t child = fork();
	long steps = 0;
	int status;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		asm volatile("mov $300, %%ecx\n1:\tdec %%ecx\n\tjnz 1b\n\tint3" ::: "ecx", "cc");
		_exit(0);
	}
	waitpid(child, &status, 0);
	/* To the breakpoint, step by step: what libc does before is stepped over too, and is the same each time. */
	for (;;) {
		struct user_regs_struct registers;
		long code;

		ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
		if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
			break;
		ptrace(PTRACE_GETREGS, child, NULL, &registers);
		errno = 0;
		code = ptrace(PTRACE_PEEKTEXT, child, registers.rip, NULL);
		steps++;
		if (!errno && (code & 0xff) == 0xcc)
			break;
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	printf("steps of ptrace: %ld\n", steps);
}

int main(int argc, char **argv)
{
	const int watches = argc < 2 || strcmp(argv[1], "no-watches");

	breakpoints();
	old_system_calls();
	single_steps();
	if (watches) {
		perf_breakpoint();
		ptrace_watch();
	}
	ptrace_steps();
	return 0;
}
