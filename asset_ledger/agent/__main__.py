"""The running agent's own process: `asset-ledger agent run` becomes it once it has read its options.

What reads the options of a command line is a third of what this process would weigh.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from asset_ledger.agent.talk import Options


def become(home: Path, options: Options) -> NoReturn:
    """Go on as this process, with the same number: whoever watches it sees no other."""
    said = {
        "home": str(home),
        "interval_s": options.interval_s,
        "management_ip": options.management_ip,
        "update_to": str(options.update_to.expanduser().absolute()) if options.update_to else None,
    }
    # -P: what lies in the folder that it was started from is none of its modules
    arguments = [sys.executable, "-P", "-m", "asset_ledger.agent", json.dumps(said)]
    os.execv(sys.executable, arguments)  # noqa: S606 - ourselves, and no shell


def main() -> int:
    """Run the agent and return what the process exits with."""
    from asset_ledger.agent.run import run
    from asset_ledger.domain.errors import LedgerError

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    said = json.loads(sys.argv[1])
    home = Path(said["home"])
    options = Options(said["interval_s"], said["management_ip"], Path(said["update_to"]) if said["update_to"] else None)
    try:
        run(home, home / "identity.json", options)
    except (LedgerError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
