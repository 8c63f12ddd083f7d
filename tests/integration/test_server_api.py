"""The server's own routes, where nothing would start it again."""

from fastapi.testclient import TestClient


def test_a_server_that_nothing_would_start_again_is_not_restarted(client: TestClient) -> None:
    told = client.get("/api/v1/server").json()
    assert told["restart"] == "by_hand"
    assert told["server_id"] == client.get("/health").json()["server_id"]
    refused = client.post("/api/v1/server/restart")
    assert (refused.status_code, refused.json()["code"]) == (409, "restart_by_hand")
    assert told["instruction"] in refused.json()["hint"]
    assert "FASTCMS_SUPERVISED=true" in refused.json()["hint"]


def test_only_admins_restart_the_server(editor: TestClient) -> None:
    assert editor.get("/api/v1/server").status_code == 403
    assert editor.post("/api/v1/server/restart").status_code == 403
