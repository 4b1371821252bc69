/* The epoch's secrets: one page that is locked, not dumped, gone after a fork, and wiped at the end. */
#ifndef SIGILLO_SECRET_H
#define SIGILLO_SECRET_H

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct secret {
	uint64_t alive; /* zero in a forked child, whose page the kernel wiped */
	uint8_t signing_key[crypto_sign_SECRETKEYBYTES];
	uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
	uint8_t token_key[crypto_sign_SECRETKEYBYTES]; /* seed and public key of the raw tokens; zero where there are none */
	uint8_t salt_key[32];
	crypto_auth_hmacsha256_state salt_state; /* keyed once, copied per mark */
};

/* A page with room for a struct secret, all zero; NULL with errno where the kernel cannot protect it. */
struct secret *secret_new(void);
/* Fill it: the key pair from a seed, both halves of the salt. */
void secret_fill(struct secret *secret, const uint8_t seed[crypto_sign_SEEDBYTES], const uint8_t salt_key[32]);
/* The key pair of the raw tokens. */
void secret_fill_token(struct secret *secret, const uint8_t seed[crypto_sign_SEEDBYTES]);
bool secret_has_token(const struct secret *secret);
/* Its public half. */
const uint8_t *secret_token_public(const struct secret *secret);
bool secret_alive(const struct secret *secret);
void secret_free(struct secret *secret);
/* First 16 bytes of HMAC-SHA-256(K, u64 sequence): spec/mark.md. */
void secret_salt(const struct secret *secret, uint64_t sequence, uint8_t salt[16]);

#endif
