"""Collections and records in the dashboard."""

import re
from io import BytesIO
from typing import Any
from urllib.parse import quote

from fastcms.content import service
from fastcms.media.service import add_file
from fastcms.site import Site
from tests.integration.admin.conftest import Browser


def _collection(site: Site) -> None:
    fields: list[dict[str, Any]] = [
        {"name": "title", "type": "text", "required": True},
        {"name": "price", "type": "number"},
        {"name": "day", "type": "date"},
        {"name": "kind", "type": "select", "values": ["News", "Essay"]},
        {"name": "is_new", "type": "bool"},
        {"name": "extra", "type": "json"},
        {"name": "picture", "type": "file"},
        {"name": "csrftoken", "type": "text"},
    ]
    with site.database.write() as session:
        service.create_collection(session, "articles", fields)
        service.create_collection(
            session, "comments", [{"name": "on", "type": "relation", "collection": "articles"}]
        )


def _updated_in_form(browser: Browser) -> str:
    found = re.search(r'name="updated" value="([^"]+)"', browser.open("/collections/articles/edit").text)
    assert found is not None
    return found[1]


def _titles(site: Site) -> list[str]:
    with site.database.read() as session:
        page = service.list_records(session, service.find_collection(session, "articles"))
    return [record.data["title"] for record in page.items]


def test_a_collection_is_made_edited_and_deleted(admin_browser: Browser, site: Site) -> None:
    form = {
        "name": "articles",
        "field-0-name": "title",
        "field-0-type": "text",
        "field-0-required": "on",
        "field-2-name": "kind",
        "field-2-type": "select",
        "field-2-values": "News\r\nEssay\r\n",
        "field-7-name": "",
        "field-7-type": "text",
    }
    made = admin_browser.send("/collections/create", form)
    assert "Created articles." in made.text
    changed = form | {"name": "posts", "is_public": "on", "field-0-name": "title", "field-2-values": "News"}
    changed["updated"] = _updated_in_form(admin_browser)
    assert "Saved posts." in admin_browser.send("/collections/articles/edit", changed).text
    with site.database.read() as session:
        found = service.find_collection(session, "posts")
    assert found.is_public
    assert [(field["name"], field["required"]) for field in found.fields] == [
        ("title", True),
        ("kind", False),
    ]
    assert found.fields[1]["values"] == ["News"]
    gone = admin_browser.send("/collections/delete", {"name": "posts"}, page="/collections")
    assert "Deleted posts" in gone.text
    assert "No collections yet" in gone.text


def test_a_form_opened_before_another_change_deletes_no_field(admin_browser: Browser, site: Site) -> None:
    _collection(site)
    form = {"name": "articles", "field-0-name": "title", "field-0-type": "text"}
    form["updated"] = _updated_in_form(admin_browser)
    with site.database.write() as session:
        found = service.find_collection(session, "articles")
        service.update_collection(session, found, fields=[*found.fields, {"name": "colour", "type": "text"}])
    for _ in range(2):
        refused = admin_browser.send("/collections/articles/edit", form)
        assert refused.status_code == 409
        assert "was changed meanwhile" in refused.text
    with site.database.read() as session:
        fields = service.find_collection(session, "articles").fields
    assert [field["name"] for field in fields][-2:] == ["csrftoken", "colour"]


def test_a_collection_that_does_not_fit_is_refused_and_the_form_keeps_what_was_typed(
    admin_browser: Browser,
) -> None:
    form = {"name": "articles", "field-0-name": "id", "field-0-type": "text"}
    refused = admin_browser.send("/collections/create", form)
    assert refused.status_code == 422
    assert "id is a name that every record has already" in refused.text
    assert 'value="articles"' in refused.text


