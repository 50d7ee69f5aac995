"""One self-contained offline HTML page: plain data in, text out."""

from fgvr.report.data import CandidateExample as CandidateExample
from fgvr.report.data import ComparisonRow as ComparisonRow
from fgvr.report.data import EvaluationRow as EvaluationRow
from fgvr.report.data import LabelRow as LabelRow
from fgvr.report.data import MergedName as MergedName
from fgvr.report.data import ReportData as ReportData
from fgvr.report.data import StageUsage as StageUsage
from fgvr.report.data import TracePoint as TracePoint
from fgvr.report.data import UnnamedGroup as UnnamedGroup
from fgvr.report.render import render_report as render_report
from fgvr.report.render import write_report as write_report

__all__ = [
    "CandidateExample",
    "ComparisonRow",
    "EvaluationRow",
    "LabelRow",
    "MergedName",
    "ReportData",
    "StageUsage",
    "TracePoint",
    "UnnamedGroup",
    "render_report",
    "write_report",
]
