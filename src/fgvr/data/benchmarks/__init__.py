"""Readers of published data sets, one file each, from the files as distributed. Nothing is ever downloaded."""

from fgvr.data.benchmarks.base import Benchmark as Benchmark
from fgvr.data.benchmarks.base import Problem as Problem
