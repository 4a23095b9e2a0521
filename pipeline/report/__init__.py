"""The dataset's report, one page that compares its models; charts, drawings and tables serve the other pages too."""
