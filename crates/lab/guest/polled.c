/*
 * Has Linux poll the UARTs that are named instead of waiting for their interrupts: QEMU 7.2 loses an edge now and then
 * below a hypervisor, and a port whose edge was lost is silent for ever. A port without an interrupt line is looked at by
 * a timer of Linux' 8250 driver (drivers/tty/serial/8250/8250_core.c, serial8250_timeout).
 *
 * Opening the port, as its settings can only be changed while it is open, tests its interrupt for a bug (8250_port.c,
 * serial8250_THRE_test), and on a slow host the emulated UART seems to have it. From then on another timer would run, which
 * sends and never receives (serial8250_backup_timeout). Probing the port anew, now that it has no interrupt that could be
 * tested, forgets the bug.
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
		if (ioctl(device, TIOCSSERIAL, &port) || ioctl(device, TIOCSERCONFIG)) {
			perror(argv[i]);
			failed = 1;
		}
		close(device);
	}
	return failed;
}
