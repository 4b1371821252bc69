"""Signs with a key that stays in a token: PKCS#11 v2.40 and later, by `python-pkcs11` (docs/adr/0009).

ECDSA P-256 by CKM_ECDSA over a SHA-256 digest that is made here, Ed25519 by CKM_EDDSA over the message. Nothing but
signatures and public keys crosses over. Imported only where a device has such a key: the package is an extra.

PKCS#11 logs in the process, not the session, and a library need not bear two callers at a time: so there is one session
per token and process, and one lock for all. A PIN is asked for once.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.types import SignMixin

from sigillo.core.device_key import DeviceKey, Kind
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.device.error import DeviceError
from sigillo.device.key import read_pem
from sigillo.device.pkcs11_uri import TokenUri
from sigillo.x509 import spki_of

PIN_VARIABLE = "SIGILLO_PKCS11_PIN"
_P256 = bytes.fromhex("06082a8648ce3d030107")  # prime256v1, as CKA_EC_PARAMS has it (RFC 5480 section 2.1.1.1)
_ED25519 = (bytes.fromhex("130c") + b"edwards25519", bytes.fromhex("06032b6570"))  # its name, or its OID (RFC 8410)
_PARAMETERS: dict[Kind, bytes] = {"p256": _P256, "ed25519": _ED25519[0]}
_KEY_TYPES: dict[Kind, KeyType] = {"p256": KeyType.EC, "ed25519": KeyType.EC_EDWARDS}
_MECHANISMS: dict[Kind, Mechanism] = {"p256": Mechanism.ECDSA, "ed25519": Mechanism.EDDSA}
_WRAPPED = {b"\x04\x41": 67, b"\x04\x20": 34}  # head of an OCTET STRING with a P-256 or Ed25519 point → whole length
_ID_BYTES = 16

_lock = threading.RLock()
_sessions: dict[tuple[str, str | None, str | None], pkcs11.Session] = {}


class TokenSigner:
    """A `Signer` whose private key is in a token, and cannot leave it."""

    def __init__(self, uri: TokenUri, private: SignMixin, public_key: DeviceKey) -> None:
        self._uri, self._private = uri, private
        self.public_key = public_key

    @classmethod
    def load(cls, uri: TokenUri) -> TokenSigner:
        """The one key that *uri* names. Raises DeviceError, also where that key could be taken out of the token."""
        with _session(uri) as session:
            private = _private_key(session, uri)
            if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
                raise DeviceError(
                    f"{uri.token_name}: the key {uri.key_name} can be read out of it (CKA_EXTRACTABLE, CKA_SENSITIVE); "
                    "let the token make a new one with --generate"
                )
            return cls(uri, private, _public_key(session, uri, private))

    @classmethod
    def generate(cls, uri: TokenUri, kind: Kind) -> TokenSigner:
        """Let the token make the key that *uri* names, for ever inside. Raises DeviceError, also where it exists."""
        with _session(uri) as session:
            if _found(session, uri, ObjectClass.PRIVATE_KEY) or _found(session, uri, ObjectClass.PUBLIC_KEY):
                raise DeviceError(
                    f"{uri.token_name}: has the key {uri.key_name} already, and keys are never overwritten; leave "
                    "--generate out to use it, or choose another name"
                )
            with session.token.open(rw=True) as writable:
                writable.generate_keypair(
                    _KEY_TYPES[kind],
                    id=uri.key_id or secrets.token_bytes(_ID_BYTES),
                    label=uri.label or "",
                    store=True,
                    capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
                    public_template={Attribute.EC_PARAMS: _PARAMETERS[kind]},
                    private_template={Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True},
                )
        return cls.load(uri)

    def sign(self, message: bytes) -> bytes:
        """64 bytes over *message*, as `Signer` says. Raises DeviceError, also where they do not verify."""
        kind = self.public_key.kind
        signed = hashlib.sha256(message).digest() if kind == "p256" else message
        with _session(self._uri):
            signature: bytes = self._private.sign(signed, mechanism=_MECHANISMS[kind])
        try:
            self.public_key.verify(signature, message)
        except SignatureError as error:
            raise DeviceError(
                f"{self._uri.token_name}: what the key {self._uri.key_name} signs does not verify under the public key "
                f"beside it ({error.reason})"
            ) from None
        return signature


@contextmanager
def _session(uri: TokenUri) -> Iterator[pkcs11.Session]:
    """The session with the token of *uri*, logged in, for one caller at a time. What fails inside is a DeviceError."""
    name = (str(uri.module), uri.token, uri.serial)
    with _lock:
        try:
            if name not in _sessions:
                _sessions[name] = _opened(_token(uri), uri)
            yield _sessions[name]
        except pkcs11.PKCS11Error as error:
            raise DeviceError(f"{uri.token_name}: {_meaning(error)}") from None


def _opened(token: pkcs11.Token, uri: TokenUri) -> pkcs11.Session:
    try:
        return token.open(user_pin=_pin(uri))
    except pkcs11.UserAlreadyLoggedIn:  # by a URI that names the same token otherwise
        return token.open()


def _token(uri: TokenUri) -> pkcs11.Token:
    if not uri.module.is_file():
        raise DeviceError(f"{uri.module}: no such PKCS#11 library; correct module-path in the URI, or install it")
    try:
        library = pkcs11.lib(str(uri.module))
    except pkcs11.PKCS11Error as error:
        reason = str(error) or type(error).__name__
        raise DeviceError(f"{uri.module}: is not a PKCS#11 library that can be used ({reason})") from None
    serial = None if uri.serial is None else uri.serial.encode()
    tokens = list(library.get_tokens(token_label=uri.token, token_serial=serial))
    if len(tokens) > 1:
        raise DeviceError(f"{uri.token_name}: {len(tokens)} tokens are called that; add serial=… to the URI")
    if not tokens:
        names = ", ".join(repr(token.label) for token in library.get_tokens() if token.label) or "none"
        raise DeviceError(f"{uri.token_name}: is not there; tokens that {uri.module} sees: {names}")
    return tokens[0]


def _pin(uri: TokenUri) -> str:
    """The PIN: from the URI's file, else the environment, else asked for on the terminal."""
    if uri.pin_file is not None:
        content = read_pem(uri.pin_file)
        if stat.S_IMODE(uri.pin_file.stat().st_mode) & 0o077:
            raise DeviceError(f"{uri.pin_file}: others than its owner may read this PIN; run `chmod 600` on it")
        try:
            return content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise DeviceError(f"{uri.pin_file}: is not text; it must hold the PIN and nothing else") from None
    if (pin := os.environ.get(PIN_VARIABLE)) is not None:
        return pin
    if sys.stdin.isatty():
        try:
            return getpass.getpass(f"PIN of {uri.token_name}: ")
        except EOFError:
            raise DeviceError(f"{uri.token_name}: no PIN was typed") from None
    raise DeviceError(
        f"{uri.token_name}: needs its PIN: add pin-source=file:/PATH to the URI, or set {PIN_VARIABLE}, or run this on "
        "a terminal"
    )


