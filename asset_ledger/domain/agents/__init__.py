"""What push agents tell: the shape of a report, what stands in it, what changed since the last one. Pure.

payload      a report's JSON, in any of its spellings, to typed fields; by fields
arrival      when a report counts, and of which day it is
interfaces   which network interfaces and addresses are the machine's own and last
inventory    a report as the ledger's columns, and what of it is stable
changes      what changed between two inventories, in types and in words
retention    which rows of the history stay, and how much of them
versions     the versions of agents, and the platforms they are built for
"""
