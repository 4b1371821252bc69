"""A log key sealed in a real software TPM: who gets it, who does not; and the counter. Stock tools agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.attestation.counter import NvCounter
from sigillo.attestation.error import TpmError
from sigillo.attestation.seal import boot_values, seal, storage_template, unseal, unseal_by
from sigillo.attestation.tpm import OTHER_VALUE, PCR_CHANGED, RH_OWNER, NvPublic, Tpm
from sigillo.core.errors import AttestationError
from sigillo.core.quote import LAUNCH_PCR
from sigillo.core.sealing import (
    BOOT_PCRS,
    Approval,
    SealedKey,
    approval_message,
    decode_sealed_key,
    encode_sealed_key,
    pcr_policy,
    policy_reference,
    sealing_policy,
)
from sigillo.core.tpm import packed, sized

from ..vector.accept_seal import OWNER, approval, owner_key
from ..vector.key import LOG, P256Key, filler
from . import rig
from .stock import Stock

NO_PASSWORD_DOES = 0x12F
NOT_BY_THIS_KEY = 0x2DB
NOT_OURS = 0x1DF


@dataclass
class Machine:
    """A TPM that runs, and a log key sealed for its boot."""

    folder: Path
    tpm: Tpm
    sealed: SealedKey

    def approve(self, key: P256Key = OWNER) -> Approval:
        """What the TPM has now."""
        return approval(boot_values(self.tpm), key=key)


@pytest.fixture
def machine(tpm_folder: Path) -> Iterator[Machine]:
    with rig.started(tpm_folder):
        tpm = Tpm(rig.link_to(tpm_folder))
        first = approval(boot_values(tpm))
        made = seal(tpm, LOG.seed, LOG.public, owner_key(OWNER), first)
        yield Machine(tpm_folder, tpm, decode_sealed_key(encode_sealed_key(made)))


def test_what_was_sealed_comes_back_also_after_a_reset(machine: Machine, tpm_folder: Path) -> None:
    for _ in range(5):  # and leaves nothing loaded
        assert unseal(machine.tpm, machine.sealed) == LOG.seed
    assert LOG.seed not in encode_sealed_key(machine.sealed)


def test_it_is_the_same_after_a_reset(tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        tpm = Tpm(rig.link_to(tpm_folder))
        made = seal(tpm, LOG.seed, LOG.public, owner_key(OWNER), approval(boot_values(tpm)))
    with rig.started(tpm_folder):
        assert unseal(Tpm(rig.link_to(tpm_folder)), made) == LOG.seed


@pytest.mark.parametrize("index", BOOT_PCRS)
def test_another_boot_gets_nothing(machine: Machine, index: int) -> None:
    """Refused by us, with the PCR's name; and by the TPM, where somebody leaves our check out."""
    machine.tpm.extend(index, filler("another loader"))
    with pytest.raises(AttestationError, match=rf"not approved .*changed: PCR {index}\)"):
        unseal(machine.tpm, machine.sealed)
    with pytest.raises(TpmError) as caught:
        unseal_by(machine.tpm, machine.sealed, machine.sealed.approvals[0])
    assert caught.value.code == OTHER_VALUE


def test_a_launch_is_no_other_boot(machine: Machine) -> None:
    for index in (LAUNCH_PCR, 10, 11, 15):
        machine.tpm.extend(index, filler("while the system runs"))
    assert unseal(machine.tpm, machine.sealed) == LOG.seed


def test_an_update_that_the_owner_approves(machine: Machine) -> None:
    machine.tpm.extend(4, filler("new kernel"))
    updated = machine.sealed.with_approval(machine.approve())
    assert unseal(machine.tpm, decode_sealed_key(encode_sealed_key(updated))) == LOG.seed
    machine.tpm.extend(4, filler("newer kernel"))
    with pytest.raises(AttestationError, match="changed: PCR 4"):
        unseal(machine.tpm, updated)


def test_an_approval_by_another_key_or_for_another_log_opens_nothing(machine: Machine) -> None:
    machine.tpm.extend(7, filler("secure boot off"))
    forged = machine.approve(P256Key(filler("another owner")))
    with pytest.raises(AttestationError, match="not signed by the owner"):
        unseal(machine.tpm, replace(machine.sealed, approvals=(forged,)))
    with pytest.raises(TpmError) as caught:
        unseal_by(machine.tpm, machine.sealed, forged)
    assert caught.value.code == NOT_BY_THIS_KEY
    other = replace(machine.sealed, owner=owner_key(P256Key(filler("another owner"))))
    with pytest.raises(TpmError):  # whose approval the TPM takes, but not for this object
        unseal_by(machine.tpm, other, forged)
    elsewhere = approval(boot_values(machine.tpm), log_key=filler("another log"))
    with pytest.raises(TpmError):
        unseal_by(machine.tpm, replace(machine.sealed, log_key=filler("another log")), elsewhere)


