// One side of a webhook, played by a library from npm. The secret is in PEER_SECRET.
//
//   node peer.mjs LIBRARY sign URL BODY   posts the signed body, prints the status
//   node peer.mjs LIBRARY receive         prints its port, then a line of JSON for each request
import http from 'node:http';
import Stripe from 'stripe';
import { Webhook as Standard } from 'standardwebhooks';
import { Webhook as Svix } from 'svix';

const secret = process.env.PEER_SECRET;
const [, , name, action, url, body] = process.argv;
const id = 'msg_from_npm';

// A pair of functions for each library, as its documentation uses it. verify
// returns the parsed payload or throws.
const libraries = {
  stripe: {
    sign: (payload) => ({ 'Stripe-Signature': Stripe.webhooks.generateTestHeaderString({ payload, secret }) }),
    verify: (payload, headers) => Stripe.webhooks.constructEvent(payload, headers['stripe-signature'], secret),
  },
  svix: {
    sign: (payload) => {
      const now = new Date();
      return {
        'svix-id': id,
        'svix-timestamp': String(Math.floor(now / 1000)),
        'svix-signature': new Svix(secret).sign(id, now, payload),
      };
    },
    verify: (payload, headers) => new Svix(secret).verify(payload, headers),
  },
  standardwebhooks: {
    sign: (payload) => {
      const now = new Date();
      return {
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now / 1000)),
        'webhook-signature': new Standard(secret).sign(id, now, payload),
      };
    },
    verify: (payload, headers) => new Standard(secret).verify(payload, headers),
  },
};
const peer = libraries[name];

if (action === 'sign') {
  const headers = { 'Content-Type': 'application/json', ...peer.sign(body) };
  const answer = await fetch(url, { method: 'POST', headers, body });
  console.log(answer.status);
} else {
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const report = {};
    try {
      report.payload = peer.verify(Buffer.concat(chunks).toString('utf8'), request.headers);
    } catch (error) {
      report.error = String(error.message);
    }
    console.log(JSON.stringify(report));
    response.writeHead(report.error ? 400 : 204).end();
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
}
