/* The epoch's secrets (spec/epoch.md). A fork or a core file must not carry them: two holders of one epoch key could
 * sign two marks with one sequence number. Every protection is required: without one there is no epoch. */
#include "secret.h"

#include "bytes.h"
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096

_Static_assert(sizeof(struct secret) <= PAGE, "the secrets fit one page");

struct secret *secret_new(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return NULL;
	if (mlock(page, PAGE) != 0 || madvise(page, PAGE, MADV_DONTDUMP) != 0 || madvise(page, PAGE, MADV_WIPEONFORK) != 0) {
		(void)munmap(page, PAGE);
		return NULL;
	}
	return page;
}

void secret_fill(struct secret *secret, const uint8_t seed[crypto_sign_SEEDBYTES], const uint8_t salt_key[32])
{
	(void)crypto_sign_seed_keypair(secret->public_key, secret->signing_key, seed);
	memcpy(secret->salt_key, salt_key, sizeof secret->salt_key);
	(void)crypto_auth_hmacsha256_init(&secret->salt_state, secret->salt_key, sizeof secret->salt_key);
	secret->alive = 1;
}

void secret_fill_token(struct secret *secret, const uint8_t seed[crypto_sign_SEEDBYTES])
{
	uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
	(void)crypto_sign_seed_keypair(public_key, secret->token_key, seed);
}

bool secret_has_token(const struct secret *secret)
{
	return !sodium_is_zero(secret->token_key, sizeof secret->token_key);
}

const uint8_t *secret_token_public(const struct secret *secret)
{
	return secret->token_key + crypto_sign_SEEDBYTES;
}

bool secret_alive(const struct secret *secret)
{
	return secret && secret->alive == 1;
}

void secret_free(struct secret *secret)
{
	if (!secret)
		return;
	sodium_memzero(secret, PAGE);
	(void)munmap(secret, PAGE);
}

void secret_salt(const struct secret *secret, uint64_t sequence, uint8_t salt[16])
{
	uint8_t number[8], mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state = secret->salt_state;
	put_u64(number, sequence);
	(void)crypto_auth_hmacsha256_update(&state, number, sizeof number);
	(void)crypto_auth_hmacsha256_final(&state, mac);
	memcpy(salt, mac, 16);
	sodium_memzero(&state, sizeof state);
	sodium_memzero(mac, sizeof mac);
}