def test_an_editor_writes_searches_sorts_changes_and_deletes_records(
    editor_browser: Browser, site: Site
) -> None:
    _collection(site)
    key = "/records-articles"
    for title, price in (("A chair", "49.9"), ("A table", "120")):
        form = {"field-title": title, "field-price": price, "field-day": "2025-01-15", "field-kind": "News"}
        assert editor_browser.send(f"{key}/create", form).status_code == 200
    listed = editor_browser.open(f"{key}/list?sort=price__asc").text
    assert listed.index("A chair") < listed.index("A table")
    found = editor_browser.open(f"{key}/list?q=table").text
    assert "A table" in found
    assert "A chair" not in found
    with site.database.read() as session:
        page = service.list_records(session, service.find_collection(session, "articles"))
    newest = page.items[0]
    assert newest.data["price"] == 120
    edited = editor_browser.send(f"{key}/edit?pk={newest.id}", {"field-title": "A desk", "field-price": ""})
    assert edited.status_code == 200
    assert _titles(site) == ["A desk", "A chair"]
    token = editor_browser.client.cookies["starlette_admin_csrftoken"]
    deleted = editor_browser.client.post(
        f"/admin/_api/records-articles/row-action?pk={newest.id}&name=delete", headers={"X-CSRFToken": token}
    )
    assert deleted.status_code == 200
    assert _titles(site) == ["A chair"]


def test_the_filter_builder_finds_records(editor_browser: Browser, site: Site) -> None:
    _collection(site)
    for title, price in (("A chair", "49.9"), ("A table", "120")):
        form = {"field-title": title, "field-price": price, "field-day": "2025-01-15", "field-kind": "News"}
        editor_browser.send("/records-articles/create", form)
    both = {"A chair", "A table"}
    expected: dict[str, set[str]] = {
        "price__more=50": {"A table"},
        "price__less=50 AND title__contains=chair": {"A chair"},
        'price__equals=120 OR title__is="A chair"': both,
        "kind__one_of=News,Essay": both,
        "day__since=2025-01-01": both,
        "day__before=2025-01-01": set(),
        "is_new__no": both,
        "picture__empty": both,
        r'title__contains="say \"x\" && y"': set(),
    }
    for text, titles in expected.items():
        page = editor_browser.client.get("/admin/records-articles/list", params={"filter": text})
        assert page.status_code == 200, text
        assert {title for title in both if f"{title}</span>" in page.text} == titles, text


def test_a_filter_that_makes_no_sense_is_refused(editor_browser: Browser, site: Site) -> None:
    _collection(site)
    for text in ("price__more=x", "price__more=inf", "day__since=soon", "nothing__is=1", "title__is"):
        page = editor_browser.client.get("/admin/records-articles/list", params={"filter": text})
        assert page.status_code == 400, text


def test_what_is_wrong_stands_beside_its_field(editor_browser: Browser, site: Site) -> None:
    _collection(site)
    form = {"field-title": "", "field-price": "many", "field-extra": "{"}
    refused = editor_browser.send("/records-articles/create", form)
    assert refused.status_code == 422
    assert "This field is required." in refused.text
    form = {"field-title": "A chair", "field-price": "many"}
    refused = editor_browser.send("/records-articles/create", form)
    assert refused.status_code == 422
    assert "Input should be a number" in refused.text
    refused = editor_browser.send("/records-articles/create", {"field-title": "A chair", "field-extra": "{"})
    assert refused.status_code == 422
    assert "This is not JSON" in refused.text
    assert _titles(site) == []


def test_a_field_may_have_the_name_of_the_forms_own_token(editor_browser: Browser, site: Site) -> None:
    _collection(site)
    form = {"field-title": "A chair", "field-csrftoken": "mine", "field-extra": '{"a": [1]}'}
    assert editor_browser.send("/records-articles/create", form).status_code == 200
    with site.database.read() as session:
        page = service.list_records(session, service.find_collection(session, "articles"))
    assert page.items[0].data["csrftoken"] == "mine"
    assert page.items[0].data["extra"] == {"a": [1]}


