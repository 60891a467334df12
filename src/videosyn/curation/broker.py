"""RabbitMQ as dramatiq sees it: a durable quorum queue per stage, in which hints travel. Next: `queue_engine.py`.

A hint is (stage, unit): somebody should look into the ledger for that stage. It may be lost, doubled or late; the
ledger alone says what is to do, so a lost hint costs time until the next sweep and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pika
import pika.exceptions
from dramatiq import Message
from dramatiq.brokers.rabbitmq import DEAD_MESSAGE_TTL, RabbitmqBroker
from dramatiq.common import dq_name, xq_name
from dramatiq.errors import BrokerError
from dramatiq.middleware import Retries
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from videosyn.core.errors import UserError
from videosyn.curation.database import without_password
from videosyn.curation.tasks import Task

Answer = TypeVar("Answer")

ACTOR = "work"
MOST_HINTS = 32
"""Sent for one batch of new tasks; who takes one up goes on while there is work."""
MOST_WAITING = 256
"""A sweep leaves no more than this in a queue."""
UNUSED_MS = 600 * 1000
"""After so long without a worker or a sweep the broker removes a queue by itself; a later hint declares it again."""


class HintBroker(RabbitmqBroker):
    """dramatiq's broker with publisher confirms on and quorum queues, which survive the loss of a node.

    A worker whose ledger is out of reach raises, and its hint is retried with back-off; a stage's own failures are
    counted in the ledger and raise nothing here.
    """

    def __init__(self, url: str) -> None:
        retries = Retries(max_retries=10, min_backoff=1000, max_backoff=60_000)
        super().__init__(url=url, confirm_delivery=True, middleware=[retries])

    @property
    def connection(self) -> pika.BlockingConnection:
        """The calling thread's. pika's time-outs while a connection opens are none of its AMQPErrors, which is what
        dramatiq retries: a broker too busy to greet would end the thread that asked.
        """
        try:
            return super().connection
        except AMQPConnectorException as error:
            raise pika.exceptions.AMQPConnectionError(error) from error

    @connection.deleter
    def connection(self) -> None:
        RabbitmqBroker.connection.__delete__(self)

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-expires": UNUSED_MS}

    def _declare_queue(self, queue_name: str) -> Any:
        arguments = {**self._build_queue_arguments(queue_name), "x-queue-type": "quorum"}
        return self.channel.queue_declare(queue=queue_name, durable=True, arguments=arguments)

    def _declare_xq_queue(self, queue_name: str) -> Any:
        arguments = {"x-message-ttl": DEAD_MESSAGE_TTL, "x-expires": UNUSED_MS}
        return self.channel.queue_declare(queue=xq_name(queue_name), durable=True, arguments=arguments)

    def remove_unread(self, queue_name: str) -> None:
        """Removes a queue that no worker reads, its delayed messages and its dead letters."""
        if self._declare_queue(queue_name).method.consumer_count == 0:
            for name in (queue_name, dq_name(queue_name), xq_name(queue_name)):
                self.channel.queue_delete(name)


class Hints:
    """Sends hints about one dataset. May be used from several threads: each has a connection of its own."""

    def __init__(self, url: str, dataset_id: str) -> None:
        self._broker = HintBroker(url)
        self._dataset_id = dataset_id
        self._away = False

    def send(self, tasks: Sequence[Task]) -> None:
        """Hints at new tasks. A broker that is away is no error: the next sweep hints again."""
        of_stage: dict[str, list[Task]] = {}
        for task in tasks:
            of_stage.setdefault(task.stage, []).append(task)
        with self._patience():
            for some in of_stage.values():
                for task in some[:MOST_HINTS]:
                    self._broker.enqueue(self.message(task.stage, task.unit))

    def top_up(self, ready: Mapping[str, int]) -> None:
        """The sweep: as many hints per stage as it has tasks that can be claimed, MOST_WAITING at most."""
        with self._patience():
            for stage, count in ready.items():
                waiting = self._waiting(stage)
                for _ in range(min(count, MOST_WAITING) - waiting):
                    self._broker.enqueue(self.message(stage, "any"))

    def remove_unread(self, stages: Iterable[str]) -> None:
        """Removes the queues that no worker reads any more. A quorum queue holds three of the broker's file handles:
        those of finished datasets would soon leave none for a connection.
        """
        with self._patience():
            for stage in stages:
                self._again(self._broker.remove_unread, queue_name(self._dataset_id, stage))

    def message(self, stage: str, unit: str) -> Message:
        return Message(
            queue_name=queue_name(self._dataset_id, stage), actor_name=ACTOR, args=(stage, unit), kwargs={}, options={}
        )

    def close(self) -> None:
        self._broker.close()

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Says once when the broker goes away and once when it is back."""
        log = logging.getLogger(__name__)
        try:
            yield
        except (BrokerError, pika.exceptions.AMQPError):
            if not self._away:
                log.warning("the broker is away: hints wait until it is back")
            self._away = True
        else:
            if self._away:
                log.warning("the broker is back")
            self._away = False

    def _waiting(self, stage: str) -> int:
        return sum(self._again(self._broker.get_queue_message_counts, queue_name(self._dataset_id, stage))[:2])

    def _again(self, ask: Callable[[str], Answer], queue: str) -> Answer:
        """The broker closes connections that were idle: asks once more, on a new one."""
        try:
            return ask(queue)
        except pika.exceptions.AMQPError:
            del self._broker.connection
            return ask(queue)


def queue_name(dataset_id: str, stage: str) -> str:
    return f"videosyn.{dataset_id}.{stage}"


def check_broker(url: str) -> None:
    """Raises UserError where no RabbitMQ answers at `url`."""
    for name in ("pika", "dramatiq.worker"):  # they tell of every attempt to connect again; `Hints` says it once
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    shown = without_password(url)
    if not url.startswith(("amqp://", "amqps://")):
        raise UserError(f"a broker is an amqp:// URL, got {shown}")
    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"no RabbitMQ answers at {shown} ({why}): start it, or leave --engine at local") from error
