"""The command, as `bg-remover` and as `python -m bg_remover`."""
import sys


def main():
    "Run the command. Ctrl-C while it is still being loaded ends it as quietly as later."
    try: from bg_remover.tool.cli import main as run
    except KeyboardInterrupt: sys.exit(130)
    run()


if __name__ == "__main__": main()
