"""What missing is, said once: by `store.derive.settle` of the present and by `store.query` of past days.

A record is *gone* since a source missed it, or gave its id to another machine. Whether its asset then is missing is
MISSING_SINCE; which readings may miss anything is COUNTS.
"""

from __future__ import annotations

MISSING_SINCE = """CASE WHEN NOT bool_or(gone_at IS NULL AND source_type = 'platform')
          AND coalesce(max(last_seen_at) FILTER (WHERE gone_at IS NULL), '-infinity') < max(gone_at)
     THEN max(gone_at) END"""
"""Since when an asset is missing, over its records (`gone_at`, `last_seen_at`, `source_type`), or NULL.

Missing is what some source missed, or whose id it gave to another, and what neither a platform still has nor anybody has
seen since. Probes and files by themselves miss nothing.
"""

COUNTS = """i.complete AND i.status = 'derived'
      AND CASE WHEN d.value IS NULL THEN {absences} = 'applied' ELSE d.value = '"approved"' END"""
"""Whether what a reading `i` did not see is gone, with `d` the decision on its absences; `{absences}` is what was judged."""
