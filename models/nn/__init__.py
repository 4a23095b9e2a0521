"""Parts that two systems share: the ODE engine, splines, small networks."""
