"""What is in deploy/ is accepted by the programs that read it, and fits FastCMS and docs/deployment.md."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from fastcms.cli import app as command_line
from tests.e2e.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
DOCS = (REPOSITORY / "docs/deployment.md").read_text()
PROGRAM, SITE = "/opt/fastcms/venv/bin/fastcms", "/var/lib/fastcms"
PROMTOOL = Path(sys.executable).parent / "promtool"  # `make programs` brings it
SERVICES = ["fastcms.service", "fastcms-backup.service"]
UNITS = [*SERVICES, "fastcms-backup.timer"]
# In tenths: 0 is a service that may do nothing, 100 one that may do everything.
MOST_EXPOSED = 20


def run(*command: str | Path, cwd: Path = REPOSITORY) -> str:
    """Run a program that has to succeed, and return what it has to say."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def settings_of(unit: str) -> list[tuple[str, str]]:
    lines = (DEPLOY / unit).read_text().splitlines()
    return [(name, value) for name, sign, value in (line.partition("=") for line in lines) if sign]


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def alert_expressions() -> list[str]:
    found = re.findall(r"^ +expr: (.+)$", (DEPLOY / "prometheus-alerts.yml").read_text(), re.MULTILINE)
    assert found
    return found


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """With this program in place of the installed one, which has to exist."""
    for unit in UNITS:
        text = (DEPLOY / unit).read_text().replace(PROGRAM, str(Path(sys.executable).parent / "fastcms"))
        (tmp_path / unit).write_text(text)
    assert run("systemd-analyze", "verify", "--man=no", *[tmp_path / unit for unit in UNITS]) == ""


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_may_do_little(unit: str) -> None:
    run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", DEPLOY / unit)


def test_a_backup_by_the_timer_may_do_no_more_than_the_server() -> None:
    server, backup = (dict(settings_of(unit)) for unit in SERVICES)
    own = {"Description", "Type", "ExecStart"}
    assert {name: value for name, value in backup.items() if name in server and name not in own} == {
        name: value for name, value in server.items() if name in backup and name not in own
    }
    only_servers = {"StartLimitIntervalSec", "StartLimitBurst", "Restart", "RestartSec", "WantedBy"}
    assert server.keys() - backup.keys() == only_servers


@pytest.mark.parametrize("unit", SERVICES)
def test_the_units_fit_the_documented_installation(unit: str) -> None:
    settings = dict(settings_of(unit))
    program, *command = settings["ExecStart"].split()
    assert program == PROGRAM
    parser = get_command(command_line)
    for word in command:
        parser = parser.commands[word]  # type: ignore[attr-defined] # of groups
    assert settings["WorkingDirectory"] == settings["ReadWritePaths"] == SITE
    assert f"python3 -m venv {Path(PROGRAM).parents[1]}\n" in DOCS
    assert f"install -d -m 0700 -o {settings['User']} -g {settings['Group']} {SITE}\n" in DOCS
    assert f"useradd --system --home-dir {SITE} --shell /usr/sbin/nologin {settings['User']}\n" in DOCS
    assert f"sudo -u {settings['User']} env -C {SITE} {PROGRAM}" in DOCS


def test_every_deployed_file_is_documented() -> None:
    for path in DEPLOY.iterdir():
        assert f"deploy/{path.name}" in DOCS


def test_prometheus_accepts_the_documented_configuration(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    (tmp_path / "fastcms.token").touch()
    (tmp_path / "fastcms-alerts.yml").write_bytes((DEPLOY / "prometheus-alerts.yml").read_bytes())
    (tmp_path / "prometheus.yml").write_text(block.replace("/etc/prometheus", str(tmp_path)))
    run(PROMTOOL, "check", "config", tmp_path / "prometheus.yml")


def test_each_alert_fires_when_it_should() -> None:
    run(PROMTOOL, "test", "rules", REPOSITORY / "tests/contracts/prometheus-alerts.test.yml")


def test_alerts_and_dashboard_ask_for_metrics_that_exist() -> None:
    known = set(re.findall(r"^\| `(fastcms_\w+)` \|", DOCS, re.MULTILINE))
    for expression in [*alert_expressions(), *dashboard_expressions()]:
        for name in re.findall(r"fastcms_\w+", expression):
            assert re.sub(r"_(bucket|count)$", "", name) in known, expression


def test_alerts_ask_for_reasons_that_exist() -> None:
    reasons = (REPOSITORY / "fastcms/backups/reasons.py").read_text()
    codes = re.findall(r'code!?=~?"([^"]*)"', " ".join(alert_expressions()))
    assert codes
    for code in "|".join(codes).split("|"):
        assert f'"{code}"' in reasons


def test_the_expressions_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel_{number}", "expr": expression.replace("$job", "fastcms")}
        for number, expression in enumerate(dashboard_expressions())
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(PROMTOOL, "check", "rules", tmp_path / "rules.yml")


def test_every_alert_is_documented_and_no_other() -> None:
    alerts = re.findall(r"alert: (\w+)", (DEPLOY / "prometheus-alerts.yml").read_text())
    assert re.findall(r"^\| `(FastCMS\w+)` \|", DOCS, re.MULTILINE) == alerts
