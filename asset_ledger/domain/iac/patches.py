"""RFC 6902: what leads from one value to another, and back to it. Hashes of values.

Only over redacted values: the hash of a secret that can be guessed would give it away.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from asset_ledger.domain.iac.exact_json import canonical

Patch = list[dict[str, Any]]
_GONE = object()
_SETS = re.compile(
    r"(?:^|_)(?:ids|arns|groups?|security_groups|subnets|subnetworks|tags|labels|cidrs|cidr_blocks|prefixes|zones"
    r"|availability_zones|regions|roles|members|principals|identifiers|scopes|oauth_scopes|actions|resources"
    r"|permissions|policies|ranges|subject_alternative_names|log_types)$"
)
"""Names of lists of texts that are sets in their schemas, which no state has: there an order means nothing."""


def value_hash(value: Any) -> str:
    """Return the SHA-256 of a value's one JSON text, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def made(before: Any, after: Any) -> Patch:
    """Return the operations that make `before` into `after`; none where they are the same JSON."""
    patch: Patch = []
    _compared(before, after, "", patch)
    return patch


def applied(value: Any, patch: Sequence[Mapping[str, Any]]) -> Any:
    """Return a value with a patch of `made` applied; the value itself stays as it was.

    Raises ValueError where the patch is not one for this value.
    """
    for operation in patch:
        value = _stepped(value, _steps(operation["path"]), operation)
    return value


def same(one: Any, other: Any) -> bool:
    """Say whether two values are the same JSON. Python's own `==` takes true for 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def without_noise(before: Any, after: Any, name: str = "") -> Any:
    """Return `after` with every difference that means nothing left as `before` has it. `name` is what both are called.

    Providers write nothing as null, {}, [] or not at all, and give back sets in another order: none of it is a change.
    Another order of commands or of name servers is one: only lists of objects and those that are called as sets are.
    """
    if _nothing(before) and _nothing(after):
        return before
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        kept = {
            inner: without_noise(before[inner], value, inner) if inner in before else value
            for inner, value in after.items()
            if inner in before or not _nothing(value)
        }
        gone = {inner: value for inner, value in before.items() if inner not in after and _nothing(value)}
        return {**kept, **gone}
    if isinstance(before, list) and isinstance(after, list):
        both = min(len(before), len(after))
        if _is_set(name) or all(isinstance(each, Mapping) for each in (*before, *after)):
            after = _in_order(before, after)
        return [*map(without_noise, before[:both], after[:both]), *after[both:]]
    return before if same(before, after) else after


def _is_set(name: str) -> bool:
    return len(name) <= 128 and _named_as_set(name)


@lru_cache(maxsize=4096)
def _named_as_set(name: str) -> bool:
    # Pulumi writes vpcSecurityGroupIds
    return _SETS.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()) is not None


def _in_order(before: list[Any], after: list[Any]) -> list[Any]:
    """Return the elements of `after`, those that are in both in the order of `before` where another was given."""
    old, new = [*map(canonical, before)], [*map(canonical, after)]
    common = Counter(old) & Counter(new)
    stay, came = _picked(old, common), _picked(new, common)
    if [old[place] for place in stay] == [new[place] for place in came]:
        return after
    fresh = iter([value for place, value in enumerate(after) if place not in came])
    # what is new stands where something went
    ordered = [value if place in stay else next(fresh, _GONE) for place, value in enumerate(before)]
    return [*(value for value in ordered if value is not _GONE), *fresh]


def _picked(texts: list[bytes], wanted: Counter[bytes]) -> dict[int, None]:
    """Return the places of the wanted texts in their order, each text as often as it is wanted."""
    left = wanted.copy()
    found: dict[int, None] = {}
    for place, text in enumerate(texts):
        if left[text] > 0:
            left[text] -= 1
            found[place] = None
    return found


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping | list) and not value)


def _compared(before: Any, after: Any, path: str, patch: Patch) -> None:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() - after.keys()):
            patch.append({"op": "remove", "path": f"{path}/{_escaped(name)}"})
        for name in sorted(after):
            below = f"{path}/{_escaped(name)}"
            if name in before:
                _compared(before[name], after[name], below, patch)
            else:
                patch.append({"op": "add", "path": below, "value": after[name]})
    elif isinstance(before, list) and isinstance(after, list):
        both = min(len(before), len(after))
        for place in range(both):
            _compared(before[place], after[place], f"{path}/{place}", patch)
        # from the end, so that no place moves under the next
        patch.extend({"op": "remove", "path": f"{path}/{place}"} for place in reversed(range(both, len(before))))
        added = enumerate(after[both:], both)
        patch.extend({"op": "add", "path": f"{path}/{place}", "value": value} for place, value in added)
    elif not same(before, after):
        patch.append({"op": "replace", "path": path, "value": after})


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _steps(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise ValueError(f"{path!r} is no JSON Pointer")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _stepped(value: Any, steps: Sequence[str], operation: Mapping[str, Any]) -> Any:
    """Return a copy of the value, changed below `steps`; what is not on the way is shared."""
    op = operation["op"]
    if not steps:
        if op == "remove":
            raise ValueError("the whole value cannot be removed")
        return operation["value"]
    step, rest = steps[0], steps[1:]
    if isinstance(value, Mapping):
        changed: Any = dict(value)
        if rest or op != "add":
            if step not in changed:
                raise ValueError(f"{operation['path']} is not there")
            if not rest and op == "remove":
                del changed[step]
                return changed
        changed[step] = _stepped(changed.get(step), rest, operation) if rest else operation["value"]
        return changed
    if isinstance(value, list):
        changed = list(value)
        place = int(step) if step.isdigit() else -1
        if not 0 <= place < len(changed) + (op == "add" and not rest):
            raise ValueError(f"{operation['path']} is not there")
        if rest:
            changed[place] = _stepped(changed[place], rest, operation)
        elif op == "remove":
            del changed[place]
        elif op == "add":
            changed.insert(place, operation["value"])
        else:
            changed[place] = operation["value"]
        return changed
    raise ValueError(f"{operation['path']} is not there")
