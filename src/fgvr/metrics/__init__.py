"""Metrics of naming without a given vocabulary; every figure can carry a bootstrap interval."""

from fgvr.metrics.accuracy import coverage as coverage
from fgvr.metrics.accuracy import exact_accuracy as exact_accuracy
from fgvr.metrics.accuracy import synonym_accuracy as synonym_accuracy
from fgvr.metrics.accuracy import top_k_accuracy as top_k_accuracy
from fgvr.metrics.bootstrap import Interval as Interval
from fgvr.metrics.bootstrap import bootstrap as bootstrap
from fgvr.metrics.bootstrap import bootstrap_contingency as bootstrap_contingency
from fgvr.metrics.bootstrap import bootstrap_counts as bootstrap_counts
from fgvr.metrics.bootstrap import bootstrap_difference as bootstrap_difference
from fgvr.metrics.bootstrap import bootstrap_mean as bootstrap_mean
from fgvr.metrics.calibration import ReliabilityBin as ReliabilityBin
from fgvr.metrics.calibration import RiskCoverage as RiskCoverage
from fgvr.metrics.calibration import expected_calibration_error as expected_calibration_error
from fgvr.metrics.calibration import reliability_bins as reliability_bins
from fgvr.metrics.calibration import risk_coverage as risk_coverage
from fgvr.metrics.clustering import adjusted_rand_index as adjusted_rand_index
from fgvr.metrics.clustering import clustering_accuracy as clustering_accuracy
from fgvr.metrics.clustering import normalised_mutual_information as normalised_mutual_information
from fgvr.metrics.evaluate import Evaluation as Evaluation
from fgvr.metrics.evaluate import evaluate as evaluate
from fgvr.metrics.semantic import SemanticAccuracy as SemanticAccuracy
from fgvr.metrics.semantic import semantic_accuracy as semantic_accuracy
from fgvr.metrics.siou import semantic_iou as semantic_iou

__all__ = [
    "Evaluation",
    "Interval",
    "ReliabilityBin",
    "RiskCoverage",
    "SemanticAccuracy",
    "adjusted_rand_index",
    "bootstrap",
    "bootstrap_contingency",
    "bootstrap_counts",
    "bootstrap_difference",
    "bootstrap_mean",
    "clustering_accuracy",
    "coverage",
    "evaluate",
    "exact_accuracy",
    "expected_calibration_error",
    "normalised_mutual_information",
    "reliability_bins",
    "risk_coverage",
    "semantic_accuracy",
    "semantic_iou",
    "synonym_accuracy",
    "top_k_accuracy",
]
