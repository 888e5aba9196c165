// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * System calls in every way that a program can make them. `calls getppid COUNT` makes so many on each core at once and prints how
 * many answers were wrong; `once` makes one, and prints what it answers and whether rcx and r11 are what they were; `six` makes one
 * with six arguments; `narrow COUNT` runs a 32-bit program that makes them by SYSCALL; `steps COUNT` steps over them, as a
 * debugger and by TF; `returns` tries SYSRET in ring 3. What is printed is the same on every machine that works.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define CORES_MAX 8
#define NARROW "/tmp/narrow"
#define NARROW_ADDRESS 0x10000

extern const char narrow_begin[], narrow_end[], stepped_call[], behind_call[], tf_call[], behind_tf_call[];
extern uint32_t narrow_count;
static unsigned long count;
static pthread_barrier_t together;
static long wrong[CORES_MAX], traps, at_call, behind;
static sigjmp_buf back;

static long call(long number)
{
	long rax = number;

	asm volatile("syscall" : "+a"(rax) : : "rcx", "r11", "memory");
	return rax;
}

static void *getppids(void *argument)
{
	const uintptr_t core = (uintptr_t)argument;
	cpu_set_t set;
	long parent;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	sched_setaffinity(0, sizeof(set), &set);
	parent = getppid();
	pthread_barrier_wait(&together);
	for (unsigned long i = 0; i < count; i++)
		wrong[core] += call(SYS_getppid) != parent;
	return NULL;
}

static int getppid_everywhere(void)
{
	const unsigned int cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[CORES_MAX];
	long sum = 0;

	pthread_barrier_init(&together, NULL, cores);
	for (uintptr_t core = 0; core < cores; core++)
		if (pthread_create(&threads[core], NULL, getppids, (void *)core))
			return 2;
	for (unsigned int core = 0; core < cores; core++) {
		pthread_join(threads[core], NULL);
		sum += wrong[core];
	}
	printf("%u cores, %ld wrong\n", cores, sum);
	return 0;
}

static int once(void)
{
	const long parent = getppid();
	register long rcx asm("rcx") = 0x1111;
	register long r11 asm("r11") = 0x2222;
	long rax = SYS_getppid;
	int kept;

	asm volatile("syscall" : "+a"(rax), "+r"(rcx), "+r"(r11) : : "memory");
	kept = rcx == 0x1111 && r11 == 0x2222;
	if (rax == parent)
		printf("the parent");
	else
		printf("%lx", rax);
	printf(", rcx and r11 %s\n", kept ? "kept" : "used");
	return 0;
}

static int six(void)
{
	/* No system call has this number. */
	errno = 0;
	syscall(0x7ff, 0x11L, 0x22L, 0x33L, 0x44L, 0x55L, 0x66L);
	printf("%s\n", strerrorname_np(errno));
	return 0;
}

/*
 * A 32-bit program: finds the kernel's page for system calls, and asks it so often for the parent. Exits with 0 if each
 * answer is that of int 0x80.
 */
asm(".pushsection .data\n.code32\n.globl narrow_begin, narrow_end, narrow_count\n"
    "narrow_begin:\n"
    "	movl (%esp), %ecx\n	leal 8(%esp, %ecx, 4), %esi\n"
    "1:	movl (%esi), %eax\n	addl $4, %esi\n	testl %eax, %eax\n	jnz 1b\n"
    "2:	movl (%esi), %eax\n	movl 4(%esi), %edi\n	addl $8, %esi\n"
    "	cmpl $32, %eax\n	je 3f\n	testl %eax, %eax\n	jnz 2b\n	movl $3, %ebx\n	jmp 6f\n"
    "3:	movl $64, %eax\n	int $0x80\n	movl %eax, %esi\n	.byte 0xbb\nnarrow_count: .long 0\n"
    "4:	movl $64, %eax\n	call *%edi\n	cmpl %eax, %esi\n	jne 5f\n	decl %ebx\n	jnz 4b\n	jmp 6f\n"
    "5:	movl $1, %ebx\n"
    "6:	movl $1, %eax\n	int $0x80\n"
    "narrow_end:\n.code64\n.popsection\n");

