module github.com/hookpost/hookpost/internal/interop

go 1.26.0

require (
	github.com/go-chi/chi/v5 v5.5.0
	github.com/google/go-github/v89 v89.0.0
	github.com/hookpost/hookpost v0.1.0
	github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
	github.com/stretchr/testify v1.12.1
	github.com/stripe/stripe-go/v85 v85.0.0
	github.com/svix/svix-webhooks v1.99.1
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/google/go-querystring v1.2.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/hookpost/hookpost => ../..
