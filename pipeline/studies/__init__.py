"""Studies: experiments over a grid that `params.yaml` declares under `studies:`, run by `inkmill study NAME`.

A study is a block: what it asks, dataset, models, a grid (dotted path of params.yaml -> values), a `work` (what one
cell does: `works.WORKS`), a `view` (how the results are shown: `views.VIEWS`) and two budgets. A new study over a grid
needs only its block; a new kind of picture one function in a view's file and its line in `VIEWS`.
"""
