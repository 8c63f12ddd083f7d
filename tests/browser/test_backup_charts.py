"""The strip of 30 days and the charts: drawn under the strict policy, in light and in dark."""

import re

from playwright.sync_api import Page, expect


def test_charts_are_drawn_from_their_tables_in_light_and_dark_without_a_complaint(admin_page: Page) -> None:
    admin_page.set_viewport_size({"width": 1280, "height": 400})
    admin_page.goto("/admin/backups")
    # A second backup: one makes no line. It is made by the page's own session.
    made = "fetch('/api/v1/backups', {method: 'POST'}).then((answer) => answer.status)"
    assert admin_page.evaluate(made) == 200
    admin_page.reload()
    assert admin_page.locator("script[src*=apexcharts]").count() == 0  # not before it is needed
    expect(admin_page.locator(".day-strip .day-mark")).to_have_count(30)
    admin_page.locator(".day-strip .day-mark").first.hover()
    expect(admin_page.locator("[data-day-told]")).to_contain_text("There is no record of this day.")
    admin_page.locator("[data-charts]").scroll_into_view_if_needed()
    for _theme in range(2):
        # Size, duration, and a chart each for records, files and accounts.
        expect(admin_page.locator("[data-chart-place] svg.apexcharts-svg")).to_have_count(5)
        label = admin_page.locator("#chart-size-title ~ [data-chart-place] .apexcharts-yaxis-label").first
        expect(label).to_have_text(re.compile(r"\d (bytes|kB|MB)$"))
        admin_page.get_by_role("button", name="Dark colours").click()
    admin_page.locator("section", has_text="Size of each backup").get_by_text("The numbers").first.click()
    expect(admin_page.get_by_role("cell", name=re.compile(r"^[\d.]+ (kB|MB)$")).first).to_be_visible()


def test_the_settings_tell_what_they_mean_while_they_are_chosen(admin_page: Page) -> None:
    admin_page.goto("/admin/backups/settings")
    schedule = admin_page.get_by_role("group", name="Make a backup")
    expect(schedule.get_by_label("Cron expression")).to_be_hidden()
    schedule.get_by_label("How often").select_option("Every week")
    schedule.get_by_label("On", exact=True).select_option("Wednesday")
    expect(admin_page.get_by_text("Every Wednesday at 02:00 (UTC):")).to_be_visible()
    schedule.get_by_label("How often").select_option("My own cron expression")
    schedule.get_by_label("Cron expression").fill("whenever")
    expect(admin_page.get_by_text("'whenever' is no cron expression")).to_be_visible()
    admin_page.get_by_label("The newest").fill("8")
    expect(admin_page.get_by_role("heading", name="With these numbers")).to_be_visible()
    admin_page.reload()
    expect(admin_page.get_by_text("Every day at 02:00 (UTC):")).to_be_visible()  # nothing was saved
