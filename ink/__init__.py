"""Ink: the vocabulary that every room of Inkmill shares.

Drawings (`ink.table`), their geometry (`ink.geometry`, `ink.resample`, `ink.rdp`), noise on them (`ink.perlin`,
`ink.jitter`), their pictures (`ink.raster`, `ink.svg`), their source formats (`ink.formats`) and the metrics on
them (`ink.metrics`). This package imports nothing else of ours.
"""
