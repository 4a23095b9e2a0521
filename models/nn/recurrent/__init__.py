"""Drawings predicted row by row, the parts of SketchRNN's models.

`stroke5` is how a drawing is told, `lstm` the cells, `mixture` what they predict, `stroke_decoder` the whole decoder.
"""
