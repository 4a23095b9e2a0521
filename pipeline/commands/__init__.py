"""What the commands of `inkmill` do, as functions of plain values; `pipeline.cli` only parses and prints."""
