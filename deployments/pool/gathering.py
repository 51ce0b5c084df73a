"""Many small questions as few calls: those that come while one call is under way go together in the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Gathering(Generic[Question, Answer]):
    """Asks `call`, which gives one answer per question, in order. One call at a time; alone, a question is sent at
    once."""

    def __init__(self, call: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]]) -> None:
        self._call = call
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer. Raises what the call that it went with raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((question, answer))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            gathered, self._waiting = self._waiting, []
            asked = [(question, answer) for question, answer in gathered if not answer.done()]
            if asked:
                await self._send(asked)

    async def _send(self, asked: Sequence[tuple[Question, "asyncio.Future[Answer]"]]) -> None:
        try:
            found = await self._call([question for question, _ in asked])
        except Exception as error:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for (_, answer), one in zip(asked, found, strict=True):
                if not answer.done():
                    answer.set_result(one)
