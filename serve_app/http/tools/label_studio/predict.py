"""One request for predictions: suggestions for many tasks, or the answer to what an annotator drew in one."""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from deployments.protocol import Answer, ConceptRequest, ImageFile, VisualRequest
from sam3_engine.types import ImageSize
from serve_app.http.errors import InvalidRequest
from serve_app.http.sam3.call import all_or_none
from serve_app.http.schemas import MAX_PROMPTS
from serve_app.http.tools.asking import OF_THE_IMAGE, Asking, Question, in_parts, threshold_of
from serve_app.http.tools.label_studio.config import Control, LabelConfig
from serve_app.http.tools.label_studio.prompts import concept, prompts_of
from serve_app.http.tools.label_studio.regions import Found, regions_of, score_of
from serve_app.http.tools.label_studio.schemas import LabelStudioDrawn, LabelStudioPredict, LabelStudioTask
from serve_app.http.tools.label_studio.tasks import Server, image_of

Regions = list[dict[str, Any]]
Wanted = tuple[Control, str]


async def predict(
    asking: Asking, config: LabelConfig, fields: LabelStudioPredict, server: Server | None
) -> list[Regions | None]:
    """The regions of each task, in order; None for a task whose image cannot be read, if others can. Raises the errors
    of the table."""
    predictor = _Predictor(asking, config, server)
    context = fields.params.context if fields.params else None
    if context is not None and context.result:
        if len(fields.tasks) != 1:
            raise InvalidRequest.one("a context is about one task", "tasks")
        return [await predictor.drawn(fields.tasks[0], context.result)]
    return await predictor.suggestions(fields.tasks)


class _Predictor:
    def __init__(self, asking: Asking, config: LabelConfig, server: Server | None) -> None:
        self._asking = asking
        self._config = config
        self._server = server
        find = asking.context.models.find
        self._models = {control.model: find(control.model) for control in config.controls}

    def _image(self, task: LabelStudioTask, name: str) -> ImageFile:
        asking = self._asking
        fetcher = asking.context.fetcher
        return image_of(task, self._config.images[name], self._server, fetcher, asking.tenant)

    async def drawn(self, task: LabelStudioTask, drawn: Sequence[LabelStudioDrawn]) -> Regions:
        prompts = prompts_of(drawn)
        control, label = self._config.maker(prompts.label, prompts.image)
        image = self._image(task, control.to_name)
        model = self._models[control.model]
        await self._asking.enter([image])
        if prompts.objects:
            clicks = VisualRequest(prompts=prompts.objects, mask_format="rle")
            answer = await self._asking.ask(image, clicks, model)
            if answer.size != prompts.size:
                raise InvalidRequest.one(
                    f"the image has {answer.size.width} x {answer.size.height} pixels, and not original_width x "
                    "original_height",
                    "params",
                    "context",
                    "result",
                )
            instances, size = answer.results, answer.size
        else:
            phrase = prompts.phrase or control.labels[label]
            least = threshold_of(model, control.threshold)
            request = ConceptRequest(prompts=[concept(phrase, least)], mask_format="rle")
            found = await self._asking.ask(image, request, model)
            instances, size = found.results[0].instances, found.size
        return await asyncio.to_thread(
            regions_of, [(control, label, instance) for instance in instances], size
        )

    async def suggestions(self, tasks: Sequence[LabelStudioTask]) -> list[Regions | None]:
        if not self._config.makers():
            raise InvalidRequest.one(
                "it has no BrushLabels, PolygonLabels or RectangleLabels with labels", "label_config"
            )
        regions: list[Regions | None] = []
        error: Exception | None = None
        for some in in_parts(tasks, self._asking.context.settings.max_images):
            for found in await self._some(some):
                error = found if isinstance(found, Exception) else error
                regions.append(None if isinstance(found, Exception) else found)
        if error is not None and all(found is None for found in regions):
            raise error
        return regions

    async def _some(self, tasks: Sequence[LabelStudioTask]) -> list[Regions | Exception]:
        names = {control.to_name for control, _ in self._config.makers()}
        images: list[dict[str, ImageFile] | Exception] = []
        for task in tasks:
            try:
                images.append({name: self._image(task, name) for name in names})
            except OF_THE_IMAGE as error:
                images.append(error)
        files = [file for each in images if isinstance(each, dict) for file in each.values()]
        await self._asking.enter(files)
        return await all_or_none([self._of_task(each) for each in images])

    async def _of_task(self, images: dict[str, ImageFile] | Exception) -> Regions | Exception:
        if isinstance(images, Exception):
            return images
        questions = [(images[name], wanted) for name in images for wanted in self._wanted(name)]
        try:
            answers = await self._asking.ask_all(
                [self._question(image, wanted) for image, wanted in questions]
            )
        except OF_THE_IMAGE as error:
            return error
        return await asyncio.to_thread(_regions, [wanted for _, wanted in questions], answers)

    def _wanted(self, name: str) -> list[Sequence[Wanted]]:
        """The tools and labels of an image: those of one model, as many at a time as one request may hold prompts."""
        wanted = [one for one in self._config.makers() if one[0].to_name == name]
        of_models = groupby(wanted, key=lambda one: self._models[one[0].model].name)
        return [part for _, some in of_models for part in in_parts(list(some), MAX_PROMPTS)]

    def _question(self, image: ImageFile, wanted: Sequence[Wanted]) -> Question:
        model = self._models[wanted[0][0].model]
        prompts = [
            concept(control.labels[label], threshold_of(model, control.threshold))
            for control, label in wanted
        ]
        return image, ConceptRequest(prompts=prompts, mask_format="rle"), model


def _regions(asked: Sequence[Sequence[Wanted]], answers: Sequence[Answer[Any]]) -> Regions:
    regions: Regions = []
    for wanted, answer in zip(asked, answers, strict=True):
        found: list[Found] = [
            (control, label, instance)
            for (control, label), result in zip(wanted, answer.results, strict=True)
            for instance in result.instances
        ]
        size: ImageSize = answer.size
        regions += regions_of(found, size)
    return regions


def prediction(regions: Regions, version: str) -> dict[str, Any]:
    """A prediction as Label Studio keeps it."""
    return {"result": regions, "score": score_of(regions), "model_version": version}
