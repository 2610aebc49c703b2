"""A double of WS-Management: many Windows hosts on one port, with their WMI classes and winrs shells.

    with WsmanDouble(tls=False) as d:
        d.add(HostSpec(address="127.0.3.1", accounts={"LAB\\\\ledger": "pw"}, wmi=windows(release="2019", name="APP01")))
        d.url("127.0.3.1"); d.requests; d.shells("127.0.3.1"); d.faults.add("Pull", "wsman", code=5)

The address that a client dials says which host it is. Nothing of any product's code or text is in here.
"""

from tests.doubles.wsman.accounts import Account
from tests.doubles.wsman.hosts import HostSpec
from tests.doubles.wsman.server import WsmanDouble
from tests.doubles.wsman.shells import Invocation, Result, clixml
from tests.doubles.wsman.windows import windows
from tests.doubles.wsman.wql import Table

__all__ = ["Account", "HostSpec", "Invocation", "Result", "Table", "WsmanDouble", "clixml", "windows"]