static int narrow(void)
{
	const uint32_t bytes = narrow_end - narrow_begin, head = sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr);
	const Elf32_Ehdr file = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_386, .e_version = EV_CURRENT, .e_entry = NARROW_ADDRESS + head,
		.e_phoff = sizeof(Elf32_Ehdr), .e_ehsize = sizeof(Elf32_Ehdr), .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1,
	};
	const Elf32_Phdr part = {
		.p_type = PT_LOAD, .p_vaddr = NARROW_ADDRESS, .p_paddr = NARROW_ADDRESS, .p_filesz = head + bytes,
		.p_memsz = head + bytes, .p_flags = PF_R | PF_X, .p_align = 0x1000,
	};
	const int to = open(NARROW, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	narrow_count = count;
	if (write(to, &file, sizeof(file)) != sizeof(file) || write(to, &part, sizeof(part)) != sizeof(part) ||
	    write(to, narrow_begin, bytes) != bytes || close(to))
		return 2;
	execl(NARROW, NARROW, NULL);
	printf("%s\n", strerrorname_np(errno));
	return 2;
}

static void step_as_debugger(void)
{
	const pid_t child = fork();
	long steps = 0, calls = 0, misplaced = 0;
	int status;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		asm volatile("1:\tmov $110, %%eax\n.globl stepped_call\nstepped_call:\tsyscall\n"
			     ".globl behind_call\nbehind_call:\tdec %0\n\tjnz 1b\n\tint3"
			     : "+r"(count) : : "rax", "rcx", "r11", "memory", "cc");
		_exit(0);
	}
	waitpid(child, &status, 0);
	for (;;) {
		struct user_regs_struct registers;
		int was_call;

		ptrace(PTRACE_GETREGS, child, NULL, &registers);
		was_call = (const char *)registers.rip == stepped_call;
		if ((ptrace(PTRACE_PEEKTEXT, child, registers.rip, NULL) & 0xff) == 0xcc)
			break;
		ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
		if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
			break;
		ptrace(PTRACE_GETREGS, child, NULL, &registers);
		steps++;
		calls += was_call;
		misplaced += was_call && ((const char *)registers.rip != behind_call || (pid_t)registers.rax != getpid());
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	printf("debugger: %ld steps, %ld over calls, %ld misplaced\n", steps, calls, misplaced);
}

static void on_step(int number, siginfo_t *info, void *context)
{
	const char *rip = (const char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	(void)number;
	(void)info;
	traps++;
	at_call += rip == tf_call;
	behind += rip == behind_tf_call;
}

static void step_by_flag(void)
{
	struct sigaction action = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };
	unsigned long turns = count;

	sigaction(SIGTRAP, &action, NULL);
	asm volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n"
		     "1:\tmov $110, %%eax\n.globl tf_call\ntf_call:\tsyscall\n.globl behind_tf_call\nbehind_tf_call:\tnop\n\tdec %0\n\tjnz 1b\n"
		     "\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n"
		     : "+r"(turns) : : "rax", "rcx", "r11", "memory", "cc");
	printf("flag: %ld traps, %ld at calls, %ld behind\n", traps, at_call, behind);
}

static void on_signal(int number)
{
	siglongjmp(back, number);
}

static int returns(void)
{
	int number;

	signal(SIGSEGV, on_signal);
	signal(SIGILL, on_signal);
	number = sigsetjmp(back, 1);
	if (!number)
		asm volatile("sysretq" : : : "rcx", "r11", "memory");
	printf("signal %d\n", number);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3)
		count = strtoul(argv[2], NULL, 10);
	if (argc == 3 && !strcmp(argv[1], "getppid"))
		return getppid_everywhere();
	if (argc == 3 && !strcmp(argv[1], "narrow"))
		return narrow();
	if (argc == 3 && !strcmp(argv[1], "steps")) {
		step_as_debugger();
		step_by_flag();
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "once"))
		return once();
	if (argc == 2 && !strcmp(argv[1], "six"))
		return six();
	if (argc == 2 && !strcmp(argv[1], "returns"))
		return returns();
	return 2;
}
