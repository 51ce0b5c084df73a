"""Boxes and points on the command line: numbers with commas between them."""

import click

from sam3_engine.prompt_values import COORDINATE_LIMIT


class Numbers(click.ParamType[tuple[float, ...]]):
    """A fixed count of numbers, as a tuple of floats. Boxes get their smaller corner first."""

    def __init__(self, *parts: str) -> None:
        self.name = ",".join(parts)
        self._count = len(parts)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Raises click.BadParameter for any other text."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != self._count or not all(abs(number) <= COORDINATE_LIMIT for number in numbers):
            self.fail(f"expected {self.name}, got {value!r}", param, ctx)
        if self._count == 4:
            x0, y0, x1, y1 = numbers
            return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
        return numbers


BOX = Numbers("X0", "Y0", "X1", "Y1")
POINT = Numbers("X", "Y")
