"""The ASGI application, as documented: `uvicorn app.main:app`."""

import gc

from fastcms.main import create_app

app = create_app()
# What importing has made is never garbage: no later collection needs to look through it.
gc.freeze()
