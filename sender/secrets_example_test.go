package sender_test

import (
	"context"
	"fmt"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store/memory"
)

func ExampleTenant_RotateSecret() {
	ctx := context.Background()
	hooks, err := sender.New(memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ep, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com/webhooks", EventTypes: []string{"*"}})
	if err != nil {
		fmt.Println(err)
		return
	}

	// For 24 hours the receiver can use either.
	ep, secret, err := hooks.RotateSecret(ctx, ep.ID, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(secret, len(ep.Secrets), ep.Secrets[0].Fingerprint == secret.Fingerprint())

	// It says that it has changed over.
	ep, err = hooks.RevokeSecret(ctx, ep.ID, ep.Secrets[1].ID)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(ep.Secrets))
	// Output:
	// whsec_*** 2 true
	// 1
}

func ExampleHeaders() {
	ctx := context.Background()
	hooks, err := sender.New(memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	spec := sender.EndpointSpec{
		URL: "https://example.com/webhooks", EventTypes: []string{"*"},
		Headers: sender.Headers{"Authorization": sender.Value("Bearer 5f2b..."), "X-Region": sender.Value("eu")},
	}
	fmt.Println(spec.Headers)
	ep, _, err := hooks.CreateEndpoint(ctx, spec)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ep.Headers)

	// Authorization stays as it is.
	ep, err = hooks.EditEndpoint(ctx, ep.ID, sender.EndpointEdit{Headers: sender.Headers{"X-Region": sender.Value(""), "X-Shard": sender.Value("7")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ep.Headers)
	// Output:
	// [Authorization:*** X-Region:***]
	// [Authorization X-Region]
	// [Authorization X-Shard]
}
