import math

from harness.figures import latency, ms, table


def test_percentiles() -> None:
    found = latency([value / 1000 for value in range(101)])
    assert (found.count, found.max) == (101, 0.1)
    assert (found.p50, found.p90, found.p99) == (0.05, 0.09, 0.099)


def test_no_durations_have_no_percentiles() -> None:
    found = latency([])
    assert found.count == 0
    assert math.isnan(found.p50)
    assert math.isnan(found.max)


def test_milliseconds_have_three_digits() -> None:
    assert [ms(0.00123456), ms(0.1234), ms(12.345)] == ["1.23 ms", "123 ms", "12300 ms"]


def test_tables_are_aligned() -> None:
    lines = table(["name", "n"], [["a", 1], ["longer", 22]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2] == "| a      | 1  |"
