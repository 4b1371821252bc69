"""Certificate request (PKCS#10, RFC 2986) for a signing key, signed through the `Signer`: the key may be in a token."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.device_key import der_signature
from sigillo.device.signer import Signer

_SEQUENCE, _BIT_STRING = 0x30, 0x03
_VERSION_1 = b"\x02\x01\x00"
_NO_ATTRIBUTES = b"\xa0\x00"
_ALGORITHMS = {
    "p256": bytes.fromhex("300a06082a8648ce3d040302"),  # ecdsa-with-SHA256, RFC 5758 section 3.2
    "ed25519": bytes.fromhex("300506032b6570"),  # RFC 8410 section 3
}


def signing_request(signer: Signer, device_id: str) -> bytes:
    """The request (PEM) for a certificate of the signer's key; its subject is CN = *device_id*."""
    key = signer.public_key
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device_id)]).public_bytes()
    information = _der(_SEQUENCE, _VERSION_1 + subject + key.spki + _NO_ATTRIBUTES)
    signature = signer.sign(information)
    if key.kind == "p256":
        signature = der_signature(signature)
    request = _der(_SEQUENCE, information + _ALGORITHMS[key.kind] + _der(_BIT_STRING, b"\0" + signature))
    return x509.load_der_x509_csr(request).public_bytes(Encoding.PEM)


def _der(tag: int, content: bytes) -> bytes:
    """One DER item (X.690 section 8.1)."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content
