// Signs and verifies webhooks with the official Node.js libraries of their senders: one JSON line in, one out.
// Lines are as those of ../python/senders.py. What a verifier throws about a webhook is a "no"; any other exception ends
// the program. Must not know paybridge.

import { text } from "node:stream/consumers";

import * as octokit from "@octokit/webhooks-methods";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import Stripe from "stripe";

// https://docs.stripe.com/webhooks/signature
const stripe = {
  // Its comparison of an entry without a value is an exception of another kind.
  isNo: (error) =>
    error instanceof Stripe.errors.StripeSignatureVerificationError || error.message.startsWith("secureCompare must"),

  sign({ secret, body, at }) {
    return { "stripe-signature": Stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: at }) };
  },

  verify({ secret, headers, body }) {
    // What `constructEvent` does before it reads the body as JSON.
    const tolerance = Stripe.webhooks.DEFAULT_TOLERANCE;
    return Stripe.webhooks.signature.verifyHeader(body, headers["stripe-signature"], secret, tolerance);
  },
};

// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
const standardwebhooks = {
  isNo: (error) => error instanceof WebhookVerificationError,

  sign({ secret, body, at, id }) {
    const signature = new Webhook(secret).sign(id, new Date(at * 1000), body);
    return { "webhook-id": id, "webhook-timestamp": String(at), "webhook-signature": signature };
  },

  verify({ secret, headers, body }) {
    new Webhook(secret).verify(body, headers, { jsonParse: false });
    return true;
  },
};

// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
const github = {
  // It wants each of its arguments to be there: an absent signature is an exception.
  isNo: (error) => error instanceof TypeError && error.message.startsWith("[@octokit/webhooks-methods]"),

  async sign({ secret, body }) {
    return { "x-hub-signature-256": await octokit.sign(secret, body) };
  },

  verify({ secret, headers, body }) {
    return octokit.verify(secret, body, headers["x-hub-signature-256"]);
  },
};

const libraries = { stripe, standardwebhooks, github };

async function answer(request) {
  const library = libraries[request.library];
  if (request.do === "sign") {
    return { headers: await library.sign(request) };
  }
  Date.now = () => request.at * 1000;
  try {
    return { verifies: await library.verify(request) };
  } catch (error) {
    if (library.isNo(error)) {
      return { verifies: false };
    }
    throw error;
  }
}

// Not by `readline`: to it, U+2028 inside a text ends a line too.
const lines = (await text(process.stdin)).split("\n").filter((line) => line !== "");
for (const [index, line] of lines.entries()) {
  try {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  } catch (error) {
    process.stderr.write(`line ${index + 1}: ${error.stack}: ${line.slice(0, 2000)}\n`);
    process.exit(1);
  }
}
