"""Where the `fastcms` command begins."""

import gc


def main() -> None:
    # What is imported stays: looking through it again and again takes a third of a command's time.
    gc.disable()
    from fastcms.cli import app  # noqa: PLC0415 - see above

    gc.freeze()
    gc.enable()
    app()


if __name__ == "__main__":
    main()
