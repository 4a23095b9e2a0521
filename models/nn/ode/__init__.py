"""Neural differential equations, the parts of SketchODE's models.

From below: `runge_kutta` (methods as tables, the plain loop), `steps` and `network` (what a fast solve is given),
`sweeps` in torch and `compiled` over `kernel` and `buffers` (its two implementations), `fused` (one autograd node over
either), `dynamics` (the right-hand sides, and how they are solved), `cnf` (log-densities). Time is in `grid`, `spline`
and `ragged`; `model` holds what the models share.
"""
