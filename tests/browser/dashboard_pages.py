"""The addresses of all pages, so that what holds for one can be tried on every one."""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

# By the name of the page's route. {backup}, {record} and {destination} are those of the site.
PAGES = {
    "index": "/",
    "collections": "/collections",
    "collections-create": "/collections/create",
    "collections-edit": "/collections/members/edit",
    "list": "/records-news/list",
    "create": "/records-news/create",
    "detail": "/records-news/detail?pk={record}",
    "edit": "/records-news/edit?pk={record}",
    "files": "/files",
    "backups": "/backups",
    "backup-show": "/backups/{backup}",
    "backup-files": "/backups/{backup}/files",
    "backups-restore": "/backups/{backup}/restore",
    "backup-restore-status": "/backups/restore",
    "backup-keys": "/backups/keys",
    "backup-settings-show": "/backups/settings",
    "backup-settings-prune-show": "/backups/settings/prune",
    "backups-delete": "/backups/{backup}/delete",
    "backup-destinations": "/backups/destinations",
    "backup-destinations-new": "/backups/destinations/new",
    "backup-destination": "/backups/destinations/{destination}?stored=yes",
    "backup-destination-change": "/backups/destinations/{destination}/change",
    "backup-stored": "/backups/destinations/{destination}/backups/{backup}",
    "activity": "/activity",
    "accounts": "/accounts",
    "tokens": "/tokens",
}
# Those of a stranger; set-up is there only while a site has no admin.
DOORS = {"login": "/login", "setup": "/setup", "setup-restore": "/setup/restore"}
# What a GET answers with something else than a page.
NO_PAGES = {
    "backup-destination-stored",
    "backup-file",
    "backup-keys-sheet",
    "backups-copies",
    "backups-download",
    "backups-jobs",
    "file",
    "inline-edit",
    "inline-edit-row",
    "relation-lookup",
}
# More states of pages: long forms of all types, nothing found, nothing there.
STATES = {
    "every type of field": "/records-boats/create",
    "a choice and a file": "/records-members/create",
    "records that are sought": "/records-members/list?q=ada",
    "no record found": "/records-members/list?q=nobody",
    "no file found": "/files?search=nothing",
    "no file in a backup": "/backups/{backup}/files?search=nothing",
    "an encrypted backup elsewhere": "/backups/destinations/{destination}/backups/{backup}.age",
    "a folder to copy to": "/backups/destinations/new?kind=file",
    "no such page": "/nowhere",
    "no such backup": "/backups/backup_20200101_000000.zip",
}


def addresses(templates: Mapping[str, str], **facts: str) -> Iterator[tuple[str, str]]:
    """Name and path of each page on a site that has these facts."""
    quoted = {name: quote(value) for name, value in facts.items()}
    for name, template in templates.items():
        yield name, f"/admin{template.format(**quoted)}"
