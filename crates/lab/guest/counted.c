// SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0
/*
 * What Linux itself has to count with. `counted HOW ADDRESS GO` sets one thing at an address of the kernel's, has the module
 * `figures` do GO, and prints how often it counted:
 *
 *   ftrace   a kprobe by the function tracer, whose BPF program adds 1 to a word of an array
 *   jump     the same by a jump, which the kernel makes of a kprobe when it can
 *   int3     the same by a breakpoint
 *   watch    a breakpoint register that counts writes of 8 bytes
 *
 * A kprobe that is not of the kind that was asked for is an error: so a figure is of what it says. No library is used: bpf(2) and
 * perf_event_open(2) are called as they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GO "/sys/module/figures/parameters/go"
#define OPTIMIZATION "/proc/sys/debug/kprobes-optimization"
#define PROBES "/sys/kernel/debug/kprobes/list"
/* The kernel takes a tick or some to make a jump of a kprobe. */
#define LOOKS_MAX 1000
#define LINE_BYTES 256

static void need(int well, const char *what)
{
	if (well)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

static void write_to(const char *path, const char *text)
{
	const int file = open(path, O_WRONLY);

	need(file >= 0, path);
	need(write(file, text, strlen(text)) == (ssize_t)strlen(text), path);
	close(file);
}

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int array_of_one(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1 };
	const int map = bpf(BPF_MAP_CREATE, &attr);

	need(map >= 0, "BPF_MAP_CREATE");
	return map;
}

static uint64_t counted_in(int map)
{
	uint32_t key = 0;
	uint64_t value = 0;
	union bpf_attr attr = { .map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)&value };

	need(!bpf(BPF_MAP_LOOKUP_ELEM, &attr), "BPF_MAP_LOOKUP_ELEM");
	return value;
}

/* word = lookup(map, 0); if (word) lock *word += 1; return 0 */
static int program_that_counts(int map)
{
	const struct bpf_insn program[] = {
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = -4 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
		{ 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = 2 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = 1 },
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_1, .imm = BPF_ADD },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	char said[4096] = "";
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_KPROBE, .insns = (uintptr_t)program, .insn_cnt = sizeof(program) / sizeof(program[0]),
		.license = (uintptr_t)"GPL", .log_buf = (uintptr_t)said, .log_size = sizeof(said), .log_level = 1,
	};
	const int loaded = bpf(BPF_PROG_LOAD, &attr);

	if (loaded < 0)
		fputs(said, stderr);
	need(loaded >= 0, "BPF_PROG_LOAD");
	return loaded;
}

static int event(struct perf_event_attr *attr)
{
	int event;

	attr->size = sizeof(*attr);
	event = (int)syscall(SYS_perf_event_open, attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	need(event >= 0, "perf_event_open");
	return event;
}

static int kprobe_at(uint64_t address)
{
	struct perf_event_attr attr = { .kprobe_addr = address };
	FILE *type = fopen("/sys/bus/event_source/devices/kprobe/type", "r");

	need(type && fscanf(type, "%u", &attr.type) == 1, "the number of kprobes");
	fclose(type);
	return event(&attr);
}

/* What the kernel's list says of the kprobe at the address; nothing if it has none. */
static void listed(uint64_t address, char line[LINE_BYTES])
{
	FILE *list = fopen(PROBES, "r");
	char at[32];

	need(list != NULL, PROBES);
	snprintf(at, sizeof(at), "%016lx ", (unsigned long)address);
	while (fgets(line, LINE_BYTES, list))
		if (!strncmp(line, at, strlen(at)))
			break;
	if (strncmp(line, at, strlen(at)))
		line[0] = 0;
	fclose(list);
}

static int is(const char *line, const char *how)
{
	const int ftrace = !!strstr(line, "[FTRACE]"), jump = !!strstr(line, "[OPTIMIZED]");

	if (!line[0] || strstr(line, "[DISABLED]"))
		return 0;
	return !strcmp(how, "ftrace") ? ftrace : !strcmp(how, "jump") ? jump : !ftrace && !jump;
}

static uint64_t by_kprobe(const char *how, uint64_t address, const char *order)
{
	const struct timespec tick = { .tv_nsec = 10 * 1000 * 1000 };
	const int map = array_of_one(), program = program_that_counts(map);
	char line[LINE_BYTES] = "";
	int probe, looks = 0;

	if (access(PROBES, R_OK))
		need(!mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL), "debugfs");
	write_to(OPTIMIZATION, strcmp(how, "int3") ? "1" : "0");
	probe = kprobe_at(address);
	need(!ioctl(probe, PERF_EVENT_IOC_SET_BPF, program), "PERF_EVENT_IOC_SET_BPF");
	need(!ioctl(probe, PERF_EVENT_IOC_ENABLE, 0), "PERF_EVENT_IOC_ENABLE");
	for (listed(address, line); !is(line, how); listed(address, line)) {
		if (looks++ == LOOKS_MAX) {
			fprintf(stderr, "the kprobe is not by %s: %s\n", how, line);
			exit(2);
		}
		nanosleep(&tick, NULL);
	}
	write_to(GO, order);
	return counted_in(map);
}

static uint64_t by_register(uint64_t address, const char *order)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT, .bp_type = HW_BREAKPOINT_W, .bp_addr = address, .bp_len = 8 };
	const int watch = event(&attr);
	uint64_t count;

	write_to(GO, order);
	need(read(watch, &count, sizeof(count)) == sizeof(count), "the watchpoint's count");
	return count;
}

int main(int argc, char **argv)
{
	uint64_t address, count;

	if (argc != 4)
		return 2;
	address = strtoull(argv[2], NULL, 16);
	count = strcmp(argv[1], "watch") ? by_kprobe(argv[1], address, argv[3]) : by_register(address, argv[3]);
	printf("%lu\n", (unsigned long)count);
	return 0;
}
