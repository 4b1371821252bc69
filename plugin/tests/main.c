/* `unit VECTORS`: run every test of core/; a line each, the sum at the end, exit status 1 where one failed. */
#include "unit.h"

#include <sodium.h>
#include <stdio.h>

int main(int count, char **arguments)
{
	if (count != 2 || sodium_init() < 0) {
		(void)fprintf(stderr, "usage: unit VECTORS\n");
		return 2;
	}
	unit_vectors(arguments[1]);
	base64url_tests();
	cbor_tests();
	filter_tests();
	clock_tests();
	datagram_tests();
	principal_tests();
	repeat_tests();
	secret_tests();
	spool_tests();
	state_tests();
	vector_tests();
	return unit_end();
}
