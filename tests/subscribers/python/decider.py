"""Decides on one session that waits: puts a decision on the decision topic, and returns once Kafka has it.

What becomes of it is told on the topics of outcomes and of rejected decisions.

    pip install -r requirements.txt
    python decider.py localhost:9092 payments.confirmation.decision.v1 sg-main ps_3230 confirm "known customer"
"""

import argparse
import importlib
import sys
import tempfile
import uuid
from pathlib import Path

from confluent_kafka import KafkaException, Producer

from subscriber import compile_messages


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        compile_messages(arguments.proto, folder)
        sys.path.insert(0, folder)
        messages = importlib.import_module("paybridge.confirmation.v1.decision_pb2")
        decision = messages.Decision(
            source=arguments.source,
            session_id=arguments.session,
            action=messages.Action.Value(f"ACTION_{arguments.action.upper()}"),
            decided_by=arguments.decided_by,
            reason=arguments.reason,
            decision_id=arguments.decision_id,
        )
        put(arguments, decision)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bootstrap", help="HOST:PORT of a broker")
    parser.add_argument("topic")
    parser.add_argument("source", help="`metadata.source` of the session's event")
    parser.add_argument("session", help="`metadata.subject` of the session's event")
    parser.add_argument("action", choices=["confirm", "cancel"])
    parser.add_argument("reason", help="for people; repeated in the outcome")
    parser.add_argument("--decided-by", default="decider.py", help="repeated in the outcome")
    # Take the id of your own case where you have one: written twice, it is one decision.
    parser.add_argument("--decision-id", default=uuid.uuid4().hex, help="another for each decision")
    parser.add_argument("--proto", type=Path, default=Path(__file__).parents[3] / "proto", help="your copy of proto/")
    return parser.parse_args()


def put(arguments: argparse.Namespace, decision) -> None:
    producer = Producer(
        {
            "bootstrap.servers": arguments.bootstrap,
            "allow.auto.create.topics": False,
            "enable.idempotence": True,
            # As Java's clients partition. librdkafka's own default is another hash, and takes the decision to the wrong
            # partition: it is passed on, once, and comes later.
            "partitioner": "murmur2_random",
        }
    )
    failed = []
    producer.produce(
        arguments.topic,
        key=decision.session_id,
        value=decision.SerializeToString(),
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    # Without a time: it ends when Kafka has it, or after message.timeout.ms.
    producer.flush()
    if failed:
        raise KafkaException(failed[0])


if __name__ == "__main__":
    main()
