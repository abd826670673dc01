"""What the server does behind its addresses: it takes work, hands it on, and keeps jobs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from threading import Thread

from smallbignet.errors import SmallBigError
from smallbignet.serve.engine import Engine
from smallbignet.serve.forms import AnswerForm
from smallbignet.serve.metrics import Metrics
from smallbignet.serve.models import Question, Road, ServedModel
from smallbignet.serve.readers import Reader, Readers
from smallbignet.serve.refusals import Refusal, busy
from smallbignet.serve.settings import ServeSettings
from smallbignet.serve.uploads import Uploads
from smallbignet.serve.work import Lane, Work


class Service:
    """Models, and all that they need to answer many clients at a time.

    Args:
        models: the first one answers where a request names none.
    """

    def __init__(self, models: Sequence[ServedModel], settings: ServeSettings):
        self.models = {model.name: model for model in models}
        self.settings = settings
        self.metrics = Metrics()
        self.jobs: dict[str, Work] = {}
        self.is_ready = False
        self.is_stopping = False

    def start(self) -> None:
        """Starts threads and processes. The service is ready when these have imported what they need, a few seconds later."""
        settings = self.settings
        self.uploads = Uploads(settings)
        self.engine = Engine(self.metrics.observe_batch)
        self.answers = self._lane(settings.workers)
        self.background = self._lane(1)  # so that long videos leave room for short ones
        self.metrics.watch("smallbig_waiting", "Videos that wait or are worked on", lambda: len(self.answers.works))
        self.metrics.watch("smallbig_jobs", "Jobs that wait or are worked on", lambda: len(self.background.works))
        self.metrics.watch("smallbig_lost_readers", "Processes that crashed, hung or were stopped", lambda: self.num_lost)
        Thread(target=self._become_ready, daemon=True).start()

    def _lane(self, count: int) -> Lane:
        readers = Readers(count, self.settings.memory)
        return Lane(readers, self.settings.most_waiting, self._answer, lambda work: self.uploads.remove(work.upload))

    def _become_ready(self) -> None:
        self.answers.readers.wait()
        self.background.readers.wait()
        self.is_ready = True

    def close(self) -> None:
        """Ends all work at once."""
        self.is_ready = False
        self.answers.close()
        self.background.close()
        self.engine.close()
        self.uploads.close()

    @property
    def status(self) -> str:
        """Whether the service takes work: ready, starting or stopping."""
        if self.is_stopping:
            return "stopping"
        return "ready" if self.is_ready else "starting"

    @property
    def num_lost(self) -> int:
        """Processes that crashed, hung or were stopped."""
        return self.answers.readers.num_lost + self.background.readers.num_lost

    @property
    def works(self) -> list[Work]:
        """The videos that wait or are worked on."""
        return [*self.answers.works, *self.background.works]

    def can_stop(self, kept: float) -> bool:
        """Whether all work is done, and its results have been asked for, or were not asked for in `kept` seconds."""
        now = time.monotonic()
        told = all(work.is_told or now - work.ended > kept for work in self.jobs.values())
        return told and not self.works and not self.uploads.num_coming

    def cancel_all(self) -> None:
        """Cancels all work."""
        for work in self.works:
            work.cancel()

    def find_model(self, name: str) -> ServedModel:
        """Returns the model of a name, or the first one without a name.

        Raises:
            Refusal: there is no such model.
        """
        if not name:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refusal(404, f"no such model: the models are {', '.join(self.models)}")
        return self.models[name]

    def check(self, question: Question, lane: Lane) -> None:
        """Raises a Refusal where the question can't be answered, or there is no room for it."""
        if self.is_stopping:
            raise busy(503, "the server is stopping: try again later", 10)
        if not self.is_ready:
            raise busy(503, "the server is starting: try again in a few seconds", 2)
        try:
            self.find_model(question.model).check(question)
        except Refusal:
            raise
        except SmallBigError as error:
            raise Refusal(422, str(error)) from None
        lane.check_room()

    def _answer(self, work: Work, reader: Reader) -> AnswerForm:
        settings = self.settings
        seconds = settings.job_seconds if work in self.background.works else settings.answer_seconds
        deadline = time.monotonic() + seconds
        road = Road(reader, self.engine, settings.videos, deadline, work.advance)
        return self.find_model(work.question.model).answer(work.question, str(work.upload.file), road)

    def add_job(self, work: Work) -> str:
        """Puts work in the background, and returns the name to ask for it by, which nobody can guess."""
        name = secrets.token_urlsafe(16)
        self.jobs[name] = work
        self.background.add(work)
        return name

    def find_job(self, name: str) -> Work:
        """Returns a job.

        Raises:
            Refusal: there is no such job, or it was done long ago.
        """
        now = time.monotonic()
        for key, work in list(self.jobs.items()):
            if work.ended and now - work.ended > self.settings.keep_seconds:
                del self.jobs[key]
        if name not in self.jobs:
            raise Refusal(404, f"no such job: a job is kept for {self.settings.keep_seconds:g} seconds after its end")
        return self.jobs[name]
