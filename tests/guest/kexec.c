/* Starts another kernel: kexec KERNEL INITRAMFS, with this kernel's command line. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char line[4096];

int main(int argc, char **argv)
{
	const int kernel = argc == 3 ? open(argv[1], O_RDONLY) : -1;
	const int initramfs = argc == 3 ? open(argv[2], O_RDONLY) : -1;
	const int now = open("/proc/cmdline", O_RDONLY);
	ssize_t length = read(now, line, sizeof(line) - 1);

	if (kernel < 0 || initramfs < 0 || length <= 0) {
		perror("kexec");
		return 2;
	}
	line[strcspn(line, "\n")] = 0;
	if (syscall(SYS_kexec_file_load, kernel, initramfs, strlen(line) + 1, line, 0)) {
		perror("kexec_file_load");
		return 1;
	}
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	perror("reboot");
	return 1;
}
