"""Exports over HTTP: a mart, or the machines as of a day, as a file that is sent while it is read.

A tenant is given what row-level security and the views of `tenant_ledger` show it. Of the rows of a file a batch is in
memory at once, a workbook on the disk; whoever goes away ends what the database does for them.
Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from asset_ledger.api.access import Caller
from asset_ledger.api.answers import RefusedRequestError, record_of, told
from asset_ledger.api.service import Service
from asset_ledger.api.streaming import Export, Streamed
from asset_ledger.domain.as_of import parse_day
from asset_ledger.domain.roles import Principal
from asset_ledger.exports.formats import FORMATS, MEDIA_TYPES, Format
from asset_ledger.pipeline.exports import file_name
from asset_ledger.store.query import exports
from asset_ledger.store.query.exports import Asked
from asset_ledger.store.tenancy import as_tenant

_Day = Query(pattern=r"^\d{4}-\d{2}-\d{2}$", description="YYYY-MM-DD", json_schema_extra={"format": "date"})
_UNMAPPED = (
    "no source is mapped to this tenant, so it is shown the machines of none: whoever runs the ledger maps one in"
    " iac.yaml, then `asset-ledger findings check` (docs/iac-yaml.md)"
)
_BYTES = {"type": "string", "format": "binary"}
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, in pieces; one that breaks off before its last piece is not whole.",
        "content": {MEDIA_TYPES[each].partition(";")[0]: {"schema": _BYTES} for each in FORMATS},
        "headers": {
            "Content-Disposition": {"description": "What the file is called.", "schema": {"type": "string"}},
            "X-Asset-Ledger-Hint": {
                "description": "Only where no source is mapped to the tenant: that this is so, and what to do.",
                "schema": {"type": "string"},
            },
        },
    },
}


class Exportable(BaseModel):
    """Something that can be exported."""

    name: str
    description: str
    built: bool = Field(description="Whether there is anything to export yet.")
    has_days: bool = Field(description="Whether since and until choose its days.")
    first_day: date | None
    last_day: date | None


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["exports"])
    reader = Annotated[Principal, Depends(Caller(service, "export.read"))]

    @routes.get("/exports", summary="What can be exported, and the days that the tenant has of it")
    def listed(request: Request, caller: reader) -> list[Exportable]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            found = exports.exportables(connection)
            told(connection, request, "export.read", "success", {})
        return [Exportable.model_validate(each, from_attributes=True) for each in found]

    @routes.get(
        "/exports/{name}",
        summary="Export a mart, or `assets` as of a day: all rows that the tenant may see",
        response_class=Response,
        responses=_FILES,
    )
    def exported(
        request: Request,
        caller: reader,
        name: Annotated[str, InPath(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="What /exports lists.")],
        form: Annotated[Format, Query(alias="format")] = "csv",
        as_of: Annotated[str | None, _Day] = None,
        since: Annotated[str | None, _Day] = None,
        until: Annotated[str | None, _Day] = None,
        excel: Annotated[
            bool, Query(description="CSV that Excel takes for UTF-8, and no text in it for a formula.")
        ] = False,
    ) -> Response:
        asked = Asked(name, _day("as_of", as_of), _day("since", since), _day("until", until))
        if asked.since and asked.until and asked.since > asked.until:
            raise RefusedRequestError(409, "NO_SUCH_DAYS", "since is after until: there is no day between")
        if as_of is not None:
            _demand_known(as_of)
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            mapped = exports.has_sources(connection, caller.tenant_id)
        days = {"as_of": as_of, "since": since, "until": until}
        record_of(request).details = {"name": name, "format": form, **{k: v for k, v in days.items() if v}}
        return Streamed(
            Export(service, request, caller, asked, form, for_excel=excel and form == "csv"),
            headers={
                "Content-Disposition": f'attachment; filename="{file_name(asked, form)}"',
                "Cache-Control": "private, no-store",
                "X-Content-Type-Options": "nosniff",
                **({} if mapped else {"X-Asset-Ledger-Hint": _UNMAPPED}),
            },
            media_type=MEDIA_TYPES[form],
        )

    return routes


def _day(parameter: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RefusedRequestError(
            422, "REQUEST_INVALID", f"query.{parameter}: {text} is no day of the calendar"
        ) from None


def _demand_known(day: str) -> None:
    """Raise RefusedRequestError with 404 for a day that is to come, or before the ledger began."""
    try:
        parse_day(day, now=datetime.now(UTC))
    except ValueError as error:
        raise RefusedRequestError(404, "NO_SUCH_DAY", f"as_of: {error}") from None
