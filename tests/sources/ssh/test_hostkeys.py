"""What a known_hosts file says of an address, and that adding to it loses nothing. Pure but for the file."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest

from asset_ledger.domain.errors import PermanentError, TargetError
from asset_ledger.sources.ssh.hostkeys import KnownHosts, fingerprint, host_name


def blob(seed: int, kind: str = "ssh-ed25519") -> bytes:
    fields = (
        (kind.encode(), bytes([seed]) * 32)
        if kind == "ssh-ed25519"
        else (kind.encode(), b"\1\0\1", bytes([seed]) * 257)
    )
    return b"".join(len(part).to_bytes(4, "big") + part for part in fields)


def line(names: str, seed: int, kind: str = "ssh-ed25519") -> str:
    return f"{names} {kind} {base64.b64encode(blob(seed, kind)).decode()} comment\n"


@pytest.mark.parametrize(
    ("names", "asked", "known"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("web,192.0.2.1", "192.0.2.1", True),
        ("192.0.2.*", "192.0.2.1", True),
        ("192.0.2.*,!192.0.2.1", "192.0.2.1", False),
        ("192.0.2.1", "[192.0.2.1]:2222", False),
        ("[192.0.2.1]:2222", "[192.0.2.1]:2222", True),
        ("[192.0.2.*]:2222", "[192.0.2.1]:2222", True),
        ("192.0.2.10", "192.0.2.1", False),
        ("2001:db8::1", "2001:db8::1", True),
        ("@cert-authority *", "192.0.2.1", False),
    ],
)
def test_a_line_means_what_openssh_means_by_it(tmp_path: Path, names: str, asked: str, known: bool) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("# a comment\n\nbroken\n" + line(names, 1))
    hosts = KnownHosts(file)
    if known:
        assert hosts.verify(asked, "ssh-ed25519", blob(1)) is False
    else:
        with pytest.raises(TargetError) as caught:
            hosts.verify(asked, "ssh-ed25519", blob(1))
        assert caught.value.code.code == "SSH_HOST_KEY_UNKNOWN"
        assert fingerprint(blob(1)) in str(caught.value)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
def test_a_torn_line_is_no_key(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "known_hosts"
    whole = line("192.0.2.1", 1, kind).removesuffix(" comment\n")
    for length in range(len(whole)):
        file.write_text(whole[:length])
        with pytest.raises(TargetError) as caught:
            KnownHosts(file).verify("192.0.2.1", kind, blob(1, kind))
        assert caught.value.code.code == "SSH_HOST_KEY_UNKNOWN"


def test_a_known_type_is_asked_for_first(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line("192.0.2.1", 1, "ssh-rsa"))
    offered = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
    hosts = KnownHosts(file)
    assert hosts.preferred_algorithms("192.0.2.1", offered)[:2] == ("rsa-sha2-512", "rsa-sha2-256")
    assert hosts.preferred_algorithms("192.0.2.2", offered) == offered


def test_a_key_of_another_type_than_the_known_one_is_never_a_first_key(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line("192.0.2.1", 1, "ssh-rsa"))
    with pytest.raises(TargetError) as caught:
        KnownHosts(file, accept_first=True).verify("192.0.2.1", "ssh-ed25519", blob(2))
    assert caught.value.code.code == "SSH_HOST_KEY_MISMATCH"


def test_first_keys_from_many_writers_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "known_hosts"
    stores = [KnownHosts(file, accept_first=True) for _ in range(4)]

    def learn(number: int) -> None:
        for n in range(20):
            stores[number].verify(host_name(f"192.0.2.{n}", 22 + number), "ssh-ed25519", blob(n))

    threads = [threading.Thread(target=learn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.read_text().splitlines()) == 80
    assert sorted(path.name for path in file.parent.iterdir()) == ["known_hosts", "known_hosts.lock"]


def test_an_unreadable_file_stops_the_source_and_not_one_host(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        KnownHosts(tmp_path)
    assert caught.value.code.code == "CONFIG_INVALID"