def test_files_and_relations_are_shown_by_their_names(editor_browser: Browser, site: Site) -> None:
    _collection(site)
    file = add_file(site, BytesIO(b"\x89PNG\r\n\x1a\n"), "a chair.png")
    form = {"field-title": "A chair", "field-picture": file.id}
    assert "a chair.png" in editor_browser.send("/records-articles/create", form).text
    with site.database.read() as session:
        record = service.list_records(session, service.find_collection(session, "articles")).items[0]
    listed = editor_browser.send("/records-comments/create", {"field-on": record.id})
    assert "A chair" in listed.text
    lookup = editor_browser.open("/_api/records-articles/relation-lookup?q=chair").json()
    assert [item["id"] for item in lookup["items"]] == [record.id]
    assert editor_browser.open(f"/records-articles/detail?pk={record.id}").status_code == 200
    assert editor_browser.open(f"/records-articles/edit?pk={record.id}").status_code == 200
    assert editor_browser.open("/records-articles/detail?pk=nothing").status_code == 404


def test_records_are_exported_and_imported(editor_browser: Browser, site: Site) -> None:
    _collection(site)
    editor_browser.send("/records-articles/create", {"field-title": "A chair", "field-price": "49.9"})
    token = {"X-CSRFToken": editor_browser.client.cookies["starlette_admin_csrftoken"]}
    rows = b'[{"title": "A lamp", "price": 30}, {"title": "A desk", "extra": {"a": 1}}]'
    imported = editor_browser.client.post(
        "/admin/_api/records-articles/import",
        data={"format": "json"},
        files={"file": ("rows.json", rows)},
        headers=token,
    )
    assert imported.status_code == 200, imported.text
    assert imported.json()["rows_created"] == 2
    assert sorted(_titles(site)) == ["A chair", "A desk", "A lamp"]
    exported = editor_browser.client.post(
        "/admin/_api/records-articles/action?name=export&all=1",
        data={"format": "csv", "scope": "all"},
        headers=token,
    )
    assert exported.status_code == 200, exported.text
    assert "A lamp" in exported.text


def test_a_very_long_search_or_page_number_is_no_error(editor_browser: Browser, site: Site) -> None:
    _collection(site)
    for query in (f"q={'x' * 3000}", "page=999999999999999999999", "page=-1"):
        assert editor_browser.open(f"/records-articles/list?{query}").status_code == 200


def test_a_collection_made_by_another_worker_is_there_at_once(editor_browser: Browser, site: Site) -> None:
    assert editor_browser.open("/records-articles/list").status_code == 404
    _collection(site)
    assert editor_browser.open("/records-articles/list").status_code == 200


def test_hostile_values_stay_text_on_every_page(editor_browser: Browser, site: Site) -> None:
    hostile = "\"'></script></textarea><script>alert(1)</script>"
    with site.database.write() as session:
        articles = service.create_collection(
            session,
            "articles",
            [
                {"name": "title", "type": "text"},
                {"name": "body", "type": "editor"},
                {"name": "kind", "type": "select", "values": [hostile]},
                {"name": "extra", "type": "json"},
                {"name": "picture", "type": "file"},
                {"name": "next", "type": "relation", "collection": "articles"},
            ],
        )
    data = {"title": hostile, "body": hostile, "kind": hostile, "extra": {hostile: hostile}}
    with site.database.write() as session:
        first = service.create_record(session, articles, data)
        second = service.create_record(session, articles, data | {"next": first.id})
    for path in ("list", f"detail?pk={second.id}", f"edit?pk={second.id}", "create"):
        page = editor_browser.open(f"/records-articles/{path}")
        assert page.status_code == 200
        assert "<script>alert" not in page.text, path
    sent = {"field-title": hostile, "field-extra": hostile, "field-picture": hostile}
    assert "<script>alert" not in editor_browser.send("/records-articles/create", sent).text
    saved = editor_browser.send(f"/records-articles/edit?pk={first.id}", {"field-title": hostile})
    assert "<script>alert" not in saved.text
    assert "<script>alert" not in editor_browser.open("/files?search=" + quote(hostile)).text