def _meaning(error: pkcs11.PKCS11Error) -> str:
    """What an error of the token means for whoever holds it."""
    if isinstance(error, pkcs11.PinIncorrect | pkcs11.PinLenRange | pkcs11.PinInvalid):
        return "the PIN is wrong; tokens lock themselves after a few wrong ones"
    if isinstance(error, pkcs11.PinLocked):
        return "is locked after too many wrong PINs; unlock it with its maker's tool"
    if isinstance(error, pkcs11.MechanismInvalid):
        return "cannot make or use a key of this kind (mechanism refused); try --key p256"
    detail = f": {error}" if str(error) else ""
    return f"refused ({type(error).__name__}{detail})"


def _found(session: pkcs11.Session, uri: TokenUri, object_class: ObjectClass) -> list[pkcs11.Object]:
    wanted: dict[Attribute, Any] = {Attribute.CLASS: object_class}
    wanted |= {} if uri.label is None else {Attribute.LABEL: uri.label}
    wanted |= {} if uri.key_id is None else {Attribute.ID: uri.key_id}
    return list(session.get_objects(wanted))


def _private_key(session: pkcs11.Session, uri: TokenUri) -> SignMixin:
    found = _found(session, uri, ObjectClass.PRIVATE_KEY)
    if not found:
        raise DeviceError(f"{uri.token_name}: has no private key {uri.key_name}; --generate makes one there")
    if len(found) > 1:
        raise DeviceError(f"{uri.token_name}: {len(found)} private keys are {uri.key_name}; say which with id=…")
    if not isinstance(found[0], SignMixin):
        raise DeviceError(f"{uri.token_name}: the key {uri.key_name} may not sign (CKA_SIGN); name another")
    return found[0]


def _public_key(session: pkcs11.Session, uri: TokenUri, private: SignMixin) -> DeviceKey:
    """The public key that the token keeps under the same id as *private*."""
    if private.key_type not in (KeyType.EC, KeyType.EC_EDWARDS):
        raise DeviceError(f"{uri.token_name}: the key {uri.key_name} is neither a P-256 nor an Ed25519 key")
    wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: private[Attribute.ID]}
    found = list(session.get_objects(wanted))
    if len(found) != 1:
        raise DeviceError(
            f"{uri.token_name}: has {len(found)} public keys with the id of {uri.key_name}; there must be one, which "
            "says what the private key's signatures verify under"
        )
    parameters, point = found[0][Attribute.EC_PARAMS], _point(found[0][Attribute.EC_POINT])
    try:
        if private.key_type is KeyType.EC and parameters == _P256:
            return DeviceKey.from_spki(spki_of(EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)))
        if private.key_type is KeyType.EC_EDWARDS and parameters in _ED25519:
            return DeviceKey.from_spki(spki_of(Ed25519PublicKey.from_public_bytes(point)))
    except (ValueError, DecodeError) as error:
        raise DeviceError(f"{uri.token_name}: the public key {uri.key_name} is not one ({error})") from None
    raise DeviceError(
        f"{uri.token_name}: the key {uri.key_name} is on another curve than P-256 or Ed25519; those are the two that "
        "Sigillo verifies"
    )


def _point(value: bytes) -> bytes:
    """The point of CKA_EC_POINT: a DER OCTET STRING, from some tokens the bare bytes."""
    return value[2:] if len(value) == _WRAPPED.get(value[:2]) else value
