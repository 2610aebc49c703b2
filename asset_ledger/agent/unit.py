"""The systemd unit that runs the agent as a user of its own who may read and nothing else.

deploy/asset-ledger-agent.service is this for PROGRAM; `asset-ledger agent install-unit` prints it for this machine.
"""

from __future__ import annotations

PROGRAM = "/usr/local/bin/asset-ledger"

_UNIT = """\
# systemd unit of the asset_ledger agent. `asset-ledger agent install-unit` prints it with this machine's own path.
[Unit]
Description=asset_ledger agent: reports what this machine is
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={program} agent run --home %S/asset-ledger-agent
Restart=always
RestartSec=30
# Enrol again after the token was revoked: the running agent sees it, no restart is needed.

# A user of its own. The state folder, with the token and the reports that wait, is given to it at each start.
DynamicUser=yes
StateDirectory=asset-ledger-agent
StateDirectoryMode=0700
UMask=0077
# The hardware's UUID, which root alone may read: the agent gets a copy, or "none" where there is none.
LoadCredential=product_uuid:/sys/class/dmi/id/product_uuid
SetCredential=product_uuid:none

# It reads /proc, /sys and file systems' sizes, and speaks to its server. ProtectSystem shows every file system as
# read-only to it; it asks each file system itself. ProtectHome=yes or ProcSubset=pid would hide what it reports.
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
NoNewPrivileges=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
CapabilityBoundingSet=
AmbientCapabilities=
# some three times what it uses
MemoryMax=128M
TasksMax=16
Nice=10

[Install]
WantedBy=multi-user.target
"""


def unit(program: str) -> str:
    """Return the unit for a program's path."""
    return _UNIT.replace("{program}", program.replace("%", "%%"))
