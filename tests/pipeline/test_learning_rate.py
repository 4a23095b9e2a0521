"""Promise: the learning rate is the paper's: cosines, each period lower than the one before."""

import math

import pytest
import torch

from pipeline import fit
from pipeline.settings import FitParams

RECIPE = FitParams(
    steps=11, batch_size=6, learning_rate=0.01, weight_decay=0.1, clip_norm=1.0, cosine_cycles=2, cycle_decay=0.5
)


def test_one_cosine_is_torchs_cosine():
    recipe = RECIPE.model_copy(update={"cosine_cycles": 1})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for step in range(40):
        assert fit.learning_rate(recipe, step, 40) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        scheduler.step()
    assert fit.learning_rate(recipe, 40, 40) == pytest.approx(0, abs=1e-18)


def test_three_periods_of_a_run_are_the_papers_periods_of_100_epochs():
    """Section 5.1: a cosine of 100 epochs, its amplitude a quarter of the one before; here 300 epochs of 7 steps."""
    recipe = RECIPE.model_copy(update={"learning_rate": 3e-3, "cosine_cycles": 3, "cycle_decay": 0.25})
    for epoch in range(300):
        expected = 3e-3 * 0.25 ** (epoch // 100) * (1 + math.cos(math.pi * (epoch % 100) / 100)) / 2
        assert fit.learning_rate(recipe, 7 * epoch, 2100) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_each_cosine_period_starts_lower():
    recipe = RECIPE.model_copy(update={"learning_rate": 0.8, "cosine_cycles": 3, "cycle_decay": 0.25})
    rates = [fit.learning_rate(recipe, step, 300) for step in range(301)]
    assert rates[0] == 0.8
    assert rates[100] == pytest.approx(0.2) and rates[200] == pytest.approx(0.05)
    assert rates[50] == pytest.approx(0.4) and rates[150] == pytest.approx(0.1)
    assert rates[99] < 0.001 and rates[300] == pytest.approx(0, abs=1e-18)
