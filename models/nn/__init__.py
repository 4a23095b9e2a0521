"""Parts that two systems share: `ode` and `recurrent`; what stands here beside them serves any of them.

`capture` makes a training step one CUDA graph, `recompute` gives a long chain its gradient in constant memory,
`invertible` is a linear map with a known determinant.
"""
