/* One line: CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME in milliseconds. With a number: sleeps so many milliseconds first. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long long now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000ll + time.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	const long milliseconds = argc > 1 ? atol(argv[1]) : 0;
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	nanosleep(&time, NULL);
	printf("%lld %lld %lld\n", now(CLOCK_MONOTONIC), now(CLOCK_REALTIME), now(CLOCK_BOOTTIME));
	return 0;
}
