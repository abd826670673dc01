"""The server as a FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from smallbignet.serve.docs_page import make_docs
from smallbignet.serve.forms import ErrorForm, to_json
from smallbignet.serve.guard import Guard
from smallbignet.serve.refusals import Refusal
from smallbignet.serve.routes import router
from smallbignet.serve.service import Service
from smallbignet.version import __version__

STATIC = Path(__file__).with_name("static")


def make_app(service: Service) -> Guard:
    """Returns the application of a service, which starts and ends with it."""
    app = FastAPI(title="SmallBigNet", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_exception_handler(RequestValidationError, explain_query)
    app.add_exception_handler(Refusal, refuse)
    app.add_exception_handler(404, explain_not_found)
    app.add_exception_handler(405, explain_method)
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_api_route("/", show_page, include_in_schema=False)
    app.add_api_route("/docs", show_docs, include_in_schema=False)
    return Guard(app, service)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts the service before the first request, and ends it after the last one."""
    app.state.service.start()
    yield
    app.state.service.close()


async def show_page() -> Response:
    return FileResponse(STATIC / "index.html")


async def show_docs(request: Request) -> Response:
    return HTMLResponse(make_docs(request.app.openapi()))


def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse(to_json(ErrorForm(error.what)), error.status, error.headers)


def explain_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return refuse(request, Refusal(422, f"{first['loc'][-1]}: {first['msg']}"))


def explain_not_found(request: Request, error: Exception) -> Response:
    return refuse(request, Refusal(404, "there is nothing at this address; /docs lists what there is"))


def explain_method(request: Request, error: Exception) -> Response:
    return refuse(request, Refusal(405, "this address does not take this method; /docs lists those that it takes"))
