"""Charts: scales, ticks and lines."""

from xml.etree import ElementTree

import pytest

from dragoman.report.charts import chart, linear, logarithmic, scale, thin

# Charts


def test_linear_ticks_are_round_numbers():
    assert linear(0, 4000).ticks == [0, 1000, 2000, 3000, 4000]
    assert linear(0.07, 0.161).ticks == pytest.approx([0.08, 0.1, 0.12, 0.14, 0.16])
    axis = linear(2.0, 4.0)
    assert (axis.place(2.0), axis.place(3.0), axis.place(4.0)) == (0.0, 0.5, 1.0)


def test_logarithmic_scale_for_values_of_different_sizes():
    axis = scale([0.5, 1.0, 40.0])
    assert axis.log
    assert axis.ticks == pytest.approx([0.5, 1, 2, 5, 10, 20])
    assert axis.place(20) - axis.place(2) == pytest.approx(axis.place(10) - axis.place(1))
    assert logarithmic(1e-6, 1e6).ticks == pytest.approx([10.0**p for p in range(-6, 7, 2)])
    assert not scale([-1.0, 1.0, 40.0]).log


def test_a_few_extreme_values_do_not_flatten_the_rest():
    axis = scale([-1.0 + i % 3 for i in range(100)] + [900.0])
    assert axis.cut
    assert axis.place(1.0) - axis.place(-1.0) > 0.6
    same = scale([5.0, 5.0])
    assert 0.3 < same.place(5.0) < 0.7


def test_thin_averages_neighbours_and_keeps_the_end():
    points = [(float(i), float(i)) for i in range(1, 1002)]
    thinned = thin(points, 101)
    assert len(thinned) == 101
    assert thinned[0] == (5.5, 5.5)
    assert thinned[-1] == (1001.0, 1001.0)


def test_chart_draws_every_line_at_its_place():
    lines = {"a": [(0.0, 1.0), (10.0, 3.0)], "<b>": [(5.0, 2.0)]}
    figure = ElementTree.fromstring(chart("x & y", lines, {"fade<": 5.0}))
    polyline, circle = next(figure.iter("polyline")).attrib, next(figure.iter("circle")).attrib
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in polyline["points"].split())
    assert (x0, x1) == (54.0, 470.0)
    assert y0 > y1
    assert float(circle["cx"]) == (x0 + x1) / 2
    assert float(circle["cy"]) == pytest.approx((y0 + y1) / 2, abs=0.1)
    text = "".join(figure.itertext())
    assert "x & y" in text
    assert "<b> 2" in text
    assert "fade<" in text
