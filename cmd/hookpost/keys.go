package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store/keyring"
)

const envKeys = "HOOKPOST_KEYS"

var keyCommands = []command{
	{name: "keys new", short: "make a key that seals secrets in the store", long: newKeyText, prepare: newKey},
	{name: "keys check", short: "see whether the keys can be read, and what they are called", prepare: checkKeys},
	{name: "keys secret", short: "make a signing secret", long: newSecretText, prepare: newSecret},
	{name: "keys fingerprint", short: "show the fingerprints of signing secrets", long: fingerprintText, prepare: fingerprints},
}

const (
	newKeyText = `
The key is printed and kept nowhere. Without it the secrets in the store can't be
used again. To replace a key put the new one in front of the old:

  HOOKPOST_KEYS=2026-12:...,2026-11:...`

	newSecretText = `
The secret is printed and kept nowhere. It suits every scheme; one of --ed25519 is a
private key, for senders of the scheme standard, and keys fingerprint shows the
public key that receivers get.`

	fingerprintText = `
A fingerprint tells secrets apart without revealing them: it is what endpoints show
has of an endpoint's.`
)

// A keySource says where the keys that seal secrets are read from.
type keySource struct {
	env, file string
	plaintext bool
}

func (c *call) keyFlags() *keySource {
	k := c.keyListFlags()
	boolFlag(c.flags, &k.plaintext, "plaintext-secrets", "store the secret readable, as the application does")
	return k
}

func (c *call) keyListFlags() *keySource {
	k := &keySource{}
	textFlag(c.flags, &k.env, "keys-env", "the `VARIABLE` that holds the keys ("+envKeys+"), comma-separated, newest first")
	textFlag(c.flags, &k.file, "keys-file", "the `FILE` that holds them instead; - is the standard input")
	return k
}

// keys reads the keys, newest first.
func (c *call) keys(ctx context.Context, k *keySource) ([]keyring.Key, error) {
	text, where, err := c.confidential(ctx, k.env, k.file, "--keys-env", "--keys-file", envKeys)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(text) == "" {
		return nil, badInput("no keys: %s is empty; it holds the application's, which hookpost keys new makes", where)
	}
	keys, err := keyring.ParseKeys(text)
	if err != nil {
		return nil, badInput("%s: %s", where, plain(err))
	}
	if _, err := keyring.New(keys...); err != nil {
		return nil, badInput("%s: %s", where, plain(err))
	}
	return keys, nil
}

// keyring sets how a Sender seals secrets.
func (c *call) keyring(ctx context.Context, k *keySource, o *sender.Options) error {
	if k.plaintext {
		if k.env != "" || k.file != "" {
			return badInput("--plaintext-secrets and keys contradict each other; give what the application has")
		}
		o.PlaintextSecrets = true
		return nil
	}
	if k.env == "" && k.file == "" && c.getenv(envKeys) == "" {
		return badInput("no keys to seal the secret with; set %s to the application's, or give --plaintext-secrets if it has none", envKeys)
	}
	keys, err := c.keys(ctx, k)
	if err != nil {
		return err
	}
	o.Keyring, err = keyring.New(keys...)
	return err
}

func newKey(c *call) func(context.Context) error {
	id := time.Now().UTC().Format("2006-01")
	textFlag(c.flags, &id, "id", "the key's `NAME` (the month, as "+id+"): letters, digits, full stops, - and _")
	return func(context.Context) error {
		key, err := keyring.GenerateKey(id)
		if err != nil {
			return badInput("--id: %s", strings.TrimPrefix(plain(err), "invalid key: "))
		}
		if c.json {
			return c.out.json(map[string]string{"id": key.ID(), "key": key.Reveal()})
		}
		fmt.Fprintln(c.out, key.Reveal())
		return nil
	}
}

func checkKeys(c *call) func(context.Context) error {
	src := c.keyListFlags()
	return func(ctx context.Context) error {
		keys, err := c.keys(ctx, src)
		if err != nil {
			return err
		}
		type keyJSON struct {
			ID    string `json:"id"`
			Seals bool   `json:"seals"`
		}
		var list []keyJSON
		var rows [][]string
		for i, k := range keys {
			list = append(list, keyJSON{k.ID(), i == 0})
			rows = append(rows, []string{k.ID(), map[bool]string{true: "seals and opens", false: "opens"}[i == 0]})
		}
		if c.json {
			return c.out.json(map[string]any{"keys": list})
		}
		c.out.table([]string{"KEY", "USE"}, rows)
		return nil
	}
}

func newSecret(c *call) func(context.Context) error {
	var asymmetric bool
	boolFlag(c.flags, &asymmetric, "ed25519", "make a private ed25519 key")
	return func(context.Context) error {
		secret := signing.NewSecret()
		if asymmetric {
			secret = signing.NewPrivateKey()
		}
		if c.json {
			public, _ := publicKey(secret)
			return c.out.json(struct {
				Secret      string `json:"secret"`
				Fingerprint string `json:"fingerprint"`
				PublicKey   string `json:"public_key,omitempty"`
			}{secret.Reveal(), secret.Fingerprint(), public})
		}
		fmt.Fprintln(c.out, secret.Reveal())
		return nil
	}
}

// publicKey is what receivers verify with if the secret is a key of ed25519.
func publicKey(s signing.Secret) (string, error) {
	if s.Kind() == signing.KindShared {
		return "", nil
	}
	public, err := s.PublicKey()
	if err != nil {
		return "", badInput("%s", strings.TrimPrefix(plain(err), "bad secret: "))
	}
	return public, nil
}

func fingerprints(c *call) func(context.Context) error {
	src := c.secretFlags()
	return func(ctx context.Context) error {
		secrets, err := c.secrets(ctx, src)
		if err != nil {
			return err
		}
		type fingerprintJSON struct {
			Fingerprint string   `json:"fingerprint"`
			Kind        string   `json:"kind"`    // shared, private, public
			Schemes     []string `json:"schemes"` // that can use it
			PublicKey   string   `json:"public_key,omitempty"`
		}
		list := []fingerprintJSON{}
		var rows [][]string
		for _, s := range secrets {
			f := fingerprintJSON{Fingerprint: s.Fingerprint(), Kind: kindNames[s.Kind()], Schemes: usable(s)}
			if f.PublicKey, err = publicKey(s); err != nil {
				return err
			}
			list = append(list, f)
			rows = append(rows, []string{f.Fingerprint, f.Kind, strings.Join(f.Schemes, ", "), f.PublicKey})
		}
		if c.json {
			return c.out.json(map[string]any{"secrets": list})
		}
		c.out.table([]string{"FINGERPRINT", "KIND", "SCHEMES", "PUBLIC KEY"}, rows)
		return nil
	}
}

var kindNames = map[signing.Kind]string{
	signing.KindShared:  "shared",
	signing.KindPrivate: "private",
	signing.KindPublic:  "public",
}

// usable names the schemes that can use a secret.
func usable(s signing.Secret) []string {
	names := []string{}
	for _, scheme := range []struct {
		name   string
		scheme signing.Scheme
	}{
		{"standard", signing.Standard},
		{"stripe", signing.Timestamped("Stripe-Signature")},
		{"github", signing.GitHub},
		{"timestamped", signing.Timestamped("X-Signature")},
		{"body-hmac", signing.BodyHMAC("X-Signature", "", signing.Hex)},
	} {
		if _, err := scheme.scheme.Bind(s); err == nil {
			names = append(names, scheme.name)
		}
	}
	return names
}
