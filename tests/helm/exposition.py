"""What the daemon really exports: its series from the first scrape on, read from a process that takes webhooks and decides.

Every series is there from the start, at zero, so Kafka need not be. It knows the text format, and no metric by name.
"""

import contextlib
import os
import random
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request

from chart import CHECKOUT

KEYS = CHECKOUT / "tests" / "fixtures" / "keys"
READY_WITHIN_S = 30
END_WITHIN_S = 30

CONFIGURATION = """
bridge_instance = "monitoring"
[ingress]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:{port}"
[kafka]
bootstrap_servers = "127.0.0.1:1"
[spool]
enabled = true
directory = "{folder}/spool"
[shutdown]
drain_delay_ms = 0
grace_ms = 100
[sources.sg-main]
provider = "smart-glocal"
public_key_files = ["{keys}/smart-glocal-public.pem"]
[sources.sg-main.api]
base_url = "http://127.0.0.1:1"
version = 2
project = "shop"
private_key_file = "{keys}/smart-glocal-private.pem"
[sources.unipaas]
provider = "unipaas"
secret_files = ["{keys}/unipaas.key"]
[confirmation]
enabled = true
[[confirmation.rules]]
name = "small payouts"
when = "session.operations.all(o, o.amount.minor_units <= 50000)"
then = "confirm"
"""

SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def exported(folder):
    """Every label of every series with its values, by the series' name: `{name: {label: {value}}}`."""
    found = {}
    for name, labels in SERIES.findall(_scraped(folder)):
        series = found.setdefault(name, {})
        for label, value in LABEL.findall(labels):
            series.setdefault(label, set()).add(value)
    return found


def _scraped(folder):
    port = _free_port()
    configuration = folder / "paybridge.toml"
    configuration.write_text(CONFIGURATION.format(port=port, keys=KEYS, folder=folder))
    log = folder / "log"
    with log.open("w") as output, _running(configuration, output) as process:
        return _metrics(process, port, log)


@contextlib.contextmanager
def _running(configuration, output):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYBRIDGE_")}
    command = [_program(), "run", "--config", str(configuration)]
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program():
    return os.environ.get("PAYBRIDGE_BIN", str(CHECKOUT / "target" / "debug" / "paybridge"))


def _metrics(process, port, log):
    """The first answer of /metrics, which comes when every metric is made."""
    end = time.monotonic() + READY_WITHIN_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=READY_WITHIN_S) as answer:
                return answer.read().decode()
        time.sleep(0.05)
    raise AssertionError(f"the daemon does not serve /metrics:\n{log.read_text()}")


def _free_port():
    """Below those that Linux gives to connections by itself."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
