"""`python -m pipeline DATASET MODEL`: the training flow in this process; what DVC's `train` stages run."""

from __future__ import annotations

import sys

from ink.errors import report_errors
from pipeline.environment import load_environment


def main() -> None:
    """Run the flow of one model on one dataset and print its numbers."""
    with report_errors():
        dataset, model = sys.argv[1:]
        load_environment()
        from pipeline import results  # not before: Prefect reads its settings when it is imported
        from pipeline.train import train_model

        print(results.one_line(train_model(dataset, model)))


if __name__ == "__main__":
    main()
