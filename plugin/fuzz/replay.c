/* `replay FILE...`: each file through the target once, where there is no libFuzzer. */
#include "fuzz.h"

int main(int count, char **arguments)
{
	for (int i = 1; i < count; i++) {
		FILE *file = fopen(arguments[i], "rb");
		if (!file || fseek(file, 0, SEEK_END) != 0) {
			perror(arguments[i]);
			return 2;
		}
		size_t size = (size_t)ftell(file);
		uint8_t *data = malloc(size ? size : 1);
		rewind(file);
		REQUIRE(fread(data, 1, size, file) == size);
		(void)fclose(file);
		(void)LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	printf("%s: %d inputs\n", arguments[0], count - 1);
	return count > 1 ? 0 : 2;
}
