/* Has KVM make a machine, says so by /run/kvm_machine, and keeps it until killed. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	const int kvm = open("/dev/kvm", O_RDWR);

	if (kvm < 0 || ioctl(kvm, KVM_CREATE_VM, 0) < 0) {
		perror("/dev/kvm");
		return 1;
	}
	close(open("/run/kvm_machine", O_CREAT | O_WRONLY, 0600));
	pause();
	return 0;
}