def test_an_empty_password_does_not_do(machine: Machine) -> None:
    sealed = machine.sealed
    with (
        machine.tpm.primary(storage_template(), RH_OWNER) as (parent, _),
        machine.tpm.loaded(parent, sealed.public_bytes, sealed.private_bytes) as handle,
    ):
        with pytest.raises(TpmError, match="under its policy only") as caught:
            machine.tpm.unseal(handle)
        assert caught.value.code == NO_PASSWORD_DOES
        with machine.tpm.policy_session() as session, pytest.raises(TpmError):
            machine.tpm.unseal(handle, session)  # which has shown nothing


def test_another_tpm_opens_nothing(machine: Machine, tmp_path: Path) -> None:
    other = rig.made(tmp_path / "t")
    with rig.started(other):
        tpm = Tpm(rig.link_to(other))
        with pytest.raises(TpmError, match="another TPM did, or it was cleared") as caught:
            unseal(tpm, machine.sealed.with_approval(approval(boot_values(tpm))))
    assert caught.value.code == NOT_OURS


class Restless:
    """A link on which somebody extends a PCR just before what is sealed is given out, *times* times."""

    def __init__(self, folder: Path, index: int, times: int) -> None:
        self._link, self._index, self.times = rig.link_to(folder), index, times

    def transmit(self, command: bytes) -> bytes:
        if command[6:10] == b"\0\0\x01\x5e" and self.times > 0:
            self.times -= 1
            Tpm(self._link).extend(self._index, filler("measured meanwhile"))
        return self._link.transmit(command)

    def close(self) -> None:
        self._link.close()


def test_a_pcr_that_changes_meanwhile_only_makes_it_begin_again(machine: Machine) -> None:
    """IMA extends PCR 10 whenever a file is read: not one of ours, and all the same the TPM says no."""
    link = Restless(machine.folder, 10, 4)
    assert unseal(Tpm(link), machine.sealed) == LOG.seed
    assert link.times == 0
    with pytest.raises(TpmError, match="extends the TPM's PCRs all the time"):
        unseal(Tpm(Restless(machine.folder, 10, 100)), machine.sealed)
    with pytest.raises(TpmError) as caught:
        unseal_by(Tpm(Restless(machine.folder, 10, 1)), machine.sealed, machine.sealed.approvals[0])
    assert caught.value.code == PCR_CHANGED
    with pytest.raises(AttestationError, match="changed: PCR 9"):
        unseal(Tpm(Restless(machine.folder, 9, 1)), machine.sealed)


def test_the_counter_only_goes_up(tpm_folder: Path) -> None:
    counter = NvCounter(software_tpm.socket_of(tpm_folder), filler("a log"))
    with rig.started(tpm_folder):
        assert counter.read() is None
        counter.make()
        assert counter.read() == 0
        counter.increment()
        first = counter.read()
        assert first
        counter.increment()
        assert counter.read() == first + 1
    with rig.started(tpm_folder):
        assert counter.read() == first + 1


def test_a_counter_that_was_deleted_and_made_anew_goes_on_above(tpm_folder: Path, tmp_path: Path) -> None:
    counter = NvCounter(software_tpm.socket_of(tpm_folder), filler("a log whose counter is deleted"))
    with rig.started(tpm_folder):
        counter.make()
        for _ in range(3):
            counter.increment()
        value = counter.read()
        assert value
        Stock(tpm_folder, tmp_path).run("tpm2_nvundefine", "-C", "o", f"{counter.index:#x}")
        assert counter.read() is None
        counter.make()
        counter.increment()
        assert counter.read() == value + 1


def test_an_index_that_is_something_elses_is_refused(tpm_folder: Path) -> None:
    key_id = filler("a log that has a neighbour")
    with rig.started(tpm_folder):
        counter = NvCounter(software_tpm.socket_of(tpm_folder), key_id)
        NvCounter(software_tpm.socket_of(tpm_folder), key_id[:2] + bytes(30)).make()
        with pytest.raises(TpmError, match=f"is something else's.*tpm2_nvundefine -C o {counter.index:#010x}"):
            counter.read()
        plain = NvCounter(software_tpm.socket_of(tpm_folder), filler("a plain index"))
        tpm = Tpm(rig.link_to(tpm_folder))
        tpm.define_nv(plain.index, NvPublic(0x0206_0006, filler("a plain index"), 8))
        with pytest.raises(TpmError, match="something else's"):
            plain.read()


