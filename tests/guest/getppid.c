/* Nanoseconds for each of COUNT calls of getppid(), the cheapest way into the kernel and back; or of the one of another NUMBER. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv)
{
	const long count = argc > 1 ? atol(argv[1]) : 1000000;
	const long number = argc > 2 ? atol(argv[2]) : SYS_getppid;
	const double begun = now();

	for (long i = 0; i < count; i++)
		syscall(number);
	printf("%.3f\n", (now() - begun) / count);
	return 0;
}
