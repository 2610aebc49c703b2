"""A program in the place of pulumi, as far as the wrapper goes: it keeps a stack in a file, and says what it was asked.

No real CLI was at hand. Like the real one it writes what it imports in its own way: not byte for byte what came.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    home = Path(os.environ["STAND_IN_HOME"])
    kept = home / "stack.json"
    with (home / "asked").open("a") as asked:
        asked.write(json.dumps({"words": words, "environment": dict(os.environ)}) + "\n")
    options = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word in ("--stack", "--file")}
    match words[:2]:
        case ["stack", "--show-name"]:
            print((home / "selected").read_text().strip())
            return 0
        case ["stack", "export"]:
            if not kept.exists():
                print("error: no stack named 'dev' found", file=sys.stderr)
                return 255
            Path(options["--file"]).write_bytes(kept.read_bytes())
            return 0
        case ["stack", "import"]:
            told = json.loads(Path(options["--file"]).read_bytes())
            if (home / "does not import").exists():
                return 255
            kept.write_text(json.dumps(told, indent=4, sort_keys=True) + "\n")
            return 0
    stack = json.loads(kept.read_bytes())
    deployment = stack["deployment"] = stack["deployment"] or {"manifest": {"version": "v3.1"}}
    if words[0] in ("up", "fail"):
        number = len(deployment.setdefault("resources", []))
        urn = f"urn:pulumi:dev::shop::random:index/randomId:RandomId::r{number}"
        one = {"urn": urn, "custom": True, "type": "random:index/randomId:RandomId", "id": f"id-{number}"}
        deployment["resources"].append(one | {"outputs": {"n": number}})
        kept.write_text(json.dumps(stack, indent=4) + "\n")
    if (wait := home / "wait").exists():
        (home / "waits").touch()
        with wait.open() as pipe:  # until somebody writes
            pipe.read()
    print("did", *words)
    return 3 if words[0] == "fail" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
