"""The addresses under which the server answers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from smallbignet.errors import SmallBigError, WorkError
from smallbignet.serve.forms import AnswerForm, ErrorForm, HealthForm, JobForm, ModelForm, ModelsForm, to_json
from smallbignet.serve.metrics import TYPE
from smallbignet.serve.models import Question
from smallbignet.serve.refusals import Refusal
from smallbignet.serve.service import Service
from smallbignet.serve.uploads import harmless
from smallbignet.serve.work import Lane, Work

log = logging.getLogger(__name__)
router = APIRouter()

VIDEO = {"type": "string", "format": "binary"}
FORM = {"type": "object", "required": ["file"], "properties": {"file": VIDEO}}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": VIDEO}, "multipart/form-data": {"schema": FORM}},
    }
}


def fails(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of a route's errors."""
    return {status: {"model": ErrorForm} for status in statuses}


TAKING = fails(400, 404, 408, 413, 415, 422, 429, 500, 503)


def get_service(request: Request) -> Service:
    return request.app.state.service


def read_question(
    model: Annotated[str, Query(description="name of the model; the first one if not given")] = "",
    name: Annotated[str, Query(description="name of the file, where the body is the file itself")] = "",
    top: Annotated[int, Query(ge=1, le=30_000, description="number of labels")] = 5,
    views: Annotated[str, Query(description="clips x crops, such as 10x3; auto for the model's own")] = "auto",
    timeline: Annotated[bool, Query(description="also say what happens when")] = False,
    explain: Annotated[bool, Query(description="also say what each place contributed to the best label")] = False,
    unknown: Annotated[bool, Query(description="put unknown first where the best score is below its threshold")] = False,
) -> Question:
    return Question(model, harmless(name), top, views, timeline, explain, unknown)


Served = Annotated[Service, Depends(get_service)]
Asked = Annotated[Question, Depends(read_question)]


@router.post("/v1/predict", response_model=AnswerForm, responses=TAKING, openapi_extra=BODY)
async def predict(request: Request, service: Served, question: Asked) -> Response:
    """Labels a video."""
    work = await take(request, service, question, service.answers)
    service.answers.add(work)
    return JSONResponse(to_json(await answer_unless_gone(work, request)))


@router.post("/v1/jobs", status_code=202, response_model=JobForm, responses=TAKING, openapi_extra=BODY)
async def start_job(request: Request, service: Served, question: Asked) -> Response:
    """Labels a long video in the background."""
    work = await take(request, service, question, service.background)
    name = service.add_job(work)
    return JSONResponse(describe_job(name, work), 202, {"Location": f"/v1/jobs/{name}"})


@router.get("/v1/jobs/{id}", response_model=JobForm, responses=fails(404))
async def get_job(service: Served, id: str) -> Response:
    """How far a job is, and its result."""
    return JSONResponse(describe_job(id, service.find_job(id)))


@router.delete("/v1/jobs/{id}", response_model=JobForm, responses=fails(404))
async def cancel_job(service: Served, id: str) -> Response:
    """Cancels a job that is not done."""
    work = service.find_job(id)
    await asyncio.to_thread(work.cancel)
    return JSONResponse(describe_job(id, work))


@router.get("/v1/models", response_model=ModelsForm)
async def list_models(service: Served) -> Response:
    """The models that can be asked."""
    models = [model.describe() for model in service.models.values()]
    return JSONResponse(to_json(ModelsForm(models, service.settings.max_bytes)))


@router.get("/v1/model", response_model=ModelForm, responses=fails(404))
async def get_model(service: Served, model: str = "") -> Response:
    """One model; the first one without a name."""
    return JSONResponse(to_json(service.find_model(model).describe()))


@router.get("/healthz", response_model=HealthForm)
async def health() -> Response:
    """Whether the server lives."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", response_model=HealthForm, responses={503: {"model": HealthForm}})
async def ready(service: Served) -> Response:
    """Whether the server takes work."""
    status = service.status
    return JSONResponse({"status": status}, 200 if status == "ready" else 503)


@router.get("/metrics", response_class=PlainTextResponse)
async def show_metrics(service: Served) -> Response:
    """Figures for Prometheus."""
    return Response(service.metrics.text(), media_type=TYPE)


async def take(request: Request, service: Service, question: Question, lane: Lane) -> Work:
    """Receives the video of a question, if there is room for it."""
    service.check(question, lane)
    upload = await service.uploads.receive(request, question.name)
    try:
        lane.check_room()  # others may have come while it was sent
    except Refusal:
        service.uploads.remove(upload)
        raise
    return Work(replace(question, name=upload.name), upload)


async def answer_unless_gone(work: Work, request: Request) -> AnswerForm:
    """Waits for the answer. Where the client goes before it comes, the work is cancelled."""
    answer: asyncio.Future[Any] = asyncio.wrap_future(work.future)
    gone: asyncio.Future[Any] = asyncio.ensure_future(
        request.receive()
    )  # the body has been read, so what comes next is the end
    try:
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            await asyncio.to_thread(work.cancel)
            raise Refusal(499, "the client has gone")
        return answer.result()
    except Refusal:
        raise
    except Exception as error:
        raise to_refusal(error) from error
    finally:
        gone.cancel()


def to_refusal(error: BaseException) -> Refusal:
    """What a client is told of work that failed."""
    if isinstance(error, WorkError):
        return Refusal(500, str(error))
    if isinstance(error, SmallBigError):
        return Refusal(422, error.what)
    log.error("unexpected error", exc_info=error)
    return Refusal(500, "an unexpected error, which the server's log shows")


def describe_job(name: str, work: Work) -> dict[str, Any]:
    """The form of a job."""
    state = work.state
    work.is_told = bool(work.ended)
    error = work.future.exception() if state == "failed" else None
    progress = 1.0 if state == "done" else round(work.progress, 3)
    form = to_json(JobForm(name, state, progress, error=to_refusal(error).what if error else ""))
    return form | ({"result": to_json(work.future.result())} if state == "done" else {})
