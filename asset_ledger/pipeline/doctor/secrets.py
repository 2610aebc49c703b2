"""Are the secrets there, closed to others, and opened by the keys at hand. No value is ever kept or said."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from asset_ledger.credentials import key_ring
from asset_ledger.credentials.encrypted_file import KEY_VARIABLE, EncryptedFile
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.notify.people import url_of
from asset_ledger.pipeline.doctor.findings import Finding, listed, ok, problem, refused, skipped
from asset_ledger.pipeline.ledger import Ledger

_OWN, _DEFAULT = "credential_ref", "default_credential_ref"


def credentials(home: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Say of the encrypted file whether others may read it, and whether its key is there and the right one."""
    path = home / "credentials.json"
    file = EncryptedFile(path, environ)
    check = "credentials"
    try:
        names = [entry.name for entry in file.names()]
    except LedgerError as error:
        yield refused(check, error)
        return
    if path.exists():
        yield from _closed(check, path)
    if not names:
        yield ok(check, "no credential is kept in the encrypted file")
        return
    shut: list[str] = []
    why: LedgerError | None = None
    for name in names:
        try:
            file.read(name)
        except LedgerError as error:
            shut.append(name)
            why = error
    if why is None:
        yield ok(check, f"{len(names)} entries, every one opens")
    elif not environ.get(KEY_VARIABLE):
        yield problem(
            check,
            f"{path} has {len(names)} entries and {KEY_VARIABLE} is not set, so none opens",
            f"set {KEY_VARIABLE} to the kept key where everything is started; a new key opens none of them",
        )
    else:
        whole = len(shut) == len(names)
        yield problem(
            check,
            f"{len(shut)} of {len(names)} entries do not open with {KEY_VARIABLE}: {listed(shut)}"
            + ("; it is another file's key, or no key" if whole else "; they are damaged, or of another key"),
            f"put the right key into {KEY_VARIABLE}, an old one behind a comma; `asset-ledger credentials rotate` then",
        )


def references(ledger: Ledger) -> Finding:
    """Say whether every credential that sources.yaml names is there. Vault is not asked."""
    check = "credential references"
    try:
        wanted = [
            (source.name, field, reference)
            for source in ledger.sources
            for field in (_OWN, _DEFAULT)
            if isinstance(reference := getattr(source, field, None), str) and not reference.startswith("vault:")
        ]
    except LedgerError:
        return skipped(check, "sources.yaml could not be read")
    missing: dict[str, list[str]] = {_OWN: [], _DEFAULT: []}
    for source, field, reference in wanted:
        try:
            ledger.credentials.resolve(reference)
        except LedgerError as error:
            missing[field].append(f"{source} ({error.code.code})")
    said = []
    if missing[_OWN]:
        said.append(f"credentials of {listed(missing[_OWN])} cannot be had, so these sources cannot be read")
    if missing[_DEFAULT]:
        said.append(
            f"the default credentials of {listed(missing[_DEFAULT])} cannot be had: machines that name their own "
            "are read, the others fail"
        )
    if said:
        return problem(
            check,
            "; ".join(said),
            "`asset-ledger sources check SOURCE` says what is missing, `asset-ledger credentials set NAME` puts it",
        )
    return ok(check, f"{len(wanted)} named, all there" if wanted else "no source names one")


def receivers(ledger: Ledger) -> Iterator[Finding]:
    """Say whether every receiver of notices.yaml has its address. Vault is not asked, nothing is sent."""
    check = "receivers' credentials"
    try:
        found = ledger.notices.receivers
    except LedgerError:
        yield skipped(check, "notices.yaml could not be read")
        return
    asked = [one for one in found if not one.credential_ref.startswith("vault:")]
    missing = []
    for one in asked:
        try:
            url_of(ledger.credentials.resolve(one.credential_ref), one.credential_ref)
        except LedgerError as error:
            missing.append(f"{one.name} ({error.code.code})")
    if missing:
        yield problem(
            check,
            f"the addresses of {listed(missing)} cannot be had, so these receivers are told nothing",
            "`asset-ledger credentials set NAME` puts one, or set the variable: `env:OPS` is read from OPS_URL; then "
            "`asset-ledger notices test RECEIVER`",
        )
    elif found:
        yield ok(check, f"{len(asked)} of {len(found)} looked up, all there")


def state_keys(home: Path, environ: Mapping[str, str], *, needed: bool | None) -> tuple[list[Finding], KeyRing | None]:
    """Say whether there is a ring of keys for states, closed to others. `needed`: something is encrypted with one."""
    check = "state keys"
    path = home / "state_keys"
    if not environ.get(key_ring.VARIABLE) and not path.exists():
        if needed:
            return [
                problem(
                    check,
                    f"states are kept, and there is neither {key_ring.VARIABLE} nor {path}: none of them can be read",
                    "put the ring back from its copy: no backup of the database has it, and without it states are lost",
                )
            ], None
        return [ok(check, "none yet; the first start of the HTTP service makes one")], None
    try:
        ring = key_ring.load(home, environ)
    except LedgerError as error:
        return [refused(check, error)], None
    found = list(_closed(check, path)) if path.exists() else []
    return found, ring


def _closed(check: str, path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield problem(
            f"{check}: file mode",
            f"{path} may be read or written by others of this machine (mode {mode:04o})",
            f"chmod 600 {path}; who may have read it has its secrets: change those",
        )
    elif not os.access(path, os.R_OK):
        yield problem(
            f"{check}: file mode",
            f"{path} cannot be read by the user of this process (uid {os.geteuid()})",
            "give the file to the user that everything runs as",
        )
