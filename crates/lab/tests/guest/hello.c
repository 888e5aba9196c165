/* A program of one file, as the end-to-end tests bring them into the guest. */
#include "hyperkd.h"
#include <stdio.h>

int main(void)
{
	printf("protocol %llu\n", HYPERKD_PROTOCOL);
	return 0;
}
