"""The five DVC stages, one file each: download, simplify, normalize, augment, shard.

Each reads the folder of the one before it and writes its own, whole or not at all, with a manifest that
counts every drawing: in = out + quarantined + skipped.
"""
