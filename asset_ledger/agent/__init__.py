"""The reference agent: reads its own machine and reports it. It runs on the machines, not beside the ledger.

It needs psutil, urllib3 and `domain` alone: a database driver or a web framework has no business on every machine.
What it sends is written down in docs/agent.md; any other program that sends the same is as welcome.
"""