def test_stock_tools_take_object_owner_and_approval_for_what_they_are(machine: Machine, tmp_path: Path) -> None:
    stock, sealed = Stock(machine.folder, tmp_path), machine.sealed
    approved = sealed.approvals[0]
    files = {
        "object.pub": sized(sealed.public_bytes),
        "object.priv": sized(sealed.private_bytes),
        "owner.pub": sized(sealed.owner.public_bytes),
        "message": approval_message(approved.values, sealed.log_key),
        "signature": packed((0x0018, 2), (0x000B, 2)) + sized(approved.signature[:32]) + sized(approved.signature[32:]),
        "reference": policy_reference(sealed.log_key),
        "pcr.policy": pcr_policy(approved.values),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
    stock.run(
        "tpm2_createprimary", "-C", "o", "-g", "sha256", "-G", "ecc256:aes128cfb", "-a", attributes, "-c", "parent"
    )
    stock.run("tpm2_load", "-C", "parent", "-u", "object.pub", "-r", "object.priv", "-c", "object")
    stock.run("tpm2_loadexternal", "-C", "o", "-u", "owner.pub", "-c", "owner", "-n", "owner.name")
    assert (tmp_path / "owner.name").read_bytes() == sealed.owner.name
    stock.run("tpm2_verifysignature", "-c", "owner", "-g", "sha256", "-m", "message", "-s", "signature", "-t", "ticket")

    assert stock.tries("tpm2_unseal", "-c", "object").returncode != 0, "an empty password"
    stock.run("tpm2_startauthsession", "-S", "session")  # a trial: tpm2_policypcr takes eight PCRs at most
    words = ("-i", "pcr.policy", "-q", "reference", "-n", "owner.name", "-t", "ticket", "-L", "authorised")
    stock.run("tpm2_policyauthorize", "-S", "session", *words)
    assert (tmp_path / "authorised").read_bytes() == sealing_policy(sealed.owner, sealed.log_key)


def test_stock_tools_read_the_counter(machine: Machine, tmp_path: Path) -> None:
    stock, key_id = Stock(machine.folder, tmp_path), filler("a log whose counter is read")
    counter = NvCounter(software_tpm.socket_of(machine.folder), key_id)
    counter.make()
    counter.increment()
    index = f"{counter.index:#x}"
    value = counter.read()
    assert value
    assert int.from_bytes(stock.run("tpm2_nvread", index), "big") == value
    shown = stock.run("tpm2_nvreadpublic", index).decode()
    assert key_id.hex().upper() in shown, shown
    assert "nt=0x1|" in shown or "nt=counter" in shown, shown
    for word in ("no_da", "authwrite", "ownerread"):
        assert word in shown
    assert stock.tries("tpm2_nvwrite", index, "-i", tmp_path / "nothing").returncode != 0
    stock.run("tpm2_nvincrement", index)
    assert counter.read() == value + 1


def test_who_is_locked_out_is_not_us(machine: Machine, tmp_path: Path) -> None:
    """Wrong passwords of others lock a TPM for whatever has a password: neither key nor counter is of that kind."""
    stock = Stock(machine.folder, tmp_path)
    (tmp_path / "secret").write_bytes(b"theirs")
    stock.run("tpm2_dictionarylockout", "-s", "-n", "1", "-t", "1000", "-l", "1000")
    try:
        stock.run("tpm2_createprimary", "-C", "o", "-c", "parent")
        stock.run("tpm2_create", "-C", "parent", "-i", "secret", "-p", "right", "-u", "pub", "-r", "priv")
        stock.run("tpm2_load", "-C", "parent", "-u", "pub", "-r", "priv", "-c", "object")
        assert stock.run("tpm2_unseal", "-c", "object", "-p", "right") == b"theirs"
        assert stock.tries("tpm2_unseal", "-c", "object", "-p", "wrong").returncode != 0
        assert stock.tries("tpm2_unseal", "-c", "object", "-p", "right").returncode != 0, "locked out"
        assert unseal(machine.tpm, machine.sealed) == LOG.seed
        counter = NvCounter(software_tpm.socket_of(machine.folder), filler("a log of a locked TPM"))
        counter.make()
        counter.increment()
        assert counter.read()
    finally:
        stock.run("tpm2_dictionarylockout", "-c")
