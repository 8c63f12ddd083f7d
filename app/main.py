"""The ASGI application, as documented: `uvicorn app.main:app`."""

from fastcms.main import create_app

app = create_app()
