"""Prefect flows, the command line and the report: what runs the stages and the models, and shows what came out."""
