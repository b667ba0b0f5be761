"""Signs and verifies webhooks with the official Python libraries of their senders: one JSON line in, one out.

    {"library": "stripe", "do": "sign", "secret": …, "body": …, "at": seconds since 1970, "id": …, "url": …}
        → {"headers": {name in lower case: value}}
    {"library": "stripe", "do": "verify", "secret": …, "headers": {…}, "body": …, "at": the present, "url": …}
        → {"verifies": true or false}

What a verifier raises about a webhook is a "no". Any other exception ends the program. Must not know paybridge.
"""

import base64
import datetime
import hashlib
import hmac
import json
import sys
import time

import gocardless_pro.webhooks
import razorpay.errors
import slack_sdk.signature
import square.utils.webhooks_helper
import standardwebhooks
import standardwebhooks.webhooks
import stripe
from razorpay.utility import Utility


def hmac_sha256(secret: str, text: str) -> bytes:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()


class Stripe:
    """https://docs.stripe.com/webhooks/signature"""

    # `hmac.compare_digest` takes no text beyond ASCII.
    NO = (stripe.SignatureVerificationError, TypeError)

    def sign(self, request: dict) -> dict:
        header = stripe.WebhookSignature.generate_signature_header(request["body"], request["secret"], request["at"])
        return {"stripe-signature": header}

    def verify(self, request: dict) -> bool:
        # What `Webhook.construct_event` does before it reads the body as JSON.
        header, tolerance = request["headers"].get("stripe-signature"), stripe.Webhook.DEFAULT_TOLERANCE
        return stripe.WebhookSignature.verify_header(request["body"], header, request["secret"], tolerance)


class StandardWebhooks:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""

    # It unpacks entries and decodes base64 whatever they are: both fail with a `ValueError`.
    NO = (standardwebhooks.WebhookVerificationError, ValueError)

    def sign(self, request: dict) -> dict:
        at = datetime.datetime.fromtimestamp(request["at"], tz=datetime.timezone.utc)
        signature = standardwebhooks.Webhook(request["secret"]).sign(request["id"], at, request["body"])
        return {
            "webhook-id": request["id"],
            "webhook-timestamp": str(request["at"]),
            "webhook-signature": signature,
        }

    def verify(self, request: dict) -> bool:
        webhook = standardwebhooks.Webhook(request["secret"])
        webhook.verify(request["body"], request["headers"], json_parse=False)
        return True


class Square:
    """https://developer.squareup.com/docs/webhooks/step3validate"""

    NO = ()

    def sign(self, request: dict) -> dict:
        # The library has no function that signs, and its tests hold a signature made elsewhere: so by its documentation.
        signature = base64.b64encode(hmac_sha256(request["secret"], request["url"] + request["body"]))
        return {"x-square-hmacsha256-signature": signature.decode()}

    def verify(self, request: dict) -> bool:
        return square.utils.webhooks_helper.verify_signature(
            request_body=request["body"],
            # It takes no `None`.
            signature_header=request["headers"].get("x-square-hmacsha256-signature", ""),
            signature_key=request["secret"],
            notification_url=request["url"],
        )


class Razorpay:
    """https://razorpay.com/docs/webhooks/validate-test/"""

    # `hmac.compare_digest` takes no text beyond ASCII.
    NO = (razorpay.errors.SignatureVerificationError, TypeError)

    def sign(self, request: dict) -> dict:
        # The library has no function that signs, and its tests hold a signature made elsewhere: so by its documentation.
        return {"x-razorpay-signature": hmac_sha256(request["secret"], request["body"]).hex()}

    def verify(self, request: dict) -> bool:
        signature = request["headers"].get("x-razorpay-signature", "")
        return Utility().verify_webhook_signature(request["body"], signature, request["secret"])


class Slack:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack/"""

    # `int` refuses a time that is no number, and `hmac.compare_digest` takes no text beyond ASCII.
    NO = (ValueError, TypeError)

    def sign(self, request: dict) -> dict:
        at = str(request["at"])
        verifier = slack_sdk.signature.SignatureVerifier(request["secret"])
        signature = verifier.generate_signature(timestamp=at, body=request["body"])
        return {"x-slack-request-timestamp": at, "x-slack-signature": signature}

    def verify(self, request: dict) -> bool:
        clock = slack_sdk.signature.Clock()
        clock.now = lambda: request["at"]
        verifier = slack_sdk.signature.SignatureVerifier(request["secret"], clock)
        return verifier.is_valid_request(request["body"], request["headers"])


class GoCardless:
    """https://developer.gocardless.com/api-reference/#webhooks-signing-webhooks"""

    # `hmac.compare_digest` takes no text beyond ASCII.
    NO = (gocardless_pro.errors.InvalidSignatureError, TypeError)

    def sign(self, request: dict) -> dict:
        # The library has no function that signs, and its tests hold a signature made elsewhere: so by its documentation.
        return {"webhook-signature": hmac_sha256(request["secret"], request["body"]).hex()}

    def verify(self, request: dict) -> bool:
        # What `parse` does before it reads the body as a batch of events: there is no public function for this half.
        signature = request["headers"].get("webhook-signature", "")
        gocardless_pro.webhooks._verify_signature(request["body"], request["secret"], signature)
        return True


LIBRARIES = {
    "stripe": Stripe(),
    "standardwebhooks": StandardWebhooks(),
    "square": Square(),
    "razorpay": Razorpay(),
    "slack": Slack(),
    "gocardless": GoCardless(),
}


def set_clock(seconds: int) -> None:
    """From here on it is this time for every library that asks for the present."""
    # A class of one's own: attributes of `datetime` itself cannot be replaced.
    present = {"now": classmethod(lambda cls, tz=None: cls.fromtimestamp(seconds, tz))}
    standardwebhooks.webhooks.datetime = type("datetime", (datetime.datetime,), present)
    time.time = lambda: seconds


def answer(request: dict) -> dict:
    library = LIBRARIES[request["library"]]
    if request["do"] == "sign":
        return {"headers": library.sign(request)}
    set_clock(request["at"])
    try:
        return {"verifies": bool(library.verify(request))}
    except library.NO:
        return {"verifies": False}


def main() -> None:
    # Bytes: JSON is UTF-8, whatever the locale is.
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            print(json.dumps(answer(json.loads(line))))
        except Exception as error:
            sys.exit(f"line {number}: {type(error).__name__}: {error}: {line[:2000]}")


if __name__ == "__main__":
    main()
