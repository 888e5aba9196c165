/*
 * Has Linux poll the UARTs that are named instead of waiting for their interrupts.
 *
 * The lab's channels to the guest fell silent now and then (QEMU 7.2, both cores idle, no interrupt pending anywhere), and
 * with them tests that had nothing to do with it. That a UART's edge was lost is not proven: the agent dropped parts of
 * requests then (see there), and this may be more than is needed. A port without an interrupt line is looked at by
 * a timer of Linux' 8250 driver (drivers/tty/serial/8250/8250_core.c, serial8250_timeout).
 */
#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		struct serial_struct port;
		int device = open(argv[i], O_RDWR | O_NOCTTY | O_NONBLOCK);

		if (device < 0 || ioctl(device, TIOCGSERIAL, &port)) {
			perror(argv[i]);
			failed = 1;
			continue;
		}
		port.irq = 0;
		if (ioctl(device, TIOCSSERIAL, &port)) {
			perror(argv[i]);
			failed = 1;
		}
		close(device);
	}
	return failed;
}
