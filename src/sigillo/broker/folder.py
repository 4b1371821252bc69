"""The operator folder: where everything of one operator lies. Paths only; who owns what is `installation`'s."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OperatorFolder:
    """The folder of one operator; `path` is absolute, so that it means the same in every process."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> OperatorFolder:
        """The folder at *path*, which need not exist yet."""
        return cls(path.resolve())

    @property
    def settings(self) -> Path:
        """`sigillo.toml`, the operator's choices."""
        return self.path / "sigillo.toml"

    @property
    def configuration(self) -> Path:
        """`conf/`, what Mosquitto reads."""
        return self.path / "conf"

    @property
    def broker_configuration(self) -> Path:
        """`conf/mosquitto.conf`."""
        return self.configuration / "mosquitto.conf"

    @property
    def access_list(self) -> Path:
        """`conf/acl`."""
        return self.configuration / "acl"

    @property
    def derived(self) -> Path:
        """`derived/`, what Mosquitto reads where the operator has an own configuration; written at each start."""
        return self.path / "derived"

    @property
    def derived_configuration(self) -> Path:
        """`derived/mosquitto.conf`."""
        return self.derived / "mosquitto.conf"

    @property
    def derived_access_list(self) -> Path:
        """`derived/acl`."""
        return self.derived / "acl"

    @property
    def tls(self) -> Path:
        """`conf/tls/`: the server's certificate and key, the certificates under which clients are accepted."""
        return self.configuration / "tls"

    @property
    def authority(self) -> Path:
        """`authority/`: the local CA."""
        return self.path / "authority"

    @property
    def authority_certificate(self) -> Path:
        """`authority/ca.cert.pem`: the local CA's own certificate."""
        return self.authority / "ca.cert.pem"

    @property
    def log(self) -> Path:
        """`log/`: the log key."""
        return self.path / "log"

    @property
    def epochs(self) -> Path:
        """`epochs/`: countersigned statements and epoch ends."""
        return self.path / "epochs"

    @property
    def attestation(self) -> Path:
        """`attestation/`: what was measured into the TPM, where there is one."""
        return self.path / "attestation"

    @property
    def launch_log(self) -> Path:
        """`attestation/launch.log`: every launch since the TPM's reset (spec/launch.md)."""
        return self.attestation / "launch.log"

    @property
    def closures(self) -> Path:
        """`attestation/closures/`: what each of them was made of, by object hash."""
        return self.attestation / "closures"

    def boot_log(self, reset_count: int) -> Path:
        """`attestation/boot-N.log`: the event log of the boot, by the TPM's count of resets (spec/booted.md)."""
        return self.attestation / f"boot-{reset_count}.log"

    def ima_list(self, reset_count: int) -> Path:
        """`attestation/ima-N.list`: what Linux has measured in that boot."""
        return self.attestation / f"ima-{reset_count}.list"

    @property
    def launches(self) -> Path:
        """`attestation/launches/`: launch logs from before the TPM's last reset, by SHA-256."""
        return self.attestation / "launches"

    @property
    def configurations(self) -> Path:
        """`attestation/configurations/`: texts of configuration files that were measured, by SHA-256."""
        return self.attestation / "configurations"

    @property
    def registration(self) -> Path:
        """`attestation/registration.cose`: what a registrar says of the attestation key; the operator puts it there."""
        return self.attestation / "registration.cose"

    @property
    def spool(self) -> Path:
        """`spool/`: what the plugin writes (spec/spool.md)."""
        return self.path / "spool"

    @property
    def persistence(self) -> Path:
        """`persistence/`: Mosquitto's sessions and queues."""
        return self.path / "persistence"

    @property
    def archive(self) -> Path:
        """`archive/`: the messages kept, and the archive's client certificate."""
        return self.path / "archive"

    @property
    def messages(self) -> Path:
        """`archive/messages.sqlite`: the archive's database."""
        return self.archive / "messages.sqlite"

    @property
    def plugin(self) -> Path:
        """`plugin/sigillo.so`: the copy that runs."""
        return self.path / "plugin" / "sigillo.so"

    @property
    def published(self) -> Path:
        """`published/operator.toml`: what strangers get."""
        return self.path / "published" / "operator.toml"

    @property
    def manifests(self) -> Path:
        """`published/manifests/`: the build manifests that epochs name, by their hash."""
        return self.path / "published" / "manifests"

    @property
    def rebuilds(self) -> Path:
        """`published/rebuilds/`: what rebuilders say about them; the operator puts it there."""
        return self.path / "published" / "rebuilds"
