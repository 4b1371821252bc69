"""What an answer to a challenge has besides its quote: of the epoch that runs, read for each (spec/challenge.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sigillo.broker.epoch_store import EpochStore
from sigillo.broker.folder import OperatorFolder
from sigillo.core.attestation import AttestationEvidence, encode_attestation
from sigillo.core.challenge import ChallengeAnswer, ConfigurationText, encode_challenge_answer
from sigillo.core.errors import AttestationError
from sigillo.core.launch import LaunchEvent, decode_launch_event, decode_launch_log


@dataclass(frozen=True, slots=True)
class Answering:
    """The answers of one epoch, by its number; *configuration*: as it was measured."""

    folder: OperatorFolder
    number: int
    configuration: tuple[ConfigurationText, ...]

    def answer(self, evidence: AttestationEvidence, checkpoint_bytes: bytes) -> bytes:
        """The answer with this quote; *checkpoint_bytes*: the signed note that it is about.

        Raises OSError, DecodeError, AttestationError where what belongs to the epoch cannot be read.
        """
        launch_bytes = self.folder.launch_log.read_bytes()
        answer = ChallengeAnswer(
            evidence_bytes=encode_attestation(evidence),
            statement_bytes=EpochStore(self.folder.epochs, self.folder.spool).statement_bytes(self.number),
            launch_bytes=launch_bytes,
            closure_bytes=self._closure(launch_bytes).read_bytes(),
            configuration=self.configuration,
            registration_bytes=self._registration(),
            checkpoint_bytes=checkpoint_bytes,
        )
        return encode_challenge_answer(answer)

    def _closure(self, launch_bytes: bytes) -> Path:
        """That of the last launch."""
        for event in reversed(decode_launch_log(launch_bytes).events):
            launched = decode_launch_event(event)
            if isinstance(launched, LaunchEvent):
                return self.folder.closures / f"{launched.closure_hash.hex()}.cbor"
        raise AttestationError(f"{self.folder.launch_log}: has no launch in it")

    def _registration(self) -> bytes | None:
        try:
            return self.folder.registration.read_bytes()
        except FileNotFoundError:
            return None
