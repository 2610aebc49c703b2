"""Builds the vCenter simulator from Debian's packages once a machine, and runs it. `VcSim` is what tests hold.

Nothing here changes what it answers; that is the work of the double in front of it (server.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.doubles.https.certificates import make_certificates

PACKAGES = "golang-go golang-github-vmware-govmomi-dev"
LIBRARY = Path("/usr/share/gocode/src/github.com/vmware/govmomi")
SOURCE = Path(__file__).with_name("main.go")


def missing() -> str | None:
    """Return why the simulator cannot be built here, naming the Debian packages, or None where it can."""
    if shutil.which("go") is None or not LIBRARY.is_dir():
        return f"needs the Debian packages {PACKAGES}"
    return None


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "asset_ledger-tests"


def binary() -> Path:
    """Return the simulator's program, building it (half a minute) unless this very source was built before."""
    if reason := missing():
        raise RuntimeError(f"the vCenter simulator cannot be built: {reason}")
    version = subprocess.run(["go", "version"], check=True, capture_output=True, timeout=60).stdout
    library = (LIBRARY / "simulator" / "model.go").read_bytes()
    digest = hashlib.sha256(SOURCE.read_bytes() + version + library).hexdigest()[:16]
    folder = _cache()
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / f"vcsim-{digest}"
    with (folder / f"vcsim-{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits for the first one's build, and takes it
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=folder) as work:
                made = Path(work) / "vcsim"
                go = {
                    "GO111MODULE": "off",
                    "GOPATH": "/usr/share/gocode",
                    "GOFLAGS": "",
                    "GOCACHE": os.environ.get("GOCACHE", str(folder / "go-build")),
                }
                subprocess.run(
                    ["go", "build", "-o", str(made), str(SOURCE)], check=True, env=os.environ | go, timeout=900
                )
                made.rename(built)
    return built


class VcSim:
    """A running simulator: `datacenters=1, clusters=2, hosts=2, lone_hosts=1, vms=3, esx=True` are its shape.

    It answers at `endpoint`: plain HTTP at 127.0.0.1, or HTTPS under a certificate of its own where `tls` is asked for.
    Machines are counted per cluster and per lone host.
    """

    def __init__(
        self,
        *,
        tls: bool = False,
        username: str = "ledger@vsphere.local",
        password: str = "vcsim-canary-secret",
        **shape: int | bool,
    ) -> None:
        self.username, self.password = username, password
        self.ca_file: Path | None = None
        self.fingerprint = ""
        self._folder = tempfile.TemporaryDirectory(prefix="vcsim-")
        arguments = [str(binary()), "-username", username]
        arguments += [f"-{name.replace('_', '-')}={str(value).lower()}" for name, value in shape.items()]
        if tls:
            made = make_certificates(Path(self._folder.name), "vcenter", authority="CA, vSphere")
            self.ca_file, self.fingerprint = made.ca_file, made.fingerprint
            arguments += ["-certificate", str(made.chain_file)]
        log = Path(self._folder.name) / "vcsim.log"
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | {"VCSIM_PASSWORD": password, "TMPDIR": self._folder.name},
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        if not line.startswith("READY "):
            said = log.read_text(errors="replace")
            self.close()
            raise RuntimeError(f"the vCenter simulator did not start: {said}")
        self.port = int(line.split()[1])
        self.pid = self._process.pid
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End the simulator; twice is once."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> VcSim:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
