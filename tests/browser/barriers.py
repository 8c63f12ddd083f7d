"""What axe-core finds on a page, in light and dark, on a phone and on a desktop.

Loaded from the package that ships it; what Playwright evaluates is not subject to the pages' own policy.
"""

from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize

from tests.browser.visiting import DESKTOP, PHONE

# All of axe's rules, and one more; of them, only contrast depends on the colours.
_ALL_RULES = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
_CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
_LOOKS: list[tuple[Literal["light", "dark"], ViewportSize, dict[str, Any]]] = [
    ("light", DESKTOP, _ALL_RULES),
    ("dark", DESKTOP, _CONTRAST),
    ("dark", PHONE, _CONTRAST),
    ("light", PHONE, _ALL_RULES),
]
_DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def _run_axe(page: Page, options: dict[str, Any]) -> list[str]:
    """Every violation of the page as it looks now, of whatever impact."""
    found: dict[str, Any] = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def find_barriers(page: Page, path: str) -> list[str]:
    """Every violation of the page at a path, and every part that is wider than the window."""
    page.goto(path)
    return find_barriers_here(page, path)


def find_barriers_here(page: Page, name: str) -> list[str]:
    """The same of the page as it is there, which no path leads to."""
    page.evaluate(AXE_SCRIPT)
    barriers: list[str] = []
    for scheme, viewport, options in _LOOKS:
        look = f"{name} {scheme} {viewport['width']} px: "
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme)
        page.evaluate(_DRAWN)
        barriers += [look + barrier for barrier in _run_axe(page, options)]
        if page.evaluate("document.documentElement.scrollWidth") > viewport["width"]:
            barriers.append(f"{look}wider than the window")
    return barriers
