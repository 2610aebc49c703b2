"""What kind of document a body is that somebody wants kept as a state, and why it is refused where it is none.

A body is stored as it came; only what it would break a client to get back is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asset_ledger.domain.iac.exact_json import TooDeepError, TooLargeError, is_deep, loads, storable
from asset_ledger.domain.iac.snapshot import Tool

Kind = Literal["terraform", "terraform-old", "opentofu-encrypted", "pulumi", "pulumi-unread"]
NEWEST_TERRAFORM = 4
NEWEST_PULUMI = 4
DECIDING = (("features",), ("deployment", "manifest"), ("checkpoint", "latest", "manifest"), ("latest", "manifest"))
"""What below the outermost level says what kind of document a body is, and what wrote it."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is known of a body without reading its resources. `parsed` kinds become events; the others are only kept."""

    kind: Kind
    serial: int | None
    lineage: str | None
    tool_version: str | None
    document: Mapping[str, Any]

    @property
    def tool(self) -> Tool:
        """Whose document it is."""
        return "pulumi" if self.kind.startswith("pulumi") else "terraform"

    @property
    def parsed(self) -> bool:
        """Whether its resources can be read."""
        return self.kind in ("terraform", "pulumi")


class RefusedError(ValueError):
    """A body that is no state: why, and what to send."""


def recognised(body: bytes) -> Body:
    """Return what a body is, with all that it holds. Raises RefusedError."""
    try:
        document = loads(body)
        if is_deep(document):
            raise TooDeepError
    except RecursionError:
        raise RefusedError(str(TooDeepError())) from None
    except (TooDeepError, TooLargeError) as error:
        raise RefusedError(str(error)) from None
    except ValueError as error:
        raise RefusedError(f"not JSON: {error}") from None
    return known(document)


def known(document: Any) -> Body:
    """Return what a document is, of which its outline with what is DECIDING is enough. Raises RefusedError."""
    if not isinstance(document, Mapping):
        raise RefusedError("not a JSON object, as every state is")
    if "encryption_version" in document or "encrypted_data" in document:
        return Body("opentofu-encrypted", _whole(document, "serial"), _text(document, "lineage"), None, document)
    if "deployment" in document or "checkpoint" in document:
        return _pulumi(document)
    if "version" not in document and "stack" in document and "latest" in document:
        # a checkpoint from before they had versions: what is in the first of them lies open
        return _pulumi({"version": 1, "checkpoint": document})
    version = document.get("version")
    if "values" in document or "resource_changes" in document:
        raise RefusedError("the output of `terraform show -json`; a state is what `terraform state pull` prints")
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= NEWEST_TERRAFORM:
        raise RefusedError(f"`version` is {_shown(version)}; a Terraform state has 1 to {NEWEST_TERRAFORM}")
    return Body(
        "terraform" if version >= 3 else "terraform-old",
        _whole(document, "serial"),
        _text(document, "lineage"),
        _text(document, "terraform_version"),
        document,
    )


def _pulumi(document: Mapping[str, Any]) -> Body:
    deployment = document.get("deployment")
    if deployment is None:
        checkpoint = document.get("checkpoint")
        deployment = checkpoint.get("latest") if isinstance(checkpoint, Mapping) else checkpoint
    version = document.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise RefusedError(f"`version` is {_shown(version)}; an exported stack has a number there")
    if deployment is None:  # a stack nothing was deployed to
        deployment = {}
    if not isinstance(deployment, Mapping):
        raise RefusedError("neither `deployment` nor `checkpoint.latest` is an object")
    manifest = deployment.get("manifest")
    tool = _text(manifest, "version") if isinstance(manifest, Mapping) else None
    # from version 4 on a document names what a reader must understand; what is not known is kept unread. Versions 1 and
    # 2 lack what came later (providers, dependencies by property), and say the same with what they have
    unread = version > NEWEST_PULUMI or bool(document.get("features"))
    return Body("pulumi-unread" if unread else "pulumi", None, None, tool, document)


def _whole(document: Mapping[str, Any], name: str) -> int | None:
    told = document.get(name)
    return told if isinstance(told, int) and not isinstance(told, bool) and -(1 << 63) <= told < 1 << 63 else None


def _text(document: Mapping[str, Any], name: str) -> str | None:
    told = document.get(name)
    return storable(told) if isinstance(told, str) and told else None


def _shown(version: Any) -> str:
    """Return what may be said of a version that is none: a body may hold anything, a message must not."""
    return repr(version) if version is None or (isinstance(version, int) and abs(version) < 10**6) else "no such number"
