"""What all pages of the dashboard share."""

import threading

import anyio

from fastcms.pages import in_thread, in_waiting_thread


def test_whoever_waits_for_another_machine_takes_no_thread_from_the_rest() -> None:
    is_answered = threading.Event()

    async def wait() -> None:
        await in_waiting_thread(is_answered.wait)

    async def visit() -> str:
        page = ""
        async with anyio.create_task_group() as visitors:
            for _ in range(60):  # more than there are threads
                visitors.start_soon(wait)
            await anyio.sleep(0.05)
            try:
                with anyio.fail_after(10):
                    page = await in_thread(lambda: "page")
            finally:
                is_answered.set()
        return page

    assert anyio.run(visit) == "page"
