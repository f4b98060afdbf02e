import pytest

from orchestrator_entrypoints.sweeps.cells import Axis, count_cells, grid, parse_axis, sample

AXES = [parse_axis("cap=1000..50000:500"), parse_axis("lot=1,10,100"), Axis("x", ("a", "b"))]


def test_a_sample_is_of_the_grid_without_repeats_and_the_same_for_a_seed() -> None:
    drawn = sample(AXES, 50, seed=7)
    assert drawn == sample(AXES, 50, seed=7)
    assert drawn != sample(AXES, 50, seed=8)
    assert len(set(drawn)) == 50
    assert set(drawn) <= set(grid(AXES))
    assert sample(AXES, 10_000, seed=7) == grid(AXES)


def test_a_grid_too_large_to_be_laid_out_can_be_sampled() -> None:
    axes = [Axis(name, tuple(map(str, range(1000)))) for name in "abcdef"]
    assert count_cells(axes) == 10**18
    assert len(sample(axes, 200, seed=1)) == 200


@pytest.mark.parametrize(
    "text",
    [
        *("cap", "=1", "cap=", "cap=1,,2", "cap=1,1", "cap=1,1.0", "cap=1000,1e3"),
        *("cap=1..5", "cap=5..1:1", "cap=1..x:1", "cap=0..1:0", "c=1..9e9:1"),
        "c=1..9000:1,1.5..9000:1",
    ],
)
def test_an_axis_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|twice|more than"):
        parse_axis(text)


def test_a_range_of_steps_smaller_than_python_keeps_ends() -> None:
    first, last = f"0.1{'0' * 30}", f"0.1{'0' * 29}2"
    assert len(parse_axis(f"buffer={first}..{last}:1e-31").values) == 3
    with pytest.raises(ValueError, match="at most 40 digits"):
        parse_axis("cap=1..2:1e-50")


def test_more_cells_than_an_index_may_have_can_be_sampled() -> None:
    axes = [Axis(name, tuple(map(str, range(10_000)))) for name in "abcdef"]
    assert count_cells(axes) == 10**24
    assert len(set(sample(axes, 3, seed=0))) == 3
