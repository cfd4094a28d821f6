"""Errors of the API, all of one shape: ``{"status": "fail", "error": "<text>", "code": <number or stable name>}``."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Problem(Exception):
    """A request that fails; ``error`` is for people and says the remedy, ``code`` is stable and for programs.

    Neither holds anything that the body of a request held.
    """

    def __init__(
        self,
        status: int,
        code: str | int,
        error: str,
        headers: Mapping[str, str] | None = None,
        *,
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.code = code
        self.error = error
        self.headers = dict(headers or {})
        self.more = dict(more or {})  # further members, where a standard asks for them

    def response(self) -> Response:
        """The answer that says so."""
        content = {"status": "fail", "error": self.error, "code": self.code, **self.more}
        return JSONResponse(content, self.status, self.headers)


async def answer_problem(_request: Request, problem: Exception) -> Response:
    """What Starlette does with a `Problem` that an endpoint raises."""
    assert isinstance(problem, Problem)  # registered for nothing else  # noqa: S101
    return problem.response()