def test_json_and_numbers_that_cannot_be_read_are_refused_beside_their_field(
    editor_browser: Browser, site: Site
) -> None:
    _collection(site)
    for text in ("[" * 100_000, "1" * 5000):
        refused = editor_browser.send("/records-articles/create", {"field-title": "A", "field-extra": text})
        assert refused.status_code == 422
        assert "This is not JSON: it " in refused.text
        assert text in refused.text
    for text in ("1_000", "+5", "1" * 5000, "\u0661", "nan"):
        refused = editor_browser.send("/records-articles/create", {"field-title": "A", "field-price": text})
        assert refused.status_code == 422, text
    for text in ("05", ".5", "-1.5e3"):
        sent = editor_browser.send("/records-articles/create", {"field-title": "A", "field-price": text})
        assert sent.status_code == 200, text


def test_a_long_text_is_saved(editor_browser: Browser, site: Site) -> None:
    with site.database.write() as session:
        service.create_collection(session, "articles", [{"name": "body", "type": "editor"}])
    text = "ö" * 3_000_000
    editor_browser.send("/records-articles/create", {"field-body": text})
    found = editor_browser.client.cookies["starlette_admin_csrftoken"]
    parts = {"csrftoken": (None, found), "field-body": (None, text)}
    sent = editor_browser.client.post("/admin/records-articles/create", files=parts)
    assert sent.status_code == 200
    with site.database.read() as session:
        page = service.list_records(session, service.find_collection(session, "articles"))
    assert [len(record.data["body"]) for record in page.items] == [3_000_000] * 2
    path = f"/admin/records-articles/edit?pk={page.items[0].id}"
    assert editor_browser.client.post(path, files=parts).status_code == 200


def test_a_collection_with_very_many_fields_is_saved(admin_browser: Browser, site: Site) -> None:
    form = {"name": "wide"}
    for number in range(200):
        prefix = f"field-{number}-"
        row = {f"{prefix}name": f"f{number}", f"{prefix}type": "text", f"{prefix}required": "on"}
        form |= row | {f"{prefix}values": "", f"{prefix}collection": ""}
    form |= {f"field-{number}-name": "" for number in range(200, 220)}
    assert "Created wide." in admin_browser.send("/collections/create", form).text


def test_saving_a_form_keeps_what_its_inputs_cannot_show(editor_browser: Browser, site: Site) -> None:
    _collection(site)
    data = {"title": "A", "day": "2025-01-15T10:00:07.123456Z", "kind": "News"}
    with site.database.write() as session:
        articles = service.find_collection(session, "articles")
        record = service.create_record(session, articles, data)
        fields = [dict(f) | ({"values": ["Essay"]} if f["name"] == "kind" else {}) for f in articles.fields]
        service.update_collection(session, articles, fields=fields)
    path = f"/records-articles/edit?pk={record.id}"
    page = editor_browser.open(path).text
    assert '<option value="News" selected>News (no longer a choice)</option>' in page
    assert 'value="2025-01-15T10:00:07"' in page
    form = {"field-title": "B", "field-day": "2025-01-15T10:00:07", "field-kind": "News"}
    assert editor_browser.send(path, form).status_code == 200
    with site.database.read() as session:
        saved = service.find_record(session, service.find_collection(session, "articles"), record.id).data
    assert saved == record.data | {"title": "B"}
    form |= {"field-day": "2025-01-15T10:00", "field-kind": "Essay", "field-is_new": "on"}
    assert editor_browser.send(path, form).status_code == 200
    with site.database.read() as session:
        saved = service.find_record(session, service.find_collection(session, "articles"), record.id).data
    assert (saved["day"], saved["kind"], saved["is_new"]) == ("2025-01-15T10:00:00.000000Z", "Essay", True)
    assert editor_browser.open("/records-articles/list").status_code == 200
