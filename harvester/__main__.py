"""Start of the program: `harvester` and `python -m harvester`.

Everything else is imported inside `main`, so that Ctrl-C during the imports ends the program without a traceback.
"""

import sys

_INTERRUPTED = 130  # errors.ExitCode.INTERRUPTED, which is not imported yet


def main() -> None:
    """Run the command that the arguments name, and exit."""
    try:
        from harvester.cli import main as run  # noqa: PLC0415 - see above

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
