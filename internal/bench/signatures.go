package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-github/v89/github"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// libraries are those that are compared, all with secretText.
type libraries struct {
	standard, timestamped, gitHub         signing.Key
	standardVerifier, timestampedVerifier *verifier.Verifier

	standardWebhooks *standardwebhooks.Webhook
	svix             *svix.Webhook

	hmac hash.Hash // used again and again
	sum  [sha256.Size]byte
}

func newLibraries() (*libraries, error) {
	secret, err := signing.ParseSecret(secretText)
	if err != nil {
		return nil, err
	}
	var errs [7]error
	lib := &libraries{hmac: hmac.New(sha256.New, []byte(secretText))}
	stripeScheme := signing.Timestamped(stripeHeader)
	lib.standard, errs[0] = signing.Standard.Bind(secret)
	lib.timestamped, errs[1] = stripeScheme.Bind(secret)
	lib.gitHub, errs[2] = signing.GitHub.Bind(secret)
	lib.standardVerifier, errs[3] = verifier.New(secretText, nil)
	lib.timestampedVerifier, errs[4] = verifier.New(secretText, &verifier.Options{Scheme: stripeScheme})
	lib.standardWebhooks, errs[5] = standardwebhooks.NewWebhook(secretText)
	lib.svix, errs[6] = svix.NewWebhook(secretText)
	return lib, errors.Join(errs[:]...)
}

// floor is the least that any library has to do.
func (lib *libraries) floor(l *letter) error {
	lib.hmac.Reset()
	lib.hmac.Write(l.Body)
	if subtle.ConstantTimeCompare(lib.hmac.Sum(lib.sum[:0]), l.mac[:]) != 1 {
		return errOtherMAC
	}
	return nil
}

var errOtherMAC = errors.New("the MAC is another one")

// A task is what a library can do with a letter.
type task struct {
	name  string
	like  string // hookpost's own task of the kind; "": this is it, or the floor
	do    func(l *letter) error
	check func(l *letter) error // whether do really does that; nil: do's error says enough
}

// The tasks that others are compared with.
const (
	floorTask       = "floor"
	standardTask    = "hookpost, standard"
	timestampedTask = "hookpost, timestamped"
	gitHubTask      = "hookpost, github"
)

// verifying lists the calls that the libraries document.
func (lib *libraries) verifying() []task {
	secret := []byte(secretText)
	return checked([]task{
		{name: floorTask, do: lib.floor},
		{name: standardTask, do: func(l *letter) error { return verify(lib.standard, l, l.standard) }},
		{name: standardTask + ", time given", like: standardTask, do: func(l *letter) error {
			_, err := lib.standard.Verify(l.standard, l.Body, l.Timestamp, signing.Limits{})
			return err
		}},
		{name: "standard-webhooks", like: standardTask, do: func(l *letter) error {
			return lib.standardWebhooks.Verify(l.Body, l.standard)
		}},
		{name: "svix", like: standardTask, do: func(l *letter) error {
			return lib.svix.Verify(l.Body, l.svix)
		}},
		{name: timestampedTask, do: func(l *letter) error { return verify(lib.timestamped, l, l.stripe) }},
		{name: "stripe-go", like: timestampedTask, do: func(l *letter) error {
			return webhook.ValidatePayload(l.Body, l.stripe.Get(stripeHeader), secretText)
		}},
		{name: gitHubTask, do: func(l *letter) error { return verify(lib.gitHub, l, l.gitHub) }},
		{name: "go-github", like: gitHubTask, do: func(l *letter) error {
			return github.ValidateSignature(l.gitHub.Get(gitHubHeader), l.Body, secret)
		}},
	})
}

// verify asks the clock, as most of the others do by themselves.
func verify(key signing.Key, l *letter, h http.Header) error {
	_, err := key.Verify(h, l.Body, time.Now(), signing.Limits{})
	return err
}

// constructing lists the calls that verify and make an event of the body.
func (lib *libraries) constructing() []task {
	return checked([]task{
		{name: standardTask, do: func(l *letter) error {
			_, err := lib.standardVerifier.ConstructEvent(l.Body, l.standard)
			return err
		}},
		{name: timestampedTask, do: func(l *letter) error {
			_, err := lib.timestampedVerifier.ConstructEvent(l.Body, l.stripe)
			return err
		}},
		{name: "stripe-go", like: timestampedTask, do: func(l *letter) error {
			_, err := webhook.ConstructEvent(l.Body, l.stripe.Get(stripeHeader), secretText)
			return err
		}},
	})
}

// checked adds checks that the tasks don't accept just anything.
func checked(tasks []task) []task {
	for i := range tasks {
		do := tasks[i].do
		tasks[i].check = func(l *letter) error {
			forged := *l
			forged.Body = bytes.Replace(l.Body, []byte("payment"), []byte("Payment"), 1)
			if do(&forged) == nil {
				return errors.New("it accepts another body")
			}
			return nil
		}
	}
	return tasks
}

// refusing lists the calls of verifying, for letters that are to be refused.
func (lib *libraries) refusing() []task {
	tasks := slices.DeleteFunc(lib.verifying(), func(t task) bool { return t.name == floorTask })
	for i := range tasks {
		accept := tasks[i].do
		tasks[i].do = func(l *letter) error {
			if accept(l) == nil {
				return errors.New("it accepts what nobody signed")
			}
			return nil
		}
		tasks[i].check = nil
	}
	return tasks
}

// signing lists how the libraries make the value of the signature header. stripe-go
// does it for tests only, go-github not at all.
func (lib *libraries) signing() []task {
	inStandard := func(l *letter) string { return l.standard.Get(standardHeader) }
	inStripe := func(l *letter) string { return l.stripe.Get(stripeHeader) }
	inGitHub := func(l *letter) string { return l.gitHub.Get(gitHubHeader) }
	stripe := func(l *letter) (string, error) {
		return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: l.Body, Secret: secretText, Timestamp: l.Timestamp}).Header, nil
	}
	return []task{
		{name: floorTask, do: lib.floor},
		appending(standardTask, lib.standard, inStandard),
		returning("standard-webhooks", standardTask, inStandard, func(l *letter) (string, error) {
			return lib.standardWebhooks.Sign(l.ID, l.Timestamp, l.Body)
		}),
		returning("svix", standardTask, inStandard, func(l *letter) (string, error) {
			return lib.svix.Sign(l.ID, l.Timestamp, l.Body)
		}),
		appending(timestampedTask, lib.timestamped, inStripe),
		returning("stripe-go", timestampedTask, inStripe, stripe),
		appending(gitHubTask, lib.gitHub, inGitHub),
	}
}

// appending signs into memory that is there; want is what it has to make.
func appending(name string, key signing.Key, want func(*letter) string) task {
	var made []byte
	return task{
		name:  name,
		do:    func(l *letter) error { made = key.AppendSignature(made[:0], l.Message); return nil },
		check: func(l *letter) error { return same(string(made), want(l)) },
	}
}

// returning signs into new memory.
func returning(name, like string, want func(*letter) string, sign func(*letter) (string, error)) task {
	var made string
	return task{
		name: name, like: like,
		do:    func(l *letter) (err error) { made, err = sign(l); return err },
		check: func(l *letter) error { return same(made, want(l)) },
	}
}

func same(got, want string) error {
	if got != want {
		return fmt.Errorf("it makes %q instead of %q", got, want)
	}
	return nil
}
