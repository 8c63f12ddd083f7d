"""The ASGI application, as documented: `uvicorn app.main:app`."""

import gc

# What importing makes is never garbage: looking through it again and again takes a sixth of a server's start.
gc.disable()

from fastcms.main import create_app  # noqa: E402 - see above

app = create_app()
gc.freeze()
gc.enable()
