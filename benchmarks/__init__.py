# SPDX-License-Identifier: BSD-3-Clause
"""Benchmarks of fastnn: ratios to other libraries and to what the processor can do, side by side in one run.

``python -m benchmarks`` from the top of the repository; README.md says what is measured and how to add to it.
"""
