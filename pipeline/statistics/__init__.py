"""The page on a dataset: what its drawings are, in numbers and pictures (`inkmill data stats`)."""
