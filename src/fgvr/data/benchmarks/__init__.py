"""Readers of published data sets, one file each, from the files as distributed. Nothing is ever downloaded."""

from fgvr.data.benchmarks.base import Benchmark as Benchmark
from fgvr.data.benchmarks.base import Problem as Problem
from fgvr.data.benchmarks.recognise import read_benchmark as read_benchmark
from fgvr.data.benchmarks.recognise import recognise as recognise
