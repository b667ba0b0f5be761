"""Subscribes to Smart Glocal's sessions that wait for a confirmation, and prints each as one line.

The line: event id, session id, session status; then for each operation its kind, id, amount, currency and customer
reference. `-` stands for what the event does not tell.

    pip install -r requirements.txt
    python subscriber.py localhost:9092 payments.smart-glocal.ready-to-confirm.v1 my-group
"""

import argparse
import importlib
import sys
import tempfile
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

from confluent_kafka import Consumer, KafkaException
from grpc_tools import protoc


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        compile_messages(arguments.proto, folder)
        sys.path.insert(0, folder)
        messages = importlib.import_module("paybridge.smart_glocal.v1.session_events_pb2")
        subscribe(arguments, messages.ReadyToConfirm)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bootstrap", help="HOST:PORT of a broker")
    parser.add_argument("topic")
    parser.add_argument("group", help="consumer group: what it has handled is remembered under this name")
    parser.add_argument("--count", type=int, help="stop after so many records")
    parser.add_argument("--proto", type=Path, default=Path(__file__).parents[3] / "proto", help="your copy of proto/")
    return parser.parse_args()


def compile_messages(proto: Path, folder: str) -> None:
    """Makes Python modules of every message. A real service does this when it is built, not when it starts."""
    sources = [str(path) for path in sorted(proto.rglob("*.proto"))]
    well_known = files("grpc_tools") / "_proto"
    if protoc.main(["protoc", f"-I{proto}", f"-I{well_known}", f"--python_out={folder}", *sources]) != 0:
        sys.exit("the messages do not compile")


def subscribe(arguments: argparse.Namespace, message_type: type) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": arguments.bootstrap,
            "group.id": arguments.group,
            "allow.auto.create.topics": False,
            # A group that is new begins with the oldest record kept.
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            # Records of transactions that were aborted are none.
            "isolation.level": "read_committed",
        }
    )
    try:
        consumer.subscribe([arguments.topic])
        left = arguments.count
        while left is None or left > 0:
            record = consumer.poll(timeout=1.0)
            if record is None:
                continue
            if record.error():
                raise KafkaException(record.error())
            handle(message_type.FromString(record.value()))
            # After the work, never before: a crash in between repeats records and loses none.
            consumer.commit(record, asynchronous=False)
            left = None if left is None else left - 1
    finally:
        consumer.close()


def handle(event) -> None:
    """Your work. An event may come twice: do it once for each event id."""
    session = event.session
    operations = "".join(f"; {line(operation)}" for operation in session.operations)
    print(f"{event.metadata.event_id} {session.id} {status(session)}{operations}", flush=True)


def status(session) -> str:
    """The status by name; one that this program is too old to know, as the provider spelled it."""
    name = enum_name(session, "status")
    if name is not None and session.status != 0:
        return name
    return f'"{session.status_text}"' if session.HasField("status_text") else "-"


def line(operation) -> str:
    kind = enum_name(operation, "kind") or "UNRECOGNIZED"
    amount = money(operation.amount) if operation.HasField("amount") else "-"
    customer = operation.customer.reference if operation.customer.HasField("reference") else "-"
    return f"{kind} {operation.id} {amount} {customer}"


def enum_name(message, field: str) -> str | None:
    """The name of an enum's value; none where this program is too old to know it."""
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(getattr(message, field))
    return value.name if value else None


def money(amount) -> str:
    """The exact amount, never through floating point."""
    if amount.HasField("exponent"):
        number = f"{Decimal(amount.minor_units).scaleb(-amount.exponent):f}"
    else:
        number = f"{amount.minor_units} minor units"
    return f"{number} {amount.currency if amount.HasField('currency') else '-'}"


if __name__ == "__main__":
    main()
