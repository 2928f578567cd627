# SPDX-License-Identifier: BSD-3-Clause
"""The command line: ``python -m fastnn`` and ``fastnn``.

Each command is a function that takes the parsed arguments; its module is imported only when it runs. To add one: a
function here, and its arguments in ``build_parser``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def run_demo(arguments: argparse.Namespace) -> None:
    from . import demo

    demo.run(save=arguments.save, plot=arguments.plot, threads=arguments.threads)


def run_info(arguments: argparse.Namespace) -> None:
    import fastnn as fn

    if arguments.model is None:
        fn.show_config()
    else:
        fn.load(arguments.model).summary()


def run_bench(arguments: argparse.Namespace) -> None:
    from . import bench

    bench.run(arguments.workloads, quick=arguments.quick)


def _positive(text: str) -> int:
    number = int(text)  # argparse turns a ValueError into "invalid ... value"
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastnn", description="Dense neural networks on a CPU, fast.", epilog="Start with: fastnn demo"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train on handwritten digits and show what that took",
        description="Train a network on handwritten digits, in seconds, and print its accuracy "
        "on images it has not seen, the speed of training and of a prediction.",
    )
    demo.add_argument("--save", metavar="FILE", help="write the trained network to FILE")
    demo.add_argument("--plot", metavar="FILE", help="draw the loss and some digits into FILE (needs matplotlib)")
    demo.add_argument("--threads", metavar="N", type=_positive, help="use N threads (default: as many as pay off)")
    demo.set_defaults(run=run_demo)

    info = commands.add_parser(
        "info",
        help="show this installation, or what is in a model file",
        description="Show this installation (version, instruction set, threads), or the network in a model file.",
    )
    info.add_argument("model", metavar="MODEL", nargs="?", help="a file written by net.save or demo --save")
    info.set_defaults(run=run_info)

    bench = commands.add_parser(
        "bench",
        help="how fast it is here, beside the other libraries that are installed",
        description="Time training and prediction beside PyTorch, JAX, scikit-learn and NumPy, whichever this "
        "Python has.",
        epilog="WORKLOAD is rl, pinn, table, fashion, predict or predict_table (default: all). The whole suite is in "
        "the source distribution: python -m benchmarks",
    )
    bench.add_argument("workloads", metavar="WORKLOAD", nargs="*", help="what to measure")
    bench.add_argument("--quick", action="store_true", help="one thread, fewer rounds")
    bench.set_defaults(run=run_bench)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 0
    try:
        arguments.run(arguments)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (OSError, ValueError, ImportError) as error:  # what a user can mend; anything else keeps its traceback
        print(f"fastnn: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
