"""The static preview of a run: one HTML page that opens from disk and asks nothing of the network."""

from curate.report.build import build_report

__all__ = ["build_report"]
