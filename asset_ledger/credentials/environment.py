"""`env:NAME`: the variable NAME with a JSON object of fields, or one variable NAME_FIELD for each field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from asset_ledger.credentials.secret import Secret, as_secret, is_field_name, unreadable
from asset_ledger.domain.errors import CREDENTIAL_NOT_FOUND, PermanentError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read(name: str, environ: Mapping[str, str]) -> Secret:
    """Return the fields of `env:NAME`. NAME itself, where it is set, is the whole credential.

    NAME_PASSWORD becomes `password`, NAME_PRIVATE_KEY `private_key`, and so on for every NAME_…; empty
    variables count as not set.
    """
    reference = f"env:{name}"
    if _NAME.fullmatch(name) is None:
        raise PermanentError(
            CREDENTIAL_NOT_FOUND, "an env: reference names an environment variable: letters, digits and _"
        )
    if text := environ.get(name):
        try:
            fields = json.loads(text)
        except ValueError:
            # not chained: the JSON error carries the whole text
            raise unreadable(reference, f"the variable {name} does not hold a JSON object") from None
        return as_secret(fields, reference)
    prefix = f"{name}_"
    found = {
        variable.removeprefix(prefix).lower(): value
        for variable, value in environ.items()
        if variable.startswith(prefix) and value and is_field_name(variable.removeprefix(prefix).lower())
    }
    if not found:
        raise PermanentError(
            CREDENTIAL_NOT_FOUND,
            f"neither the environment variable {name} nor any {prefix}… (such as {prefix}USERNAME and "
            f"{prefix}PASSWORD) is set",
            target=reference,
        )
    return Secret(found)
