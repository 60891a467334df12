"""Errors as RFC 9457 problem details, whatever raised them. Next: `api.py`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from videosyn.app.serve.documents import Problem

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)


class ApiProblem(Exception):
    """`kind`: a word for programs, such as queue-full; `detail`: a sentence for people."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.headers = status, kind, detail, headers


def answer(
    status: int,
    kind: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> JSONResponse:
    body: dict[str, Any] = {
        "type": f"urn:videosyn:problem:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors is not None:
        body["errors"] = errors
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the problems that it may answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Every error of the app becomes a problem; what nobody foresaw says nothing of the inside."""

    @app.exception_handler(ApiProblem)
    async def known(request: Request, problem: ApiProblem) -> JSONResponse:
        return answer(problem.status, problem.kind, problem.detail, problem.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"where": "/".join(str(part) for part in each["loc"]), "what": str(each["msg"])} for each in error.errors()
        ]
        said = "; ".join(f"{each['where']}: {each['what']}" for each in errors[:3])
        return answer(422, "invalid", said or "the request does not fit its schema", errors=errors)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, "", str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        _log.exception("an error that no one foresaw", exc_info=error)
        return answer(500, "internal", "something went wrong in the service; its log says what")

    _put_into_openapi(app)


def _put_into_openapi(app: FastAPI) -> None:
    """OpenAPI names the Problem class, and 422 is one, not FastAPI's own kind of error."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make()
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for operations in schema["paths"].values():
                for operation in operations.values():
                    if "422" in operation["responses"]:
                        operation["responses"]["422"] = documented(422)[422]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # pyright: ignore[reportAttributeAccessIssue]
