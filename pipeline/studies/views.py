"""How a study's results are shown: `VIEWS` is the only list. A new picture is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ink.errors import ParamsError
from ink.params import Params, check
from pipeline.studies import views_latent, views_likelihood, views_training
from pipeline.studies.cell import Finished
from pipeline.studies.shown import Shown
from pipeline.studies.works import NoOptions

Levels = Mapping[str, Sequence[str]]
"""Axis -> its levels."""


@dataclass(frozen=True)
class View:
    """A way to show results.

    Args:
        show: (finished cells, the block's `show`) -> what stands on the page.
        options: the class that the block's `show` is checked against.
        misfit: (the block's `show`, the grid's levels) -> what is wrong between the two, "" where nothing is.
    """

    show: Callable[[Sequence[Finished], dict[str, Any]], Shown]
    options: type[Params] = NoOptions
    misfit: Callable[[Any, Levels], str] = lambda options, levels: ""


VIEWS = {
    "table": View(views_training.table, views_training.TableOptions),
    "factors": View(views_training.factors, views_training.FactorsOptions, views_training.factors_misfit),
    "curve": View(views_training.curve, views_training.CurveOptions, views_training.curve_misfit),
    "tradeoff": View(views_likelihood.tradeoff, views_likelihood.TradeoffOptions),
    "parts": View(views_likelihood.parts, views_likelihood.PartsOptions),
    "sharing": View(views_likelihood.sharing, views_likelihood.SharingOptions),
    "near": View(views_latent.near),
    "walk": View(views_latent.walk),
    "abstract": View(views_latent.abstract),
    "resolve": View(views_latent.resolve),
    "one_shot": View(views_latent.one_shot),
}


def check_view(view: str, show: dict[str, Any], levels: Levels, where: str) -> None:
    """Check a block's `show` before any work.

    Raises:
        ParamsError: a key or value is wrong, or names an axis or level that the grid has not.
    """
    options = check(show, VIEWS[view].options, where)
    if misfit := VIEWS[view].misfit(options, levels):
        raise ParamsError(f"params.yaml, section {where}: {misfit}")
