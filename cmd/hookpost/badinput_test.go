package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const someSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// Bad input to every command is told in one line that says what is wrong and what
// would be right, and nothing is printed as a result.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	secretFile := writeFile(t, someSecret)
	s := newShell(t).typing(someSecret).with("HOOKPOST_SECRET", someSecret).with("HOOKPOST_KEYS", "k:"+strings.Repeat("A", 43)+"=").
		with("EMPTY", "").with("WEAK", "whsec_AAAA").with("SPACE", " x").with("MANY", strings.Repeat(someSecret+"\n", 11)).
		with("PRIVATE", strings.TrimSpace(newShell(t).must(t, "keys", "secret", "--ed25519"))).
		with("REDACTED", "whsec_***").with("HALF_KEY", "k:AAAA").with("BARE_KEY", strings.Repeat("A", 43)+"=")
	s.must(t, "migrate", "--store", "sqlite:"+dir+"/w.db")
	s = s.with("HOOKPOST_STORE", "sqlite:"+dir+"/w.db")

	cases := []struct {
		args  string
		words string // of the message
	}{
		{"sign a b", `there are 2 arguments, more than 1`},
		{"sign --secret x", "a secret on the command line could be read by everybody"},
		{"sign --secret-env EMPTY", "the variable that --secret-env names is empty; hookpost keys secret makes one"},
		{"sign --secret-env WEAK", "at least 24 bytes"},
		{"sign --secret-env SPACE", "begins or ends with white space"},
		{"sign --secret-env MANY", "holds 11 secrets; at most 10"},
		{"sign --secret-env REDACTED", "this is a redacted secret"},
		{"sign --secret-env A --secret-file B", "contradict each other"},
		{"sign --secret-file " + dir + "/none", "the file of --secret-file does not exist"},
		{"sign --secret-file - -", "standard input was read already; name a file"},
		{"sign --scheme svix", "want standard (Standard Webhooks, Svix)"},
		{"sign --scheme timestamped:", "not an HTTP header name"},
		{"sign --scheme body-hmac:X-Sig:md5", "with the encoding hex or base64"},
		{"sign --id a.b", "want 1 to 64 characters"},
		{"sign --at yesterday", "want a time such as"},
		{"sign --scheme github --type a..b", "can't sign this"},
		{"sign " + dir + "/none", "none does not exist"},
		{"sign " + dir, "is a directory"},

		{"verify", "no headers; give those of the request"},
		{"verify --header x", "line 1 of the headers does not have the form 'Name: value'"},
		{"verify --headers " + dir + "/none", "does not exist"},
		{"verify --headers -", "line 1 of the headers"},
		{"verify --tolerance 5", "want a duration such as 5m, or any"},
		{"verify --tolerance -5m", "want a duration such as 5m, or any"},
		{"verify --header a:b --secret-env EMPTY", "no secret"},
		{"verify --at ''", "want a time"},

		{"send http://localhost/", "--type is missing"},
		{"send --type a --store= ", "want something that is not empty"},
		{"send --type a http://localhost/ --tenant x", "leave out one of them"},
		{"send --type a --timeout 1s", "in the store each endpoint has its own"},
		{"send --type a --data {", "--data is not JSON"},
		{"send --type a --data @" + dir + "/none", "does not exist"},
		{"send --type a --data 1 --body x", "contradict each other"},
		{"send --type a..b", "--type"},
		{"send --type webhook.x", "reserved"},
		{"send --type a --content-type x", "--content-type"},
		{"send --type a ftp://x", "only http and https"},
		{"send --type a localhost:8080", "is not absolute; begin with https:// or http://"},
		{"send --type a http://u:pw@localhost/", "user name or password"},
		{"send --type a http://169.254.169.254/", "never allowed"},
		{"send --type a http://localhost/ --scheme x", "want standard"},
		{"send --type a http://localhost/ --secret-env WEAK", "can't use this secret"},
		{"send --type a http://localhost/ --timeout 0s", "above 0"},

		{"listen x", `this command takes no arguments`},
		{"listen --addr 8080", "want a host and a port"},
		{"listen --addr :99999", "want a host and a port"},
		{"listen --fail 503,teapot", "want answers such as 503,503,200"},
		{"listen --fail 99", "want answers"},
		{"listen --fail 429:1.5s", "whole seconds"},
		{"listen --forward-to localhost:3000", "want a URL such as"},
		{"listen --count -1", "whole number from 0"},
		{"listen --secret-env EMPTY", "no secret"},
		{"listen --tolerance x", "want a duration"},

		{"endpoints x", "it has show, create"},
		{"endpoints --mode prod", "want live or test"},
		{"endpoints --limit 0", "from 1 to 1000"},
		{"endpoints --store mysql://x", "the forms are sqlite:FILE and postgres://"},
		{"endpoints --store sqlite:", "the forms are"},
		{"endpoints --schema x", "--schema is for PostgreSQL"},
		{"endpoints --store postgres://u:hunter2@h:port/d", "its form is postgres://"},
		{"endpoints show", "an argument is missing; the form is: hookpost endpoints show [flags] ENDPOINT"},
		{"endpoints create", "an argument is missing"},
		{"endpoints create https://example.com/", "--events is missing"},
		{"endpoints create https://example.com/ --events a,,b", "separated by commas"},
		{"endpoints create https://example.com/ --events a+b", "event types"},
		{"endpoints create example.com --events a", "begin with https://"},
		{"endpoints create http://localhost/ --events a", "localhost is this server; use a tunnel"},
		{"endpoints create https://example.com/ --events a --secret-env WEAK", "at least 24 bytes"},
		{"endpoints create https://example.com/ --events a --keys-env EMPTY", "no keys: the variable that --keys-env names is empty"},
		{"endpoints create https://example.com/ --events a --keys-env HALF_KEY", `the key has 3 bytes, want 32`},
		{"endpoints create https://example.com/ --events a --keys-env X --plaintext-secrets", "contradict each other"},
		{"endpoints create https://example.com/ --events a --allow x", "want an address or a prefix"},
		{"endpoints edit ep_1", "nothing to change; give --url"},
		{"endpoints disable", "an argument is missing"},
		{"endpoints enable a b", `there are 2 arguments, more than 1`},
		{"endpoints delete", "an argument is missing"},
		{"endpoints test", "an argument is missing"},
		{"endpoints history", "an argument is missing"},

		{"deliveries --state lost", "want pending, delivered, exhausted or cancelled"},
		{"deliveries --from 2026-05-24 --to 2026-05-23", "is not before --to"},
		{"deliveries --before 7", "want a delivery such as dlv_12_3_0"},
		{"deliveries --sate pending", "there is no flag --sate; hookpost deliveries -h lists the flags"},
		{"deliveries show 7", "want a delivery such as"},
		{"deliveries cancel dlv_1_2", "want a delivery such as"},

		{"explain", "the form is: hookpost explain [flags] EVENT|DELIVERY [ENDPOINT]"},
		{"explain evt_1", "the endpoint is missing"},
		{"explain dlv_1_1_0 ep_1", "a delivery names its endpoint already"},
		{"explain dlv_1", "want a delivery such as"},
		{"replay evt_1", "the endpoint is missing"},
		{"replay dlv_x", "want a delivery such as"},
		{"recover --missed", "--missed needs --endpoint"},
		{"recover --rate -1", "whole number from 0"},
		{"recover --from 2026 --to 2025", "is not before"},
		{"recover --dry-run=maybe", "want true or false"},
		{"recover --type", "--type needs a value"},
		{"migrate --check --sql", "contradict each other"},
		{"migrate --store x", "the forms are"},

		{"keys", "one of its commands is missing: new, check, secret or fingerprint"},
		{"keys new --id a:b", "letters, digits"},
		{"keys check --keys-env EMPTY", "no keys"},
		{"keys check --keys-env BARE_KEY", "found no colon"},
		{"keys check --keys-file " + secretFile, "found no colon"},
		{"keys secret x", `this command takes no arguments`},
		{"keys fingerprint --secret-env EMPTY", "no secret"},
		{"version now", `this command takes no arguments`},

		{"send --type a --type b", "--type stands there twice"},
		{"endpoints create https://example.com/ --events a --events b", "--events stands there twice"},
		{"endpoints edit ep_1 --description x --description y", "stands there twice"},
		{"deliveries --state pending --state exhausted", "stands there twice"},
		{"recover --tenant a --tenant b", "stands there twice"},
		{"endpoints create https://example.com/ --events * --scheme standard --secret-env PRIVATE --scheme github", "the secret can't be used: signature scheme github: bad secret: this is an ed25519 key"},

		// Secrets in the wrong place are not repeated.
		{"sign --secret-env whsec_hunter2", "the variable that --secret-env names is empty"},
		{"sign --secret-file whsec_hunter2", "the file of --secret-file does not exist"},
		{"keys check --keys-env 2026:hunter2", "the variable that --keys-env names is empty"},
		{"keys check --keys-file 2026:hunter2", "the file of --keys-file does not exist"},
		{"keys check 2026:hunter2", "this command takes no arguments"},
		{"keys fingerprint whsec_hunter2", "this command takes no arguments"},
		{"sign body whsec_hunter2", "there are 2 arguments, more than 1"},
		{"deliveries --store postgres://a:hunter2@b/c --store postgres://a:hunter2@b/c", "--store stands there twice"},
		{"send shop.example/?token=hunter2 --type a", "the URL is not absolute"},
		{"send http://u:hunter2@shop.example/?token=hunter2 --type a", "holds a user name or password"},

		{"resend", `there is no command "resend"; hookpost -h lists them`},
		{"--json sign", "flags stand behind a command"},
	}
	tried := map[string]bool{}
	for _, c := range cases {
		args := strings.Fields(strings.ReplaceAll(c.args, "''", "\x00"))
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\x00", "")
		}
		if cmd, _, err := find(args); err == nil {
			tried[cmd.name] = true
		}
		s.refuses(t, exitBadInput, c.words, args...)
		_, out, errs := s.call(args...)
		require.Empty(t, out, c.args)
		require.NotContains(t, errs, someSecret)
		require.NotContains(t, errs, "hunter2")
		require.NotContains(t, errs, strings.Repeat("A", 40), "a key")
	}
	s.with("HOOKPOST_STORE", "").refuses(t, exitBadInput, "neither a URL nor a store", "send", "--type", "a")
	s.with("HOOKPOST_STORE", "").refuses(t, exitBadInput, "no store; name it with --store or HOOKPOST_STORE", "deliveries")
	s.with("HOOKPOST_KEYS", "").refuses(t, exitBadInput, "no keys to seal the secret with", "endpoints", "create", "https://example.com/", "--events", "a")
	for _, cmd := range commands() {
		require.True(t, tried[cmd.name], "no bad input for %s", cmd.name)
		args := strings.Fields(cmd.name)
		s.refuses(t, exitBadInput, "there is no flag --nonsense", append(args, "--nonsense")...)
		s.refuses(t, exitBadInput, "", append(args, "too", "many", "arguments")...)
	}
}

// Without arguments the whole help goes to the standard error.
func TestNoArguments(t *testing.T) {
	status, out, errs := newShell(t).call()
	require.Equal(t, exitBadInput, status)
	require.Empty(t, out)
	require.Contains(t, errs, "Usage: hookpost COMMAND")
}
