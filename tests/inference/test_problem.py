"""Solutions put together from those of some pixels, pixel by pixel and in every part."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from physfuse.inference.gauss_newton import Options, iterate
from physfuse.inference.problem import Problem, Solution, State, chosen, collect, merge

from .linear import linear_problem

DEFAULT = Options()


def solve(problem: Problem, options: Options = DEFAULT, start: float = 0.0) -> Solution:
    layout = problem.layout
    x = torch.full((problem.n_knots, problem.n_pixels, layout.n_varying), start).double()
    c = torch.full((problem.n_pixels, layout.n_constant), start).double()
    with torch.no_grad():
        return iterate(problem, x, c, options)


def parts(state: State) -> list[Tensor]:
    """Everything of a state with the pixels first."""
    return [
        state.x.transpose(0, 1),
        state.c,
        state.weights.transpose(0, 1),
        *(field for part in state.linear for field in (part.channel, part.jacobian)),
        *(field for part in state.frozen for field in (part.sd, part.gain)),
    ]


def assert_same(a: Solution, b: Solution) -> None:
    for mine, yours in zip(parts(a.state), parts(b.state), strict=True):
        torch.testing.assert_close(mine, yours, rtol=0, atol=0)
    for name in ("status", "iterations", "cost", "damping"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=0)


def test_a_solution_taken_apart_and_collected_is_the_same():
    solution = solve(linear_problem(6), Options(max_iterations=3))
    pieces = [torch.tensor(part) for part in ([4, 1], [5], [0, 3, 2])]
    assert_same(collect([(at, solution.take(at)) for at in pieces]), solution)


def test_a_problem_of_some_pixels_has_their_solution():
    problem = linear_problem(5)
    at = torch.tensor([3, 0])
    apart, together = solve(problem.take(at)), solve(problem).take(at)
    for mine, yours in zip(parts(apart.state), parts(together.state), strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-9, atol=1e-9)


def test_chosen_takes_each_pixel_whole():
    problem = linear_problem(4)
    one, other = solve(problem).state, solve(problem, Options(max_iterations=1), 2.0).state
    take = torch.tensor([True, False, False, True])
    found = chosen(take, one, other)
    for mine, a, b in zip(parts(found), parts(one), parts(other), strict=True):
        for p in range(4):
            torch.testing.assert_close(mine[p], (a if take[p] else b)[p], rtol=0, atol=0)
    assert chosen(torch.ones(4, dtype=torch.bool), one, other) is one


def test_merge_takes_the_likelier_of_two_starts():
    problem = linear_problem(6)
    first = solve(problem, Options(max_iterations=4))
    pixels = torch.tensor([5, 0, 2])
    second = solve(problem.take(pixels), Options(max_iterations=1), 2.0)
    second = replace(second, cost=first.cost[pixels] + torch.tensor([-1.0, 1.0, -2.0]).double())
    merged = merge(first, second, pixels)
    rest = torch.tensor([0, 1, 3, 4])
    spent = first.iterations.clone()
    spent[pixels] += second.iterations
    assert merged.iterations.tolist() == spent.tolist()
    unspent = replace(merged, iterations=first.iterations)
    assert_same(unspent.take(rest), first.take(rest))
    better = torch.tensor([0, 2])
    theirs = replace(second.take(better), iterations=first.iterations[pixels[better]])
    assert_same(unspent.take(pixels[better]), theirs)


def test_merge_with_nothing_better_is_the_first():
    problem = linear_problem(4)
    first = solve(problem)
    pixels = torch.tensor([1, 3])
    worse = solve(problem.take(pixels), Options(max_iterations=1), 9.0)
    worse = replace(worse, cost=first.cost[pixels] + 1.0)
    merged = merge(first, worse, pixels)
    assert_same(replace(merged, iterations=first.iterations), first)
